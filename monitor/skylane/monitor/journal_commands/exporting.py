"""`skylane journal export`: rows of a model as a file, with the outcomes that were known at an instant."""

import os
import sys
from argparse import Namespace
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

import skylane.journal as journal
import skylane.outcomes as outcomes
from skylane.journal.errors import InvalidArgument
from skylane.monitor.journal_commands.flattening import flat
from skylane.monitor.journal_commands.left_out import left_out

Write = Callable[[pa.Table, Any], None]
KEYS: Final = ("prediction_id", "row", "entity", "event_at", "happened_at")
"""Columns by which outcomes are joined."""


def training_set(
    directory: journal.tables.Directories,
    model: str,
    as_known: datetime,
    *,
    version: int | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    columns: Sequence[str] | None = None,
) -> outcomes.Joined:
    """The predictions before an instant, each with the outcome that was known at it, or null. Raises JournalError.

    The time of a prediction is its event_at, or happened_at where it has none.
    """
    until = as_known if until is None else min(until, as_known)
    wanted = None if columns is None else list(dict.fromkeys([*columns, *KEYS]))
    predictions = journal.read(directory, model, version=version, since=since, until=until, columns=wanted)
    paths = [directory] if isinstance(directory, str | os.PathLike) else list(directory)
    joined = outcomes.join(predictions, outcomes.read([Path(path) for path in paths], model, known_by=as_known))
    if columns is None:
        return joined
    chosen = dict.fromkeys(name.partition(".")[0] for name in columns)
    return outcomes.Joined(joined.table.select([*chosen, *outcomes.joining.ADDED]), joined.counts)


def run(options: Namespace) -> int:
    """Write the file, and say how many rows it has."""
    write = _writer(options)
    paths = options.journal
    choice = {name: getattr(options, name) for name in ("version", "since", "until", "columns")}
    labelled = ""
    until, unlabelled = options.until, 0
    if options.as_known is None:
        if options.labelled:
            raise InvalidArgument("--labelled: outcomes are added with --as-known TIME: give it as well")
        table = journal.read(paths, options.model, **choice)
    else:
        joined = training_set(paths, options.model, options.as_known, **choice)
        table = joined.table
        until = options.as_known if until is None else min(until, options.as_known)
        if options.labelled:
            unlabelled = joined.table.num_rows - joined.counts.labelled
            table = table.filter(pc.is_valid(table.column("known_at")))
        labelled = f", {joined.counts.labelled:,} with an outcome known at {options.as_known.isoformat()}"
    _write(table, options.out, write)
    print(f"{options.model}: {table.num_rows:,} rows in {options.out}{labelled}", file=sys.stderr)
    if not table.num_rows:
        _explain(options, until, unlabelled=unlabelled)
    return 0


def _explain(options: Namespace, until: datetime | None, *, unlabelled: int) -> None:
    """Say why no row was written."""
    rows = "1 row has" if unlabelled == 1 else f"{unlabelled:,} rows have"
    without = f"{rows} no outcome known at {options.as_known.isoformat()}" if unlabelled else ""
    reason = left_out(options.journal, options.model, version=options.version, since=options.since, until=until)
    if without or reason:
        print(f"{options.model}: no row was left: {'; '.join(filter(None, (without, reason)))}", file=sys.stderr)


def _writer(options: Namespace) -> Write:
    """How the file is written. Raises InvalidArgument for another format, or a file that exists."""
    if str(options.out) == "-":
        return _csv
    write = FORMATS.get(options.out.suffix)
    if write is None:
        raise InvalidArgument(
            f"--out: expected a file that ends in {', '.join(FORMATS)}, or - for CSV, received {options.out}"
        )
    if options.out.exists() and not options.force:
        raise InvalidArgument(f"--out: {options.out} exists; replace it with --force")
    return write


def _write(table: pa.Table, path: Path, write: Write) -> None:
    """The file as a whole, or none."""
    if str(path) == "-":
        write(table, pa.PythonFile(sys.stdout.buffer, "w"))
        return
    staging = path.with_name(f".{path.name}.new")
    try:
        with os.fdopen(os.open(staging, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            write(table, file)
        staging.replace(path)
    finally:
        staging.unlink(missing_ok=True)


def _csv(table: pa.Table, file: Any) -> None:
    pyarrow.csv.write_csv(flat(table), file)


def _parquet(table: pa.Table, file: Any) -> None:
    empty = [field.name for field in table.schema if pa.types.is_struct(field.type) and not len(list(field.type))]
    pyarrow.parquet.write_table(table.drop_columns(empty), file, compression="zstd")


def _arrow(table: pa.Table, file: Any) -> None:
    with pa.ipc.new_file(file, table.schema) as out:
        out.write_table(table)


FORMATS: Final[dict[str, Write]] = {".parquet": _parquet, ".arrow": _arrow, ".csv": _csv}
