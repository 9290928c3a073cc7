"""Which models, and whether the server as a whole, are ready: one answer for every health service. Pure.

Nothing is remembered from one look to the next. So workers that see one repository say the same of it, whenever each
began; and a server that is started anew because of something else does not leave its service over a model that it could
not have mended. Who needs a certain model asks for that one.
"""

from collections.abc import Mapping
from typing import Final

from skylane.server.repository.repository import ModelStatus

STARTING: Final = "the server is starting"


class Readiness:
    """Decides from what the repository tells. The server is alive as long as anybody can ask."""

    def __init__(self) -> None:
        self.models: Mapping[str, bool] = {}
        """Model → whether a version of it answers."""
        self.whole = False
        """Whether callers should come here at all."""
        self.reason = STARTING
        """Why not; empty if they should."""
        self.draining = False

    def tell(self, status: Mapping[str, ModelStatus], *, complete: bool, progress: tuple[int, int] = (0, 0)) -> None:
        """Take note. `complete`: whether everything found at the start was loaded or refused, by all workers.
        `progress`: how many of the models were, by this one.

        The server as a whole is ready when that is done and any model has a version that answers.
        """
        if self.draining:
            return
        self.models = {name: model.ready for name, model in status.items()}
        self.whole = complete and any(self.models.values())
        self.reason = "" if self.whole else _reason(complete, *progress)

    def drain(self) -> None:
        """Nothing is ready any more, for good."""
        self.draining, self.whole, self.models = True, False, dict.fromkeys(self.models, False)
        self.reason = "the server is shutting down"


def _reason(complete: bool, done: int, total: int) -> str:
    if complete:
        return "no model has a version that answers"
    if total and done == total:
        return "other workers are loading their models"
    return f"{done} of {total} models loaded" if total else STARTING
