"""`skylane journal ls`: models, segments, columns."""

import sys
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final

import pyarrow.compute as pc
from rich import box
from rich.console import Console, Group
from rich.table import Table

from skylane.cli.live import bytes_text
from skylane.cli.tables import json_text
from skylane.journal.columns import Column
from skylane.journal.layout import SegmentName
from skylane.journal.predictions import capture_of
from skylane.journal.segment_content import SegmentContent
from skylane.journal.tables import contents
from skylane.monitor.journal_commands.times import time_text

NUMBERS: Final = ("ROWS", "SEGMENTS", "SIZE", "BYTES/ROW", "VERSION", "REMOVED")


@dataclass(frozen=True)
class Listed:
    """A segment and what is in it."""

    model: str
    version: int
    name: SegmentName
    path: str
    writer: str
    state: str
    rows: int
    removed: int
    bytes: int
    first_at: datetime | None
    last_at: datetime | None
    columns: tuple[Column, ...]


def run(options: Namespace) -> int:
    """List to the terminal, or as JSON."""
    paths = options.journal
    listed = [_listed(content) for content in contents(paths, options.model)]
    if options.format == "json":
        print(json_text([_json(each) for each in listed]))
    elif not listed:
        where = ", ".join(map(str, paths))
        print(f"The journal in {where} has no rows yet. A model is journalled with journal = true under [monitor].")
    else:
        to = console()
        to.print(_models(listed, to.width) if options.model is None else _model(listed, to.width))
    sys.stdout.flush()
    return 0


def _listed(content: SegmentContent) -> Listed:
    capture = capture_of(content.schema)
    times = content.table(["happened_at"]).column("happened_at")
    limits = pc.min_max(times).as_py()
    return Listed(
        model=capture.model,
        version=capture.version,
        name=content.segment.name,
        path=str(content.segment.path),
        writer=content.segment.name.writer,
        state="closed" if content.closed else "open",
        rows=content.rows,
        removed=len(content.removed),
        bytes=content.size,
        first_at=limits["min"],
        last_at=limits["max"],
        columns=capture.columns,
    )


def _json(listed: Listed) -> dict[str, Any]:
    times = {name: None if at is None else at.isoformat() for name, at in
             (("first_at", listed.first_at), ("last_at", listed.last_at))}  # fmt: skip
    return asdict(listed) | times | {"name": str(listed.name)}


def console() -> Console:
    """A console that prints values as they are: brackets are no markup."""
    return Console(markup=False, highlight=False, emoji=False)


def _models(listed: Sequence[Listed], width: int) -> Table:
    rows: list[list[str]] = []
    for model, version in sorted({(each.model, each.version) for each in listed}):
        mine = [each for each in listed if (each.model, each.version) == (model, version)]
        count, size = sum(each.rows for each in mine), sum(each.bytes for each in mine)
        still_open = sum(each.state == "open" for each in mine)
        segments = f"{len(mine)}" + (f" ({still_open} open)" if still_open else "")
        first, last = _period(mine)
        rows.append(
            [f"{model}/{version}", f"{count:,}", segments, bytes_text(size), f"{size / count:.0f}", first, last]
        )
    header = ["MODEL", "ROWS", "SEGMENTS", "SIZE", "BYTES/ROW", "FIRST ROW (UTC)", "LAST ROW (UTC)"]
    return _table("", header, rows, width, optional=("FIRST ROW (UTC)", "BYTES/ROW"))


def _model(listed: Sequence[Listed], width: int) -> Group:
    header = ["STARTED (UTC)", "WRITER", "STATE", "VERSION", "ROWS", "REMOVED", "SIZE", "LAST ROW (UTC)"]
    rows = [
        [
            time_text(each.name.started_at), each.writer, each.state, str(each.version), f"{each.rows:,}",
            f"{each.removed:,}", bytes_text(each.bytes), time_text(each.last_at),
        ]
        for each in listed
    ]  # fmt: skip
    optional = ("LAST ROW (UTC)", "WRITER")
    return Group(_table("segments", header, rows, width, optional), _columns(listed[-1], width))


def _columns(newest: Listed, width: int) -> Table:
    rows = [[column.name, column.treatment, column.reason] for column in newest.columns]
    return _table(f"columns of version {newest.version}", ["COLUMN", "IN THE JOURNAL", "REASON"], rows, width)


def _table(
    title: str, header: Sequence[str], rows: Sequence[Sequence[str]], width: int, optional: Sequence[str] = ()
) -> Table:
    """A table without those of the optional columns, first ones first, for which there is no room."""
    widths = {name: max(len(name), *(len(row[place]) for row in rows)) + 2 for place, name in enumerate(header)}
    for name in optional:
        if sum(widths.values()) > width:
            del widths[name]
    table = Table(
        box=box.SIMPLE_HEAD, title=title or None, title_justify="left", title_style="bold", pad_edge=False,
        padding=(0, 1),
    )  # fmt: skip
    for name in widths:
        table.add_column(name, justify="right" if name in NUMBERS else "left", overflow="fold")
    for row in rows:
        table.add_row(*(row[header.index(name)] for name in widths))
    return table


def _period(listed: Sequence[Listed]) -> tuple[str, str]:
    first = min((each.first_at for each in listed if each.first_at), default=None)
    last = max((each.last_at for each in listed if each.last_at), default=None)
    return time_text(first), time_text(last)
