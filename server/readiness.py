"""Which models, and whether the server as a whole, are ready: one answer for every health service. Pure."""

from collections.abc import Mapping

from server.repository.repository import ModelStatus


class Readiness:
    """Decides from what the repository tells. The server is alive as long as anybody can ask."""

    def __init__(self) -> None:
        self.models: Mapping[str, bool] = {}
        """Model → whether a version of it answers."""
        self.whole = False
        """Whether callers should come here at all."""
        self.draining = False
        self._required: set[str] = set()
        self._complete = False

    def tell(self, status: Mapping[str, ModelStatus], *, complete: bool) -> None:
        """Take note. `complete`: whether everything found at the start was loaded or refused.

        The server as a whole is ready when every model that it found at the start, or that has served since, has a
        version that answers, and there is a model at all. So a new model that is broken takes nobody else along.
        """
        if self.draining:
            return
        self.models = {name: model.ready for name, model in status.items()}
        self._required |= {name for name, is_ready in self.models.items() if is_ready or not self._complete}
        self._required &= self.models.keys()
        self._complete = complete
        self.whole = complete and any(self.models.values()) and all(self.models[name] for name in self._required)

    def drain(self) -> None:
        """Nothing is ready any more, for good."""
        self.draining, self.whole, self.models = True, False, dict.fromkeys(self.models, False)
