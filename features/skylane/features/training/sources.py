"""Reads the rows of a view's source."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from skylane.features.compiled import NUMBER, CompiledView, SourceFile
from skylane.features.errors import SourceError
from skylane.features.evaluation.expressions import MISSING_TIME
from skylane.features.evaluation.rows import Array, Ints, SourceRows
from skylane.features.training.columns import array, times
from skylane.features.training.keys import Keys, key_column


@dataclass(frozen=True)
class Source:
    """The usable rows of a view's source."""

    rows: SourceRows
    keys: Keys
    skipped: int
    """Rows without a key, or without an instant at which they happened or were known: not known yet."""


def read_source(view: CompiledView, root: Path) -> Source:
    """The source of a view; relative paths are below `root`. Raises SourceError."""
    assert view.source is not None
    assert view.happened_at is not None
    columns = view.columns
    wanted = [*view.entity, view.happened_at, *([view.known_at] if view.known_at else []), *columns]
    wanted = list(dict.fromkeys([*wanted, *([view.event] if view.event else [])]))
    path = root / view.source.path
    where = f"{view.name}: {view.source.path}"
    numbers = {name for name, kind in columns.items() if kind == NUMBER} - {*view.entity, view.event}
    table = _read(view.source, path, wanted, numbers, where)
    zone = view.source.time_zone
    happened = times(table[view.happened_at], f"{where}: {view.happened_at}", zone)
    known = times(table[view.known_at], f"{where}: {view.known_at}", zone) if view.known_at else happened
    usable = (happened != MISSING_TIME) & (known != MISSING_TIME)
    for name in view.entity:
        usable &= table[name].is_valid().to_numpy()
    _check_order(view, happened, known, usable, where)
    skipped = int(len(usable) - usable.sum())
    if skipped:
        table, happened, known = table.filter(pa.array(usable)), happened[usable], known[usable]
    keys = Keys([key_column(table[name], f"{where}: {name}") for name in view.entity])
    values = {name: array(table[name], kind, f"{where}: {name}", zone) for name, kind in columns.items()}
    event = _events(table[view.event], f"{where}: {view.event}") if view.event else None
    return Source(SourceRows(keys.codes, keys.count, happened, known, values, event), keys, skipped)


def _read(source: SourceFile, path: Path, wanted: list[str], numbers: set[str], where: str) -> Any:
    try:
        if source.kind == "parquet":
            names = pq.ParquetDataset(path).schema.names
            return pq.read_table(path, columns=_present(wanted, names, where))
        with pa.csv.open_csv(path) as reader:
            schema = reader.schema
        types = {
            name: pa.float64() for name in numbers if name in schema.names and schema.field(name).type != pa.bool_()
        }
        types |= dict.fromkeys(set(wanted) - numbers, pa.string())  # 0017 stays a code
        options = pa.csv.ConvertOptions(
            include_columns=_present(wanted, schema.names, where), column_types=types, strings_can_be_null=True
        )
        return pa.csv.read_csv(path, convert_options=options)
    except (OSError, pa.ArrowInvalid) as error:
        raise SourceError(f"{where}: cannot be read: {error}") from None


def _present(wanted: list[str], names: list[str], where: str) -> list[str]:
    missing = [name for name in wanted if name not in names]
    if missing:
        raise SourceError(f"{where}: expected the columns {', '.join(missing)}, the file has {', '.join(names)}")
    return wanted


def _check_order(view: CompiledView, happened: Ints, known: Ints, usable: Array, where: str) -> None:
    """Nothing but a schedule or a forecast is known before it happens: most often a time zone is wrong."""
    early = usable & (known < happened)
    if view.known_ahead or not early.any():
        return
    most = float((happened - known)[early].max()) / 3.6e9
    raise SourceError(
        f"{where}: {int(early.sum())} of {len(early)} rows were known before they happened, by up to {most:.1f} hours: "
        f"{view.known_at} or {view.happened_at} is in another time zone, or is another instant. Correct it, or write "
        "known_ahead=True for schedules and forecasts"
    )


def _events(column: Any, where: str) -> Ints:
    """(rows,): a number for each event; rows without a name are events of their own."""
    names = key_column(column, where)
    codes = np.array(pc.fill_null(pc.index_in(names, value_set=pc.unique(names.drop_null())), -1).to_numpy(), np.int64)
    nameless = np.flatnonzero(codes < 0)
    codes[nameless] = codes.max(initial=-1) + 1 + np.arange(len(nameless))
    return codes
