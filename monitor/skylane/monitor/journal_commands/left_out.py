"""Why a choice of rows by time leaves none: which rows there are, and by which time they were chosen."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

import skylane.journal as journal
from skylane.monitor.journal_commands.times import time_text


def left_out(
    paths: Sequence[Path], model: str, *, version: int | None, since: datetime | None, until: datetime | None
) -> str:
    """How many rows are too early or too late, in words; empty if none are."""
    if since is None and until is None:
        return ""
    table = journal.read(paths, model, version=version, columns=["happened_at", "event_at"])
    if not table.num_rows:
        return ""
    times = journal.tables.row_times(table)
    counts = (
        (0 if until is None else _count(pc.greater_equal(times, _scalar(until, times))), "not before", until),
        (0 if since is None else _count(pc.less(times, _scalar(since, times))), "before", since),
    )
    parts = [
        f"{count:,} {'row is' if count == 1 else 'rows are'} {what} {time_text(instant)} UTC"
        for count, what, instant in counts
        if count
    ]
    if not parts:
        return ""
    ends = pc.min_max(times)
    return (
        f"{' and '.join(parts)}; rows are chosen by {_meant(table)}, which is {time_text(ends['min'].as_py())} to "
        f"{time_text(ends['max'].as_py())} UTC"
    )


def _meant(table: pa.Table) -> str:
    """Which time the rows have."""
    missing = table.column("event_at").null_count
    if missing == table.num_rows:
        return "happened_at, when they were answered"
    return "event_at" if not missing else "event_at, or happened_at where there is none"


def _count(mask: pa.ChunkedArray) -> int:
    return int(pc.sum(mask).as_py() or 0)


def _scalar(instant: datetime, times: pa.ChunkedArray) -> pa.Scalar:
    return pa.scalar(instant, times.type)
