"""Which models, and whether the server as a whole, are ready: one answer for every health service. Pure.

It depends on the present status alone. So workers that follow the same repository report the same, whenever each
started; and a server that is restarted for another reason does not stay unready because of a broken model. Clients that
need a certain model check the readiness of that model.
"""

from collections.abc import Mapping
from typing import Final

from skylane.server.repository.repository import ModelStatus

STARTING: Final = "the server is starting"


class Readiness:
    """Decides readiness from the status of the repository. Liveness needs no decision: the server answers."""

    def __init__(self) -> None:
        self.models: Mapping[str, bool] = {}
        """Model → whether a version of it answers."""
        self.whole = False
        """Whether the server as a whole is ready."""
        self.reason = STARTING
        """Why it is not ready; empty if it is."""
        self.draining = False

    def update(self, status: Mapping[str, ModelStatus], *, complete: bool, progress: tuple[int, int] = (0, 0)) -> None:
        """Use a new status. `complete`: whether all workers have loaded or refused every model that existed at the
        start. `progress`: how many of the models this worker has, and of how many.

        The server as a whole is ready when that is done and any model has a version that answers.
        """
        if self.draining:
            return
        self.models = {name: model.ready for name, model in status.items()}
        self.whole = complete and any(self.models.values())
        self.reason = "" if self.whole else _reason(complete, *progress)

    def drain(self) -> None:
        """Report everything as not ready from now on."""
        self.draining, self.whole, self.models = True, False, dict.fromkeys(self.models, False)
        self.reason = "the server is shutting down"


def _reason(complete: bool, done: int, total: int) -> str:
    if complete:
        return "no model has a version that answers"
    if total and done == total:
        return "other workers are loading their models"
    return f"{done} of {total} models loaded" if total else STARTING
