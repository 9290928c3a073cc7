"""New rows of the journal → parts of blocks and statistics of inputs, in one transaction with the reader's position."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from skylane.journal import Reader
from skylane.monitor import rows as block_rows
from skylane.monitor.drift_verdicts import restored, stored
from skylane.monitor.progress import Progress
from skylane.monitor.served_models import ServedModels, block_us
from skylane.monitor.state import State
from skylane.policy import Monitor
from skylane.statistics.drift import Reference, block_statistics

ROWS_AT_ONCE: Final = 200_000
"""Rows of one transaction; bounds memory."""


def ingest(state: State, directory: Path, model: str, models: ServedModels, progress: Progress | None = None) -> int:
    """Read everything new of a model in one directory of a journal. Returns how many rows."""
    policy, rows = models.policy(model), 0
    reader = Reader(directory, model, state.position("rows", str(directory), model), columns=block_rows.COLUMNS)
    more = True
    while more:
        polled = reader.poll()
        more = polled.more
        if not polled.batches:
            continue
        with state.transaction():
            for table in _tables(polled.batches):
                _add(state, model, table, policy, models)
            state.set_position("rows", str(directory), model, polled.position)
        rows += polled.rows
        if progress is not None:
            progress.rows(polled.rows)
    return rows


def _tables(batches: Iterable[pa.RecordBatch]) -> Iterable[pa.Table]:
    """Batches of one schema as tables, of so many rows at most."""
    held: list[pa.RecordBatch] = []
    for batch in batches:
        if held and (held[0].schema != batch.schema or sum(len(each) for each in held) + len(batch) > ROWS_AT_ONCE):
            yield pa.Table.from_batches(held)
            held = []
        held.append(batch)
    if held:
        yield pa.Table.from_batches(held)


def _add(state: State, model: str, table: pa.Table, policy: Monitor, models: ServedModels) -> None:
    usual = pc.is_null(table["degraded"])
    degraded = len(table) - int(pc.sum(usual).as_py() or 0)
    if degraded:  # another model or a fixed answer gave them
        state.exclude(model, "degraded", degraded)
        table = table.filter(usual)
    versions = table["version"].to_numpy()
    for version in np.unique(versions):
        of_version = table.filter(pa.array(versions == version))
        answers = models.answers(model, int(version))
        kept = block_rows.kept(of_version, answers, policy.segments)
        reference = models.reference(model, int(version))
        at = kept["at"].cast(pa.int64()).to_numpy()
        starts = at - at % block_us(policy)
        for start in np.unique(starts):
            chosen = pa.array(starts == start)
            part = kept.filter(chosen)
            state.add_part(model, int(start), len(part), block_rows.encode(part))
            _compact(state, model, int(start))
            _measure(state, model, int(version), int(start), of_version.filter(chosen), part, reference, policy)


def _compact(state: State, model: str, block: int) -> None:
    """One part in place of many, and at most so many rows."""
    parts, rows = state.size(model, block)
    if parts <= block_rows.PARTS_MAX and rows <= block_rows.ROWS_OF_A_BLOCK_MAX:
        return
    thinned = block_rows.thinned(block_rows.decode(part.content for part in state.parts(model, block)))
    state.replace_parts(model, block, len(thinned.rows), block_rows.encode(thinned.rows))


def _measure(
    state: State, model: str, version: int, block: int, table: pa.Table, kept: pa.Table, reference: Reference | None,
    policy: Monitor,
) -> None:  # fmt: skip
    """Add rows to the statistics of a block's inputs and answers."""
    if reference is None:
        reference = EMPTY
    added = block_statistics(
        _columns(table["inputs"]),
        _columns(table["outputs"]),
        kept["weight"].to_numpy(),
        reference,
        times_s=kept["at"].cast(pa.int64()).to_numpy() / 1e6,
        start_s=block / 1e6,
        block_s=block_us(policy) / 1e6,
    )
    before = restored(state.inputs(model, version, block), reference)
    whole = added if before is None else before.merge(added)
    state.set_inputs(model, version, block, stored(whole, reference))


EMPTY: Final = Reference(rows=1, columns={})
"""For versions of which nothing is known: rows are counted, nothing is measured."""


def _columns(struct: pa.ChunkedArray) -> Mapping[str, Any]:
    """Name → NumPy array; (rows, classes) for lists."""
    made: dict[str, Any] = {}
    for name, column in block_rows.fields(struct).items():
        if pa.types.is_fixed_size_list(column.type):
            made[name] = column.flatten().to_numpy(zero_copy_only=False).reshape(len(column), -1)
        else:
            made[name] = column.to_numpy(zero_copy_only=False)
    return made
