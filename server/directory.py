"""What there is to tell of the server, and what an administrator may change, whatever the protocol."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from server.engine.lane import Lane
from server.errors import ModelNotFound, NotHere
from server.instants import unix_ms
from server.open_inference import model_statistics
from server.readiness import Readiness
from server.repository.repository import ModelStatus, Repository
from server.routing.routes import Routes
from server.wording import quoted


@dataclass(frozen=True, kw_only=True)
class Directory:
    """The models, as of now. Everything is safe to call from any thread, but for load and unload."""

    routes: Callable[[], Routes]
    repository: Repository
    readiness: Readiness
    clock: Callable[[], float]
    refresh: Callable[[], Awaitable[None]]
    """Makes what is served equal to what the repository holds."""
    shares_port: bool = False
    """Whether other processes serve the same models, which would not hear of a change here."""

    def status(self) -> Mapping[str, ModelStatus]:
        """Every model by name."""
        return self.repository.status

    def statistics(self, lane: Lane) -> dict[str, Any]:
        """What a version has answered, as JSON of the Open Inference Protocol's ModelStatistics."""
        told = lane.statistics
        return model_statistics(lane.model.interface, told, unix_ms(told.last_at, self.clock))

    async def load(self, model: str) -> None:
        """Serve a model that was unloaded, and look for new versions of it. Raises ServingError."""
        self._check_alone()
        self.repository.withheld -= {model}
        await self.refresh()
        if not (told := self.status().get(model)) or not told.ready:
            reasons = [version.reason for version in told.versions.values() if version.reason] if told else []
            why = "; ".join(reasons) or "none is there"
            raise ModelNotFound(f"model {quoted(model)} has no version that can be loaded: {why}")

    async def unload(self, model: str) -> None:
        """Serve a model no more, until it is loaded again or the server starts anew. Raises ServingError."""
        self._check_alone()
        if model not in self.status():
            raise ModelNotFound(f"there is no model {quoted(model)}")
        self.repository.withheld |= {model}
        await self.refresh()

    def _check_alone(self) -> None:
        if self.shares_port:
            raise NotHere(
                "load and unload change one process, and this server has several: change the repository instead"
            )
