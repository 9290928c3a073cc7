"""Which models, and whether the server as a whole, are ready: one answer for every health service. Pure.

Nothing is remembered from one look to the next. So workers that see one repository say the same of it, whenever each
began; and a server that is started anew because of something else does not leave its service over a model that it could
not have mended. Who needs a certain model asks for that one.
"""

from collections.abc import Mapping

from skylane.server.repository.repository import ModelStatus


class Readiness:
    """Decides from what the repository tells. The server is alive as long as anybody can ask."""

    def __init__(self) -> None:
        self.models: Mapping[str, bool] = {}
        """Model → whether a version of it answers."""
        self.whole = False
        """Whether callers should come here at all."""
        self.draining = False

    def tell(self, status: Mapping[str, ModelStatus], *, complete: bool) -> None:
        """Take note. `complete`: whether everything found at the start was loaded or refused.

        The server as a whole is ready when that is done and any model has a version that answers.
        """
        if self.draining:
            return
        self.models = {name: model.ready for name, model in status.items()}
        self.whole = complete and any(self.models.values())

    def drain(self) -> None:
        """Nothing is ready any more, for good."""
        self.draining, self.whole, self.models = True, False, dict.fromkeys(self.models, False)
