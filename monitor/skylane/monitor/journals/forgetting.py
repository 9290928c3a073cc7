"""`skylane journal forget`: removes all rows about one entity, and their outcomes."""

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
from skylane.journal.forgetting import Forgotten, Mask, exclusive, remove_rows, request_seal, still_open
from skylane.journal.layout import OUTCOMES, PREDICTIONS, Segment
from skylane.journal.predictions import as_read
from skylane.journal.segment_content import SegmentContent, load
from skylane.monitor.journals.showing import entities

POLL_S: Final = 0.2


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


def run(options: Namespace) -> int:
    """Remove, and report what was removed."""
    deadline = time.monotonic() + options.wait_s

    def wait() -> bool:
        time.sleep(POLL_S)
        return bool(time.monotonic() < deadline)

    reports = forget(options.journal, options.entity, options.model, wait)
    if options.format == "json":
        print(json_text([asdict(report) for report in reports]))
    else:
        for report in reports:
            print(
                f"{report.model}: removed {report.predictions:,} predictions and {report.outcomes:,} outcomes "
                f"in {report.journal}"
            )
        if not reports:
            print("The journal has no model.")
    late = [name for report in reports for name in report.not_changed]
    if late:
        print(
            f"skylane journal forget: {len(late)} open segments were not closed by their servers within "
            f"{options.wait_s:g} s and may still hold rows: run the command again ({', '.join(late)})",
            file=sys.stderr,
        )
    return 1 if late else 0


def forget(paths: Sequence[Path], entity: str, model: str | None, wait: Callable[[], bool]) -> list[Report]:
    """Remove an entity from these journals. `wait` waits a moment, and says whether to go on waiting for servers.

    Raises JournalError and OSError.
    """
    reports: list[Report] = []
    for path in paths:
        if not path.is_dir():
            raise JournalNotFound(f"{path}: there is no such directory; expected that of `skylane serve --journal`")
        known = sorted({*layout.models(path, PREDICTIONS), *layout.models(path, OUTCOMES)})
        if model is not None and model not in known:
            raise JournalNotFound(f"{path}: there is no model {model!r}; there are: {', '.join(known) or 'none'}")
        names = entities([path], entity)
        with exclusive(path):
            reports += [_forget(path, each, names, wait) for each in ([model] if model else known)]
    return reports


def _forget(path: Path, model: str, names: Sequence[str], wait: Callable[[], bool]) -> Report:
    predictions, outcomes = (path / kind / model for kind in (PREDICTIONS, OUTCOMES))
    waited_for = [*request_seal(predictions), *request_seal(outcomes)]
    late: list[Segment] = still_open(waited_for)
    while late and wait():
        late = still_open(late)
    values = pa.array(names, pa.string())
    ids = _ids(predictions, values)
    # Outcomes first: whoever is interrupted finds the ids again as long as the predictions are there.
    labels = remove_rows(outcomes, lambda content: _of_entity(content, values) | _of_ids(content, ids))
    rows = remove_rows(predictions, lambda content: _of_entity(content, values))
    both: Forgotten = labels + rows
    return Report(
        journal=str(path), model=model, predictions=rows.rows, outcomes=labels.rows, segments=both.segments,
        not_changed=tuple(str(segment.path) for segment in late),
    )  # fmt: skip


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
