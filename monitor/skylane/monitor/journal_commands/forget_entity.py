"""`skylane journal forget`: removes all rows about one entity, and their outcomes."""

import contextlib
import functools
import sys
import time
from argparse import Namespace
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from skylane.cli.tables import json_text
from skylane.journal import layout
from skylane.journal.errors import JournalNotFound
from skylane.journal.layout import OUTCOMES, PREDICTIONS, Segment
from skylane.journal.predictions import as_read, capture_of
from skylane.journal.row_removal import Chooses, Mask, exclusive, open_with, remove_rows, request_seal
from skylane.journal.segment_content import SegmentContent, load
from skylane.monitor.journal_commands.showing import entities

POLL_S: Final = 0.2
SETTLE_S: Final = 2.2
"""Servers flush every second, and close their segments at the second flush after they are asked to."""


@dataclass(frozen=True)
class Report:
    """What was removed of one model."""

    journal: str
    model: str
    predictions: int
    outcomes: int
    segments: int
    """Segments that were written anew."""
    not_changed: tuple[str, ...]
    """Segments of running servers that were not closed in time, so that rows may still be in them."""
    names_entities: bool
    """False: there are predictions, and none of them says whom it is about."""


@dataclass(frozen=True)
class Request:
    """What is to be forgotten, and how to wait for servers."""

    entity: str
    model: str | None
    """None: of all models."""
    asked_at: float
    """Unix time. Rows that a server answers later are recorded again."""
    settle: Callable[[], None]
    """Wait until servers have written what they had captured when they were asked to close their segments."""
    again: Callable[[], bool]
    """Wait a moment, and say whether to go on waiting for servers."""


def run(options: Namespace) -> int:
    """Remove, and report what was removed."""
    deadline = time.monotonic() + SETTLE_S + options.wait_s

    def again() -> bool:
        time.sleep(POLL_S)
        return bool(time.monotonic() < deadline)

    settle = functools.partial(time.sleep, SETTLE_S)
    reports = forget(options.journal, Request(options.entity, options.model, time.time(), settle, again))
    if options.format == "json":
        print(json_text([asdict(report) for report in reports]))
    else:
        for report in reports:
            print(
                f"{report.model}: removed {report.predictions:,} predictions and {report.outcomes:,} outcomes "
                f"in {report.journal}"
            )
            if not report.names_entities:
                print(
                    f"{report.model}: no prediction names an entity, so none could be found by it; write "
                    f'entity = "COLUMN" under [monitor] in {report.model}/model.toml'
                )
        if not reports:
            print("The journal has no model.")
    late = [name for report in reports for name in report.not_changed]
    if late:
        print(
            f"skylane journal forget: {len(late)} open segments with such rows were not closed by their servers within "
            f"{options.wait_s:g} s: run the command again ({', '.join(late)})",
            file=sys.stderr,
        )
    return 1 if late else 0


def forget(paths: Sequence[Path], request: Request) -> list[Report]:
    """Remove an entity from these journals. Raises JournalError and OSError."""
    chosen = [(path, model) for path in paths for model in _models(path, request.model)]
    with contextlib.ExitStack() as stack:
        for path in paths:
            stack.enter_context(exclusive(path))
        for path, model in chosen:
            for kind in (PREDICTIONS, OUTCOMES):
                request_seal(path / kind / model)
        if chosen:
            request.settle()
        return [_forget(path, model, request) for path, model in chosen]


def _models(path: Path, model: str | None) -> list[str]:
    if not path.is_dir():
        raise JournalNotFound(f"{path}: there is no such directory; expected that of `skylane serve --journal`")
    known = sorted({*layout.models(path, PREDICTIONS), *layout.models(path, OUTCOMES)})
    if model is not None and model not in known:
        raise JournalNotFound(f"{path}: there is no model {model!r}; there are: {', '.join(known) or 'none'}")
    return known if model is None else [model]


def _forget(path: Path, model: str, request: Request) -> Report:
    predictions, outcomes = (path / kind / model for kind in (PREDICTIONS, OUTCOMES))
    values = pa.array(entities([path], request.entity), pa.string())

    def before(content: SegmentContent) -> Mask:
        times = content.table(["happened_at"]).column("happened_at").cast(pa.int64()).to_numpy()
        mask: Mask = _of_entity(content, values) & (times <= request.asked_at * 1e6)
        return mask

    late = _closed(predictions, before, request.again)
    ids = _ids(predictions, values)

    def of_them(content: SegmentContent) -> Mask:
        return _of_entity(content, values) | _of_ids(content, ids)

    late += _closed(outcomes, of_them, request.again)
    # Outcomes first: whoever is interrupted finds the ids again as long as the predictions are there.
    labels = remove_rows(outcomes, of_them)
    rows = remove_rows(predictions, lambda content: _of_entity(content, values))
    return Report(
        journal=str(path),
        model=model,
        predictions=rows.rows,
        outcomes=labels.rows,
        segments=(labels + rows).segments,
        not_changed=tuple(str(segment.path) for segment in late),
        names_entities=_names_entities(predictions),
    )


def _names_entities(predictions: Path) -> bool:
    captures = [capture_of(content.schema) for segment in layout.segments(predictions)
                if (content := load(segment)) is not None and content.rows]  # fmt: skip
    return not captures or any(capture.entity is not None for capture in captures)


def _closed(directory: Path, chooses: Chooses, again: Callable[[], bool]) -> list[Segment]:
    """Wait until chosen rows are in closed segments. Returns the segments that stayed open."""
    late = open_with(directory, chooses)
    while late and again():
        late = open_with(directory, chooses)
    return late


def _of_entity(content: SegmentContent, values: pa.Array) -> Mask:
    column = content.table(["entity"]).column("entity")
    mask: Mask = pc.is_in(column, values).to_numpy().astype(np.bool_)
    return mask


def _of_ids(content: SegmentContent, ids: pa.Table) -> Mask:
    """Outcomes of these rows of these calls."""
    table = content.table(["prediction_id", "row"])
    known = {(row["prediction_id"], row["row"]) for row in ids.to_pylist()}
    if not known:
        return np.zeros(table.num_rows, np.bool_)
    candidates = np.asarray(pc.is_in(table.column("prediction_id"), ids.column("prediction_id")).to_numpy(), np.bool_)
    for place in np.flatnonzero(candidates):
        call, row = (table.column(name)[place].as_py() for name in ("prediction_id", "row"))
        candidates[place] = row is None or (call, row) in known
    return candidates


def _ids(predictions: Path, values: pa.Array) -> pa.Table:
    """The ids and numbers of the entity's rows."""
    parts = []
    for segment in layout.segments(predictions):
        content = load(segment)
        if content is None or not content.rows:
            continue
        for batch in content.batches(names=["call", "row", "entity"]):
            chosen = batch.filter(pc.is_in(batch.column("entity"), values))
            parts.append(pa.Table.from_batches([as_read(chosen, ["prediction_id", "row"])]))
    schema = pa.schema({"prediction_id": pa.string(), "row": pa.uint32()})
    return pa.concat_tables([schema.empty_table(), *parts])
