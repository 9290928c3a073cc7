"""A view as its author writes it, checked when it is written and compiled to data."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from skylane.features.authoring.aggregates import Aggregate
from skylane.features.authoring.expressions import Expression
from skylane.features.compiled import NUMBER, TEXT, CompiledFeature, CompiledView, SourceFile
from skylane.features.compiled.trees import check_zone, columns_of, reads_instant
from skylane.features.compiled.views import ON_DEMAND, TABLE, WINDOW
from skylane.features.errors import DefinitionError

NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,63}")
FEATURES_MAX: Final = 1000
TILES_MAX: Final = 1000
EVENT: Final = "event"
_MICROSECOND: Final = timedelta(microseconds=1)

Feature = Expression | Aggregate


@dataclass(frozen=True)
class Parquet:
    """Rows of a Parquet file, or of all Parquet files below a directory."""

    path: str
    time_zone: str | None = None
    """What clocks the file's times without a zone show. None: such times are refused."""


@dataclass(frozen=True)
class Csv:
    """Rows of a CSV file with column names in its first line."""

    path: str
    time_zone: str | None = None


@dataclass(frozen=True, kw_only=True)
class _Times:
    happened_at: str | None
    known_at: str | None
    known: str | None


class View:
    """Features of one entity. Without a source it is on-demand: computed from the columns of the request.

    `known_at`: the column with the instant from which a row was known; joins use it. `known="event"` says by hand that
    rows are known when they happen. `ttl`: of a table, the age from which a value is missing; of a window, the age
    of the materialised state from which it is. `event`: the column that names an event, so that a later row with the
    same name corrects it. `tile`: windows begin at a multiple of it; each covers its length and at most one tile more.
    """

    def __init__(
        self,
        name: str,
        *,
        features: Mapping[str, Feature],
        entity: str | Sequence[str] = (),
        source: Parquet | Csv | None = None,
        happened_at: str | None = None,
        known_at: str | None = None,
        known: str | None = None,
        known_ahead: bool = False,
        ttl: timedelta | None = None,
        event: str | None = None,
        tile: timedelta | None = None,
    ) -> None:
        _check_name(name, "view")
        self.name: Final = name
        keys = (entity,) if isinstance(entity, str) else tuple(entity)
        times = _Times(happened_at=happened_at, known_at=known_at, known=known)
        kind = _kind(name, features, source)
        _check_times(name, kind, keys, times, ttl)
        if kind != WINDOW and (tile is not None or event is not None):
            raise DefinitionError(f"{name}: tile and event belong to windows; remove them")
        tile_us = _tile(name, features, tile) if kind == WINDOW else None
        self.compiled: Final = CompiledView(
            name=name,
            kind=kind,
            entity=keys,
            source=_source(name, source),
            happened_at=happened_at,
            known_at=known_at,
            known_ahead=known_ahead,
            event=event,
            ttl_us=None if ttl is None else ttl // _MICROSECOND,
            tile_us=tile_us,
            features=tuple(_features(name, kind, features)),
        )
        names = [feature.name for feature in self.compiled.features]
        if twice := {feature for feature in names if names.count(feature) > 1}:
            raise DefinitionError(f"{name}: expected different names of features, received {sorted(twice)} twice")
        _ = self.compiled.columns  # one type for each column


def _kind(view: str, features: Mapping[str, Feature], source: object) -> str:
    if not 0 < len(features) <= FEATURES_MAX:
        raise DefinitionError(f"{view}: features: expected 1 to {FEATURES_MAX}, received {len(features)}")
    for name, feature in features.items():
        _check_name(name, f"{view}: feature")
        if not isinstance(feature, Expression | Aggregate):
            raise DefinitionError(
                f"{view}.{name}: expected an expression such as col('seats') or an aggregate such as "
                f"mean(col('delay'), over=hours(3)), received {feature!r}"
            )
    aggregates = sum(isinstance(feature, Aggregate) for feature in features.values())
    if source is None:
        if aggregates:
            raise DefinitionError(f"{view}: aggregates need a source; an on-demand view has expressions alone")
        return ON_DEMAND
    if 0 < aggregates < len(features):
        raise DefinitionError(f"{view}: expected either aggregates or expressions alone: write two views")
    return WINDOW if aggregates else TABLE


