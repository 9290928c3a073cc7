"""`skylane journal show`: rows in a terminal, as JSON or CSV."""

import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
from rich import box
from rich.table import Table

import skylane.journal as journal
from skylane.cli.tables import json_text
from skylane.journal.encoding import entity_texts
from skylane.journal.errors import InvalidArgument, JournalNotFound
from skylane.journal.hashing import read_key
from skylane.monitor.journal_commands.flattening import flat, records
from skylane.monitor.journal_commands.left_out import left_out
from skylane.monitor.journal_commands.listing import console

HIDDEN: Final = ("model", "arm", "degraded", "probability", "event_at", "request_id", "entity")
"""Columns that a table shows only where a row has a value of interest."""
CELL_MIN: Final = 26
CELL_MAX: Final = 40
"""Width of a row that is shown as a column: an id fits."""


def run(options: Namespace) -> int:
    """Print the newest rows that were asked for."""
    paths = options.journal
    table = journal.read(
        paths, options.model, version=options.version, since=options.since, until=options.until,
        columns=_needed(options),
    )  # fmt: skip
    table = _matching(table, options, paths)
    count = table.num_rows
    order = pc.sort_indices(table.column("happened_at"))[-options.rows :]
    table = table.take(order)
    if options.columns:
        table = table.select(list(dict.fromkeys(name.partition(".")[0] for name in options.columns)))
    _print(flat(table), options, count)
    if not count:
        choice = {name: getattr(options, name) for name in ("version", "since", "until")}
        if reason := left_out(paths, options.model, **choice):
            print(f"{options.model}: {reason}", file=sys.stderr)
    return 0


def entities(paths: Sequence[Path], entity: str) -> list[str]:
    """How the journals may have written this entity: plain, and as the hash of each journal's key."""
    keys = []
    for path in paths:
        try:
            keys.append(read_key(path))
        except JournalNotFound:
            continue
    return list(dict.fromkeys([entity, *(text for key in keys for text in entity_texts(key, entity))]))


def _needed(options: Namespace) -> list[str] | None:
    """The columns to read: those to show, and those that choose and order rows."""
    if options.columns is None:
        return None
    chosen = [
        "happened_at",
        *(["prediction_id", "request_id"] if options.id else []),
        *(["entity"] if options.entity else []),
    ]
    return [*options.columns, *chosen]


def _matching(table: pa.Table, options: Namespace, paths: Sequence[Path]) -> pa.Table:
    if options.id:
        ids = (pc.equal(table.column(name), options.id).fill_null(False) for name in ("prediction_id", "request_id"))
        table = table.filter(pc.or_(*ids))
    if options.entity:
        column = table.column("entity")
        if len(column) and column.null_count == len(column):
            raise InvalidArgument(
                f'--entity: no row of {options.model} names an entity: write entity = "COLUMN" under [monitor] in '
                f"{options.model}/model.toml"
            )
        table = table.filter(pc.is_in(column, pa.array(entities(paths, options.entity))))
    return table


def _print(table: pa.Table, options: Namespace, count: int) -> None:
    if options.format == "json":
        print(json_text(list(records(table))))
    elif options.format == "csv":
        sys.stdout.flush()
        pyarrow.csv.write_csv(table, pa.PythonFile(sys.stdout.buffer, "w"))
    elif not table.num_rows:
        print(f"{options.model}: no such rows")
    else:
        to = console()
        picture, rows = _rich(table if options.columns else table.select(_interesting(table)), to.width)
        to.print(picture)
        print(f"{options.model}: {f'the newest {rows} of {count:,} rows' if count > rows else f'{count:,} rows'}")


def _interesting(table: pa.Table) -> list[str]:
    def is_shown(name: str) -> bool:
        column = table.column(name)
        if name == "probability":
            return bool(pc.any(pc.less(column, 1.0)).as_py())
        return name not in HIDDEN or (name != "model" and column.null_count < len(column))

    return [name for name in table.schema.names if is_shown(name)]


def _rich(table: pa.Table, width: int) -> tuple[Table, int]:
    """A line for each row, or a column for each of the newest rows if there are more columns than there is room for.

    Also how many rows it shows.
    """
    rows = [[_text(value) for value in row.values()] for row in table.to_pylist()]
    names = [name.removeprefix("inputs.").removeprefix("outputs.") for name in table.schema.names]
    widths = [max(len(name), *(len(row[place]) for row in rows)) + 2 for place, name in enumerate(names)]
    numbers = [pa.types.is_integer(field.type) or pa.types.is_floating(field.type) for field in table.schema]
    if sum(widths) <= width:
        shown = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
        for name, number in zip(names, numbers, strict=True):
            shown.add_column(name, justify="right" if number else "left", no_wrap=True)
        for row in rows:
            shown.add_row(*row)
        return shown, len(rows)
    label = max(map(len, table.schema.names)) + 2
    fitting = rows[-max(1, (width - label) // CELL_MIN) :]
    shown = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1), show_header=False)
    shown.add_column("column", style="dim", no_wrap=True)
    for _ in fitting:
        shown.add_column(max_width=CELL_MAX, overflow="fold")
    for place, name in enumerate(table.schema.names):
        shown.add_row(name, *(row[place] for row in fitting))
    return shown, len(fitting)


def _text(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if hasattr(value, "isoformat"):
        return str(value.isoformat(sep=" ", timespec="milliseconds")).removesuffix("+00:00") + "Z"
    return str(value)
