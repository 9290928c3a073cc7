"""The training join: each row gets the values that were known at its instant."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa

from skylane.features.compiled import NUMBER, CompiledView
from skylane.features.compiled.views import ON_DEMAND
from skylane.features.errors import SourceError
from skylane.features.evaluation.expressions import MISSING_TIME
from skylane.features.evaluation.rows import ABSENT, EXPIRED, Array, Ints, Values
from skylane.features.evaluation.views import evaluator, on_demand
from skylane.features.training.columns import array, times
from skylane.features.training.keys import key_column
from skylane.features.training.sources import read_source

AT: Final = "at"
THREADS: Final = 2


@dataclass(frozen=True)
class ViewCounts:
    """What a join found of one view."""

    rows: int
    absent: int = 0
    """Rows whose entity had no known row."""
    expired: int = 0
    """Rows whose newest known row was older than the ttl, so that all values are missing."""
    source_rows: int = 0
    skipped_source_rows: int = 0
    """Rows of the source without a key or an instant."""


@dataclass(frozen=True)
class Joined:
    """The rows that came, in their order, with a column VIEW.FEATURE for each feature."""

    table: Any
    counts: Mapping[str, ViewCounts]
    status: Mapping[str, Array] = field(repr=False)
    """View → (rows,) OK, ABSENT or EXPIRED, as in skylane.features.evaluation.rows."""


def join(
    labels: Any,
    views: Sequence[CompiledView],
    root: str | Path = ".",
    *,
    at: str = AT,
    time_zone: str | None = None,
    progress: Callable[[str], None] = lambda _view: None,
) -> Joined:
    """Add the values of `views` to a table of Arrow, or a frame that exports one (pandas, polars).

    `at`: the column with the instant of each row: only what was known then is used. `time_zone`: what clocks its
    times without a zone show; without it such times are refused. `root`: the directory that relative paths of sources
    are below. `progress` is called with the name of each finished view. Raises SourceError.
    """
    table = labels if isinstance(labels, pa.Table) else pa.table(labels)
    _check_names(table, views, at)
    instants = times(table[at], f"labels: {at}", time_zone)
    if (instants == MISSING_TIME).any():
        raise SourceError(
            f"labels: {at}: expected a time in each row, received {int((instants == MISSING_TIME).sum())} empty"
        )
    stored = [view for view in views if view.kind != ON_DEMAND]
    computed: dict[str, tuple[Values, ViewCounts]] = {}

    def compute(view: CompiledView) -> None:
        computed[view.name] = _from_source(view, table, instants, Path(root))
        progress(view.name)

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(compute, stored))
    available = {
        f"{name}.{feature}": values
        for name, (result, _) in computed.items()
        for feature, values in result.features.items()
    }
    for view in views:
        if view.kind == ON_DEMAND:
            columns = _request_columns(view, table, available, time_zone)
            computed[view.name] = on_demand(view, columns, instants), ViewCounts(len(table))
            progress(view.name)
    for view in views:
        table = _with_features(table, view, computed[view.name][0])
    return Joined(
        table,
        {view.name: computed[view.name][1] for view in views},
        {view.name: computed[view.name][0].status for view in views},
    )


def _from_source(view: CompiledView, table: Any, instants: Ints, root: Path) -> tuple[Values, ViewCounts]:
    source = read_source(view, root)
    entity = source.keys.find([key_column(table[name], f"labels: {name}") for name in view.entity])
    values = evaluator(view, source.rows).at(entity, instants)
    status = np.bincount(values.status, minlength=EXPIRED + 1)
    counts = ViewCounts(
        rows=len(table),
        absent=int(status[ABSENT]),
        expired=int(status[EXPIRED]),
        source_rows=len(source.rows.happened) + source.skipped,
        skipped_source_rows=source.skipped,
    )
    return values, counts


def _request_columns(
    view: CompiledView, table: Any, available: Mapping[str, Array], time_zone: str | None
) -> dict[str, Array]:
    columns = {}
    for name, kind in view.columns.items():
        if name in available:
            if (available[name].dtype != object) != (kind == NUMBER):
                raise SourceError(f"{view.name}: {name}: expected a {kind}, the feature has another type")
            columns[name] = available[name]
        elif name in table.column_names:
            columns[name] = array(table[name], kind, f"labels: {name}", time_zone)
        else:
            raise SourceError(
                f"{view.name}: expected the column {name}, or the view that it is a feature of; "
                f"columns are {', '.join(table.column_names)}"
            )
    return columns


def _with_features(table: Any, view: CompiledView, values: Values) -> Any:
    for feature in view.features:
        kind = pa.float64() if feature.type == NUMBER else pa.string()
        column = pa.array(values.features[feature.name], kind, from_pandas=True)
        table = table.append_column(f"{view.name}.{feature.name}", column)
    return table


def _check_names(table: Any, views: Sequence[CompiledView], at: str) -> None:
    needed = [at, *(name for view in views for name in view.entity)]
    missing = [name for name in dict.fromkeys(needed) if name not in table.column_names]
    if missing:
        raise SourceError(
            f"labels: expected the columns {', '.join(missing)}, received {', '.join(table.column_names)}"
        )
    names = [view.name for view in views]
    if len(set(names)) < len(names):
        raise SourceError(f"views: expected each view once, received {', '.join(names)}")
    added = {f"{view.name}.{feature.name}" for view in views for feature in view.features}
    if both := sorted(added & set(table.column_names)):
        raise SourceError(f"labels: the columns {', '.join(both)} have names of features: rename them")
