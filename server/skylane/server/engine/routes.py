"""The routing table: resolves a model name with a version, a label or neither to a served version. Pure.

The table is immutable. The repository replaces it as a whole, so a request sees a change completely or not at all.
"""

from collections.abc import Mapping, Set
from dataclasses import dataclass, field

from skylane.server.core.errors import ModelNotFound, StillLoading
from skylane.server.core.text import NAME_LENGTH_MAX, listed, quoted, suggestion
from skylane.server.core.types import Route
from skylane.server.engine.served_version import ServedVersion


@dataclass(frozen=True)
class ModelRoutes:
    """The served versions of one model."""

    versions: Mapping[int, ServedVersion]
    latest: int
    """The version used for requests that name neither a version nor a label."""
    labels: Mapping[str, int] = field(default_factory=dict)
    """Label → version, whether or not that version is served."""
    refused: Mapping[int, str] = field(default_factory=dict)
    """Version → why it is not served."""


UNKNOWN_MAX = 256
"""Unknown routes with short names whose errors are kept, and for which similar names are sought: that takes 20 µs and
more, and whoever asks for what does not exist asks often."""


@dataclass(frozen=True)
class Routes:
    """All served models."""

    models: Mapping[str, ModelRoutes] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)
    """Model without a served version → why."""
    loading: Set[str] = frozenset()
    """Models that are in the repository and not loaded yet."""
    is_starting: bool = False
    """Whether the repository has not been read yet."""
    _unknown: dict[Route, str] = field(default_factory=dict, init=False, repr=False, compare=False)

    def served_version(self, route: Route) -> ServedVersion:
        """The version for this route. Raises ModelNotFound, which names what exists, or StillLoading."""
        if (known := self._unknown.get(route)) is not None:
            raise ModelNotFound(known)
        try:
            return self._find(route)
        except ModelNotFound as error:
            if len(self._unknown) < UNKNOWN_MAX and len(route.model + (route.label or "")) <= NAME_LENGTH_MAX:
                self._unknown[route] = str(error)
            raise

    def _find(self, route: Route) -> ServedVersion:
        model = self.models.get(route.model)
        if model is None and self.is_starting:
            raise StillLoading("the server is starting: it has not read its repository yet")
        if model is None and route.model in self.loading:
            raise StillLoading(f"model {quoted(route.model)} is not loaded yet: it is {_turn(len(self.loading))}")
        if model is None and route.model in self.refused:
            raise ModelNotFound(f"no version of model {quoted(route.model)} serves: {self.refused[route.model]}")
        if model is None:
            similar = suggestion(route.model, self.models) if len(self._unknown) < UNKNOWN_MAX else ""
            available = f"{similar}this server has {listed(self.models)}"
            raise ModelNotFound(
                f"there is no model {quoted(route.model)}: {available if self.models else 'no model is ready yet'}"
            )
        if route.label is not None:
            if route.label not in model.labels:
                available = f"its labels are {listed(model.labels)}" if model.labels else "it has no labels"
                raise ModelNotFound(f"model {quoted(route.model)} has no label {quoted(route.label)}: {available}")
            named = f"the version of label {quoted(route.label)}, {model.labels[route.label]},"
            return _serving(route.model, model, model.labels[route.label], named)
        if route.version is None:
            return model.versions[model.latest]
        return _serving(route.model, model, route.version, f"version {route.version}")


def _turn(loading: int) -> str:
    return (
        "the only one that is still to be loaded" if loading == 1 else f"one of {loading} that are still to be loaded"
    )


def _serving(name: str, model: ModelRoutes, version: int, named: str) -> ServedVersion:
    served_version = model.versions.get(version)
    if served_version is not None:
        return served_version
    loaded = f"loaded {'is' if len(model.versions) == 1 else 'are'} {listed(sorted(model.versions))}"
    if version in model.refused:
        raise ModelNotFound(f"{named} of model {quoted(name)} was refused ({model.refused[version]}): {loaded}")
    raise ModelNotFound(f"{named} of model {quoted(name)} is not loaded: {loaded}")
