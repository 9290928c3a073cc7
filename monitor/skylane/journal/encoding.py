"""Captured rows as one Arrow batch: arrays are joined once, and converted as wholes."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa

from skylane.journal.event_times import event_times
from skylane.journal.hashing import hash_column, hash_text, texts
from skylane.journal.predictions import TIME, WORD, Array, Capture, Rows, metadata

Hasher = Callable[[Any], pa.Array]

_INDEX: Final = pa.int32()


@dataclass(frozen=True)
class Encoded:
    """A batch to be written, and how many of its times of events cannot be used."""

    batch: pa.RecordBatch
    event_times_refused: int


def signature(rows: Rows) -> tuple[Any, ...]:
    """What rows must have in common to share a batch."""
    return (rows.capture, _types(rows.inputs), _types(rows.outputs))


def encode(several: Sequence[Rows], key: bytes) -> Encoded:
    """Rows of one signature as one batch. Inputs and outputs keep their types exactly."""
    capture = several[0].capture
    counts = np.concatenate([np.asarray(rows.counts, np.int64) for rows in several])
    inputs = _joined([rows.inputs for rows in several])
    kept: dict[str, pa.Array] = {}
    for name, values in inputs.items():
        treatment = capture.treatment(name)
        if treatment != "dropped":
            kept[name] = hash_column(key, values) if treatment == "hashed" else arrow(values)
    event_at, refused = _event_at(capture, inputs, int(counts.sum()))
    columns = {
        "call": pa.array(np.repeat(_per_call(several, "calls", np.uint64), counts)),
        "row": pa.array(_numbers_in_calls(counts)),
        "request_id": _request_ids(several, counts),
        "happened_at": pa.array(np.repeat(_per_call(several, "happened_at_us", np.int64), counts)).cast(TIME),
        "event_at": event_at,
        "arm": _words(several, "arm", counts),
        "degraded": _words(several, "degraded", counts),
        "cached": pa.array(np.repeat(_per_call(several, "cached", np.bool_), counts)),
        "probability": pa.array(np.repeat(_per_call(several, "probability", np.float64), counts)),
        "protocol": _words(several, "protocols", counts),
        "entity": _entity(capture, inputs, key, int(counts.sum())),
        "inputs": _struct(kept, int(counts.sum())),
        "outputs": _struct({name: arrow(values) for name, values in _joined([r.outputs for r in several]).items()},
                           int(counts.sum())),
    }  # fmt: skip
    schema = pa.schema([pa.field(name, column.type) for name, column in columns.items()], metadata(capture))
    return Encoded(pa.RecordBatch.from_arrays(list(columns.values()), schema=schema), refused)


def arrow(values: Any) -> pa.Array:
    """An array of the same type: texts as strings, further dimensions as lists of fixed size. NaN stays NaN."""
    if isinstance(values, pa.Array):
        return values
    if isinstance(values, pa.ChunkedArray):
        return values.combine_chunks()
    if values.ndim > 1:
        width = int(np.prod(values.shape[1:]))
        return pa.FixedSizeListArray.from_arrays(arrow(np.ascontiguousarray(values).reshape(-1)), width)
    if values.dtype.kind in "OUST":
        return pa.array(values.astype(object), pa.string(), from_pandas=True)
    return pa.array(np.ascontiguousarray(values))


def _types(columns: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(
        (name, values.dtype, values.shape[1:]) if isinstance(values, np.ndarray) else (name, values.type)
        for name, values in columns.items()
    )


def _joined(several: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Each column of all rows."""
    if len(several) == 1:
        return dict(several[0])
    return {name: _concatenated([columns[name] for columns in several]) for name in several[0]}


def _concatenated(parts: Sequence[Any]) -> Any:
    if isinstance(parts[0], np.ndarray):
        return np.concatenate(parts)
    return pa.chunked_array([chunk for part in parts for chunk in _chunks(part)]).combine_chunks()


def _chunks(values: Any) -> Sequence[pa.Array]:
    return values.chunks if isinstance(values, pa.ChunkedArray) else [values]


def _per_call(several: Sequence[Rows], name: str, dtype: Any) -> Array:
    """A value for each call, where rows may have one for all of theirs."""
    parts = [np.broadcast_to(np.asarray(getattr(rows, name), dtype), (len(rows.calls),)) for rows in several]
    return np.concatenate(parts)


def _numbers_in_calls(counts: Array) -> Array:
    """0, 1, 2, … for each call."""
    ends = np.cumsum(counts)
    total = int(ends[-1]) if len(ends) else 0
    numbers: Array = np.arange(total) - np.repeat(ends - counts, counts)
    return numbers.astype(np.uint32, copy=False)


def _request_ids(several: Sequence[Rows], counts: Array) -> pa.Array:
    if all(rows.request_ids is None for rows in several):
        return pa.nulls(int(counts.sum()), pa.string())
    ids = itertools.chain.from_iterable(
        [None] * len(rows.calls) if rows.request_ids is None else rows.request_ids for rows in several
    )
    return pa.array(list(ids), pa.string()).take(pa.array(np.repeat(np.arange(len(counts)), counts)))


def _words(several: Sequence[Rows], name: str, counts: Array) -> pa.Array:
    """A column of few different texts."""
    codes: dict[str | None, int] = {None: -1}
    words: list[int] = []
    for rows in several:
        value: Any = getattr(rows, name)
        one = value is None or isinstance(value, str)
        each_call = [value] * len(rows.calls) if one else value
        words.extend(codes.setdefault(each, len(codes) - 1) for each in each_call)
    indices = np.repeat(np.asarray(words, np.int32), counts)
    return pa.DictionaryArray.from_arrays(
        pa.array(indices, _INDEX, mask=indices < 0), pa.array([word for word in codes if word is not None], pa.string())
    ).cast(WORD)


def _entity(capture: Capture, inputs: Mapping[str, Any], key: bytes, count: int) -> pa.Array:
    if capture.entity is None or capture.entity not in inputs:
        return pa.nulls(count, pa.string())
    values = inputs[capture.entity]
    return hash_column(key, values) if capture.treatment(capture.entity) == "hashed" else texts(values)


def _event_at(capture: Capture, inputs: Mapping[str, Any], count: int) -> tuple[pa.Array, int]:
    if capture.event_time is None or capture.event_time not in inputs:
        return pa.nulls(count, TIME), 0
    return event_times(inputs[capture.event_time])


def _struct(columns: Mapping[str, pa.Array], count: int) -> pa.Array:
    if columns:
        return pa.StructArray.from_arrays(list(columns.values()), list(columns))
    return pa.array([{}] * count, pa.struct([]))


def entity_texts(key: bytes | None, entity: str) -> list[str]:
    """How an entity may be written in a journal: plain, and hashed if there is a key."""
    return [entity] if key is None else [entity, hash_text(key, entity)]