def _check_times(view: str, kind: str, entity: tuple[str, ...], times: _Times, ttl: timedelta | None) -> None:
    if kind == ON_DEMAND:
        if entity or times != _Times(happened_at=None, known_at=None, known=None) or ttl is not None:
            raise DefinitionError(
                f"{view}: a view without a source is computed from the request: remove entity, times and ttl, or add a "
                "source"
            )
        return
    if not entity:
        raise DefinitionError(f"{view}: entity: expected the column or columns of the entity's key")
    if times.happened_at is None:
        raise DefinitionError(f"{view}: happened_at: expected the column with the instant at which a row happened")
    if times.known is not None and times.known != EVENT:
        raise DefinitionError(f"{view}: known: expected 'event', received {times.known!r}")
    if (times.known_at is None) == (times.known is None):
        raise DefinitionError(
            f"{view}: known_at: expected the column with the instant from which a row was known, or known='event' if "
            "every row was known when it happened"
        )
    if ttl is None or ttl <= timedelta(0):
        raise DefinitionError(f"{view}: ttl: expected a duration such as days(30), after which a value is missing")


def _source(view: str, source: Parquet | Csv | None) -> SourceFile | None:
    if source is None:
        return None
    if not isinstance(source, Parquet | Csv):
        raise DefinitionError(f"{view}: source: expected Parquet(path) or Csv(path), received {source!r}")
    if source.time_zone is not None:
        check_zone(source.time_zone, f"{view}: time_zone")
    kind = "parquet" if isinstance(source, Parquet) else "csv"
    return SourceFile(kind=kind, path=source.path, time_zone=source.time_zone)


def _tile(view: str, features: Mapping[str, Feature], tile: timedelta | None) -> int:
    windows = {name: feature.over for name, feature in features.items() if isinstance(feature, Aggregate)}
    if tile is None:
        raise DefinitionError(f"{view}: tile: expected a duration that divides every window, such as minutes(15)")
    if tile < timedelta(seconds=1):
        raise DefinitionError(f"{view}: tile: expected a second or more, received {tile}")
    for name, over in windows.items():
        if over % tile:
            raise DefinitionError(f"{view}.{name}: over: expected a multiple of the tile {tile}, received {over}")
        if over // tile > TILES_MAX:
            raise DefinitionError(
                f"{view}.{name}: over: expected at most {TILES_MAX} tiles, received {over // tile}: write a longer tile"
            )
    return tile // _MICROSECOND


def _features(view: str, kind: str, features: Mapping[str, Feature]) -> Iterator[CompiledFeature]:
    for name, feature in features.items():
        if isinstance(feature, Expression):
            yield _expression(f"{view}.{name}", kind, name, feature)
        else:
            yield from _aggregate(f"{view}.{name}", name, feature)


def _expression(where: str, kind: str, name: str, feature: Expression) -> CompiledFeature:
    if feature.type not in (NUMBER, TEXT):
        raise DefinitionError(
            f"{where}: a feature is a number or a text: write unix_seconds(...) or seconds_between(...)"
        )
    if kind == TABLE and reads_instant(feature.tree):
        raise DefinitionError(f"{where}: at() changes after a value is stored: write it in a view without a source")
    if kind == TABLE and not columns_of(feature.tree):
        raise DefinitionError(f"{where}: expected an expression of a column")
    return CompiledFeature(name=name, type=feature.type, tree=feature.tree)


def _aggregate(where: str, name: str, feature: Aggregate) -> Iterator[CompiledFeature]:
    for expression in (feature.value, feature.where):
        if expression is not None and reads_instant(expression.tree):
            raise DefinitionError(f"{where}: at() is not known for the rows of a window: use the column of their time")
    places: list[int | None] = list(range(1, (feature.n or 0) + 1)) or [None]
    for place in places:
        yield CompiledFeature(
            name=name if len(places) == 1 else f"{name}_{place}",
            type=NUMBER,
            tree=None if feature.value is None else feature.value.tree,
            aggregate=feature.name,
            where=None if feature.where is None else feature.where.tree,
            over_us=feature.over // _MICROSECOND,
            place=place,
            quantile=feature.quantile,
        )


def _check_name(name: object, what: str) -> None:
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise DefinitionError(f"{what}: expected lower-case letters, digits and _ from a letter on, received {name!r}")
