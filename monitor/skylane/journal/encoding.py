"""Captured rows as one Arrow batch: arrays are joined once, and converted as wholes."""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa

from skylane.journal.event_times import event_times
from skylane.journal.hashing import Hasher, hash_text, texts
from skylane.journal.predictions import TIME, WORD, Array, Capture, Rows, metadata

_INDEX: Final = pa.int32()
_SCALARS: Final = (int, float, bool, np.generic)


@dataclass(frozen=True)
class Encoded:
    """A batch to be written, and how many of its times of events cannot be used."""

    batch: pa.RecordBatch
    event_times_refused: int


def groups(several: Iterable[Rows]) -> list[list[Rows]]:
    """Rows that may share a batch: of one capture, with the same columns of the same types."""
    by_capture: dict[int, list[Rows]] = {}
    for rows in several:
        by_capture.setdefault(id(rows.capture), []).append(rows)
    result: list[list[Rows]] = []
    for group in by_capture.values():
        if _is_uniform([rows.inputs for rows in group]) and _is_uniform([rows.outputs for rows in group]):
            result.append(group)
            continue
        by_type: dict[tuple[Any, ...], list[Rows]] = {}
        for rows in group:
            by_type.setdefault((_types(rows.inputs), _types(rows.outputs)), []).append(rows)
        result += by_type.values()
    return result


def encode(several: Sequence[Rows], hasher: Hasher) -> Encoded:
    """Rows of one group as one batch. Inputs and outputs keep their types exactly."""
    capture = several[0].capture
    counts = np.concatenate([np.asarray(rows.counts, np.int64) for rows in several])
    total = int(counts.sum())
    inputs = _joined([rows.inputs for rows in several])
    kept: dict[str, pa.Array] = {}
    for name, values in inputs.items():
        treatment = capture.treatment(name)
        if treatment != "dropped":
            kept[name] = hasher.column(values) if treatment == "hashed" else arrow(values)
    event_at, refused = _event_at(capture, inputs, total)
    outputs = {name: arrow(values) for name, values in _joined([rows.outputs for rows in several]).items()}
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
        "entity": _entity(capture, inputs, kept, total),
        "inputs": _struct(kept, total),
        "outputs": _struct(outputs, total),
    }
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


def _is_uniform(several: Sequence[Mapping[str, Any]]) -> bool:
    """Whether all have the same columns of NumPy arrays, with the same types. Cheaper than a key for each."""
    names = list(several[0])
    if any(list(columns) != names for columns in several):
        return False
    for name in names:
        values = [columns[name] for columns in several]
        if not all(isinstance(each, np.ndarray) for each in values):
            return False
        if len({each.dtype for each in values}) > 1 or len({each.ndim for each in values}) > 1:
            return False
        if values[0].ndim > 1 and len({each.shape[1:] for each in values}) > 1:
            return False
    return True


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
    values = [getattr(rows, name) for rows in several]
    if all(isinstance(value, _SCALARS) for value in values):
        return np.repeat(np.array(values, dtype), [len(rows.calls) for rows in several])
    parts = [
        np.full(len(rows.calls), value, dtype) if isinstance(value, _SCALARS) else np.asarray(value, dtype)
        for rows, value in zip(several, values, strict=True)
    ]
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
    values = [getattr(rows, name) for rows in several]
    if all(value is None or isinstance(value, str) for value in values):
        counts = np.array([rows.rows for rows in several])
        words = values
    else:
        words = []
        for rows, value in zip(several, values, strict=True):
            words += [value] * len(rows.calls) if value is None or isinstance(value, str) else value
    codes: dict[str | None, int] = {None: -1}
    indices = np.repeat(np.array([codes.setdefault(word, len(codes) - 1) for word in words], np.int32), counts)
    known = pa.array([word for word in codes if word is not None], pa.string())
    return pa.DictionaryArray.from_arrays(pa.array(indices, _INDEX, mask=indices < 0), known).cast(WORD)


def _entity(capture: Capture, inputs: Mapping[str, Any], kept: Mapping[str, pa.Array], count: int) -> pa.Array:
    if capture.entity is None or capture.entity not in inputs:
        return pa.nulls(count, pa.string())
    if capture.treatment(capture.entity) == "hashed":
        return kept[capture.entity]
    return texts(inputs[capture.entity])


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
