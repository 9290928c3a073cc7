"""What every protocol reports of the models, and loading and unloading on request."""

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
"""Parameters that Triton's clients always send; they have no meaning here, since no model depends on another."""


@dataclass(frozen=True, kw_only=True)
class ModelControl:
    """The models in their present state. All methods but load and unload may be called from any thread."""

    routes: Callable[[], Routes]
    repository: Repository
    readiness: Readiness
    figures: Callable[[], Awaitable[Snapshot]]
    """Takes a snapshot of all processes."""
    refresh: Callable[[], Awaitable[None]]
    """Makes the served models equal to those on disk."""
    anyone_administrates: bool = False
    """Whether callers may load and unload if the server requires no tokens."""
    shares_port: bool = False
    """Whether other processes serve the same models, which a change here would not reach."""

    def status(self) -> Mapping[str, ModelStatus]:
        """Every model by name."""
        return self.repository.status

    async def statistics(self, served_versions: Sequence[ServedVersion]) -> list[dict[str, Any]]:
        """Statistics of versions in all processes, as JSON of the Open Inference Protocol's ModelStatistics."""
        snapshots = {(each.model, each.version): each for each in (await self.figures()).versions}
        versions = [
            (served_version.model.interface.model, served_version.model.interface.version)
            for served_version in served_versions
        ]
        return [
            model_statistics(snapshots.get(key) or VersionSnapshot(model=key[0], version=key[1])) for key in versions
        ]

    def is_ready(self, route: Route) -> bool:
        """Whether the route's version answers; False for a model that was unloaded.

        Raises ModelNotFound if it does not exist.
        """
        if self.readiness.draining or route.model in self.repository.withheld:
            return False
        return is_ready(route, self.status(), self.routes())

    def index(self, grant: Grant, *, ready_only: bool) -> list[dict[str, str]]:
        """Every version of the models that the caller may use, as JSON of RepositoryIndexResponse.models."""
        entries = index(self.status(), self.repository.withheld)
        allowed = [entry for entry in entries if grant.may("predict", entry["name"])]
        return [entry for entry in allowed if not ready_only or entry["state"] == "READY"]

    async def load(self, grant: Grant, model: str, parameters: Iterable[str]) -> None:
        """Serve a model that was unloaded, and load its new versions. Raises ServingError."""
        self._check(grant, model, parameters)
        self.repository.withheld -= {model}
        await self.refresh()
        if not (status := self.status().get(model)) or not status.ready:
            reasons = [version.reason for version in status.versions.values() if version.reason] if status else []
            why = "; ".join(reasons) or "none is there"
            raise ModelNotFound(f"model {quoted(model)} has no version that can be loaded: {why}")

    async def unload(self, grant: Grant, model: str, parameters: Iterable[str]) -> None:
        """Stop serving a model until it is loaded again or the server restarts. Raises ServingError."""
        self._check(grant, model, parameters)
        if model not in self.status() and model not in self.repository.withheld:
            raise ModelNotFound(f"there is no model {quoted(model)}")
        self.repository.withheld |= {model}
        await self.refresh()

    def _check(self, grant: Grant, model: str, parameters: Iterable[str]) -> None:
        """Raise ServingError unless the caller may load and unload this model, with these parameters."""
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
