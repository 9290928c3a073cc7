"""What there is to tell of the server, and what an administrator may change, whatever the protocol."""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from skylane.server.admin.oip_views import index, is_ready, model_statistics
from skylane.server.admin.readiness import Readiness
from skylane.server.core.errors import BadRequest, ModelNotFound, NotHere, PermissionDenied
from skylane.server.core.text import listed, quoted
from skylane.server.core.token_scope import ANYONE, Grant
from skylane.server.core.types import Route
from skylane.server.engine.routes import Routes
from skylane.server.engine.served_version import ServedVersion
from skylane.server.observability.snapshot import Snapshot, VersionSnapshot
from skylane.server.repository.repository import ModelStatus, Repository

_IGNORED: Final = frozenset({"unload_dependents"})
"""Parameters that clients of Triton always send, and that mean nothing where no model depends on another."""


@dataclass(frozen=True, kw_only=True)
class ModelControl:
    """The models, as of now. Everything is safe to call from any thread, but for load and unload."""

    routes: Callable[[], Routes]
    repository: Repository
    readiness: Readiness
    figures: Callable[[], Awaitable[Snapshot]]
    """Gives what all processes have counted, now."""
    refresh: Callable[[], Awaitable[None]]
    """Makes what is served equal to what the repository holds."""
    anyone_administrates: bool = False
    """Whether callers without tokens, where none are asked for, may load and unload."""
    shares_port: bool = False
    """Whether other processes serve the same models, which would not hear of a change here."""

    def status(self) -> Mapping[str, ModelStatus]:
        """Every model by name."""
        return self.repository.status

    async def statistics(self, served_versions: Sequence[ServedVersion]) -> list[dict[str, Any]]:
        """What each version has answered in all processes, as JSON of the Open Inference Protocol's ModelStatistics."""
        told = {(each.model, each.version): each for each in (await self.figures()).versions}
        versions = [
            (served_version.model.interface.model, served_version.model.interface.version)
            for served_version in served_versions
        ]
        return [model_statistics(told.get(key) or VersionSnapshot(model=key[0], version=key[1])) for key in versions]

    def is_ready(self, route: Route) -> bool:
        """Whether what the route names answers; a model that was unloaded is known, and does not.

        Raises ModelNotFound for what is not known at all.
        """
        if self.readiness.draining or route.model in self.repository.withheld:
            return False
        return is_ready(route, self.status(), self.routes())

    def index(self, grant: Grant, *, ready_only: bool) -> list[dict[str, str]]:
        """Every version of the models that the caller may use, as JSON of RepositoryIndexResponse.models."""
        entries = index(self.status(), self.repository.withheld)
        seen = [entry for entry in entries if grant.may("predict", entry["name"])]
        return [entry for entry in seen if not ready_only or entry["state"] == "READY"]

    async def load(self, grant: Grant, model: str, parameters: Iterable[str]) -> None:
        """Serve a model that was unloaded, and look for new versions of it. Raises ServingError."""
        self._check(grant, model, parameters)
        self.repository.withheld -= {model}
        await self.refresh()
        if not (told := self.status().get(model)) or not told.ready:
            reasons = [version.reason for version in told.versions.values() if version.reason] if told else []
            why = "; ".join(reasons) or "none is there"
            raise ModelNotFound(f"model {quoted(model)} has no version that can be loaded: {why}")

    async def unload(self, grant: Grant, model: str, parameters: Iterable[str]) -> None:
        """Serve a model no more, until it is loaded again or the server starts anew. Raises ServingError."""
        self._check(grant, model, parameters)
        if model not in self.status() and model not in self.repository.withheld:
            raise ModelNotFound(f"there is no model {quoted(model)}")
        self.repository.withheld |= {model}
        await self.refresh()

    def _check(self, grant: Grant, model: str, parameters: Iterable[str]) -> None:
        """Raise ServingError unless the caller may administrate this model, and asks for what can be done."""
        if grant is ANYONE and not self.anyone_administrates:
            raise PermissionDenied("load and unload are disabled: the server's --allow-admin or --tokens enable them")
        if grant is not ANYONE:
            grant.check("admin", model)
        if not model:
            raise BadRequest("model_name: expected the name of a model, received nothing")
        if others := sorted(set(parameters) - _IGNORED):
            raise BadRequest(
                f"parameters: a model is loaded as it is published; received {listed(map(quoted, others))}"
            )
        if self.shares_port:
            raise NotHere(
                "load and unload change one process, and this server has several: change the repository instead"
            )
