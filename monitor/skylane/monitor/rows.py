"""What the monitor keeps of a journal's rows: answers, times and segments, by blocks of time. Pure; no files.

A block holds at most so many rows. Beyond, each is kept or not by a hash of its id, so that the choice depends neither
on order nor on restarts, and those kept weigh more.
"""

import hashlib
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from skylane.monitor.served_models import Answers

ROWS_OF_A_BLOCK_MAX: Final = 500_000
"""Bounds the memory of a pass, and the size of the state."""
PARTS_MAX: Final = 32
"""Parts of a block, before they are written as one."""

INSTANT: Final = pa.timestamp("us", "UTC")
COLUMNS: Final = (
    "prediction_id", "row", "happened_at", "event_at", "version", "arm", "degraded", "cached", "probability", "entity",
    "inputs", "outputs",
)  # fmt: skip
"""What is read of the journal."""


def kept(rows: pa.Table, answers: Answers, segments: Sequence[str]) -> pa.Table:
    """Rows of one version as they are kept. `segments`: columns whose values are kept as texts."""
    at = pc.coalesce(rows["event_at"], rows["happened_at"]).cast(INSTANT)
    columns: dict[str, Any] = {
        "prediction_id": rows["prediction_id"].cast(pa.string()),
        "row": rows["row"],
        "at": at,
        "happened_at": rows["happened_at"].cast(INSTANT),
        "entity": rows["entity"].cast(pa.string()),
        "version": rows["version"],
        "arm": pc.fill_null(rows["arm"].cast(pa.string()), ""),
        "degraded": pc.fill_null(rows["degraded"].cast(pa.string()), ""),
        "weight": pc.divide(pa.scalar(1.0), rows["probability"].cast(pa.float64())),
    }
    outputs = fields(rows["outputs"])
    none = pa.nulls(len(rows))
    columns["predicted"] = outputs.get(answers.label, none).cast(pa.string())
    columns["number"] = _number(outputs.get(answers.prediction, none))
    columns["probabilities"] = outputs.get(answers.probabilities, none).cast(pa.list_(pa.float32()))
    inputs = fields(rows["inputs"])
    for name in segments:
        columns[f"segment:{name}"] = (
            pc.fill_null(inputs[name].cast(pa.string()), "") if name in inputs else pa.nulls(len(rows), pa.string())
        )
    return pa.table(columns)


def fields(column: pa.ChunkedArray) -> dict[str, pa.Array]:
    combined = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if isinstance(combined, pa.ChunkedArray):  # as pyarrow returns where there is no chunk, or more than one remains
        combined = pa.concat_arrays(combined.chunks) if combined.num_chunks else pa.array([], combined.type)
    return {combined.type.field(i).name: combined.field(i) for i in range(combined.type.num_fields)}


def _number(column: pa.Array) -> pa.Array:
    """The prediction; the first of several."""
    if pa.types.is_fixed_size_list(column.type) or pa.types.is_list(column.type):
        column = pc.list_element(column, 0)
    return column.cast(pa.float64())


def by_block(rows: pa.Table, block_us: int) -> Iterator[tuple[int, pa.Table]]:
    """Start of each block, in microseconds since 1970, and its rows."""
    at = rows["at"].cast(pa.int64()).to_numpy()
    starts = at - at % block_us
    for start in np.unique(starts):
        yield int(start), rows.filter(pa.array(starts == start))


def encode(rows: pa.Table) -> bytes:
    """An Arrow IPC stream."""
    sink = io.BytesIO()
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with pa.ipc.new_stream(sink, rows.schema, options=options) as writer:
        writer.write_table(rows.combine_chunks())
    return sink.getvalue()


def decode(contents: Iterable[bytes]) -> pa.Table:
    """Parts of a block as one table. Segments that were not kept then are null."""
    tables = [pa.ipc.open_stream(content).read_all() for content in contents]
    return pa.concat_tables(tables, promote_options="default").combine_chunks()


@dataclass(frozen=True)
class Thinned:
    """Rows of a block that are kept, each with a larger weight."""

    rows: pa.Table
    share: float
    """Of the rows that were there before."""


def thinned(rows: pa.Table, rows_max: int = ROWS_OF_A_BLOCK_MAX) -> Thinned:
    """At most so many rows, chosen by their ids, in the order in which they were."""
    if len(rows) <= rows_max:
        return Thinned(rows, 1.0)
    keys = np.array(
        [
            int.from_bytes(hashlib.blake2b(f"{name}/{row}".encode(), digest_size=8).digest(), "little")
            for name, row in zip(rows["prediction_id"].to_pylist(), rows["row"].to_pylist(), strict=True)
        ],
        dtype=np.uint64,
    )
    bound = np.partition(keys, rows_max // 2)[rows_max // 2]
    chosen = rows.filter(pa.array(keys < bound))
    share = len(chosen) / len(rows)
    place = chosen.column_names.index("weight")
    return Thinned(chosen.set_column(place, "weight", pc.divide(chosen["weight"], pa.scalar(share))), share)
