"""A compiled view: all that a definition says, as plain data with one hash. Pure."""

import hashlib
import json
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Final

from skylane.features.compiled.trees import NUMBER, TEXT, Tree, columns_of, type_of
from skylane.features.errors import DefinitionError

FORMAT: Final = 1
TABLE, WINDOW, ON_DEMAND = "table", "window", "on_demand"
AGGREGATES: Final = ("count", "sum", "mean", "std", "min", "max", "last", "distinct", "quantile")


@dataclass(frozen=True, kw_only=True)
class SourceFile:
    """Where rows come from."""

    kind: str
    """"parquet" or "csv"."""
    path: str
    """Relative to the directory that holds views/, or absolute."""
    time_zone: str | None = None
    """What clocks the file's times without a zone show; None: such times are refused."""


@dataclass(frozen=True, kw_only=True)
class CompiledFeature:
    """One feature: an expression, or an aggregate of one over a window."""

    name: str
    type: str
    """"number" or "text"."""
    tree: Tree | None
    """None: a count of rows."""
    aggregate: str | None = None
    where: Tree | None = None
    """Rows for which it is missing or 0 are left out of the aggregate."""
    over_us: int | None = None
    place: int | None = None
    """Of last: 1 is the newest."""
    quantile: float | None = None

    @property
    def default(self) -> float:
        """The value over a window without rows."""
        return 0.0 if self.aggregate in ("count", "sum", "distinct") else float("nan")


@dataclass(frozen=True, kw_only=True)
class CompiledView:
    """A view as it is evaluated, stored and compared."""

    name: str
    kind: str
    entity: tuple[str, ...] = ()
    source: SourceFile | None = None
    happened_at: str | None = None
    known_at: str | None = None
    """None: known when it happened."""
    known_ahead: bool = False
    """Whether rows may be known before they happen, as schedules and forecasts are."""
    event: str | None = None
    """The column that names an event: later known rows with the same name correct it."""
    ttl_us: int | None = None
    tile_us: int | None = None
    features: tuple[CompiledFeature, ...] = ()

    @cached_property
    def hash(self) -> str:
        """SHA-256 over the canonical JSON form."""
        text = json.dumps(self.as_json(), sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()

    @cached_property
    def numbers(self) -> list[CompiledFeature]:
        return [feature for feature in self.features if feature.type == NUMBER]

    @cached_property
    def texts(self) -> list[CompiledFeature]:
        return [feature for feature in self.features if feature.type == TEXT]

    @property
    def columns(self) -> dict[str, str]:
        """Column → type, of all columns that the expressions read."""
        found: dict[str, str] = {}
        for feature in self.features:
            for tree in (feature.tree, feature.where):
                for name, kind in columns_of(tree).items() if tree is not None else ():
                    if found.setdefault(name, kind) != kind:
                        raise DefinitionError(f"{self.name}: column {name} is used as {found[name]} and as {kind}")
        return found

    def as_json(self) -> dict[str, Any]:
        """The form that is written and hashed."""
        form: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return {"format": FORMAT} | form

    @classmethod
    def from_json(cls, form: dict[str, Any]) -> "CompiledView":
        """The view of such a form. Raises DefinitionError for another format, or trees that are not valid."""
        if form.get("format") != FORMAT:
            raise DefinitionError(f"views: expected format {FORMAT}, received {form.get('format')!r}")
        fields = {name: value for name, value in form.items() if name != "format"}
        try:
            fields["entity"] = tuple(fields["entity"])
            fields["source"] = SourceFile(**fields["source"]) if fields["source"] else None
            fields["features"] = tuple(CompiledFeature(**feature) for feature in fields["features"])
            view = cls(**fields)
        except (KeyError, TypeError) as error:
            raise DefinitionError(f"views: {form.get('name')}: not a compiled view: {error}") from None
        for feature in view.features:
            for tree in (feature.tree, feature.where):
                if tree is not None:
                    type_of(tree, f"{view.name}.{feature.name}")
        return view
