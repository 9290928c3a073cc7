"""Columns of prediction ids: made from and parsed to numbers, without a Python object for each row."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa

from skylane.prediction_ids import WRITER_DIGITS

BLOCK: Final = 16_384
"""Rows that are handled at a time: what a processor's cache holds."""

_DIGITS: Final = np.frombuffer(b"0123456789abcdef", np.uint8)
_HYPHEN: Final = ord("-")
_PREFIX: Final = WRITER_DIGITS + 1
_WIDTH: Final = _PREFIX + 16
_BAD: Final = 255
_VALUES: Final = np.full(256, _BAD, np.uint8)
_VALUES[_DIGITS] = np.arange(16, dtype=np.uint8)
_FOUR: Final = np.uint64(4)

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class ParsedIds:
    """A column of prediction ids as numbers. Where `valid` is false the text is no id, or null, and both are 0."""

    writers: Array
    """int64: the bits of the writers, as `prediction_ids.parse_id` returns them."""
    calls: Array
    """int64."""
    valid: Array
    """bool."""


def id_column(writer: str, calls: Array) -> pa.Array:
    """The ids of these calls of one writer as a column of strings."""
    calls = calls.astype(np.uint64, copy=False)
    lengths, texts = np.empty(len(calls), np.int32), list[Array]()
    for block in _blocks(len(calls)):
        text = np.empty((len(calls[block]), _WIDTH), np.uint8)
        text[:, :WRITER_DIGITS] = np.frombuffer(writer.encode(), np.uint8)
        text[:, WRITER_DIGITS] = _HYPHEN
        rest, used = calls[block].copy(), np.ones(text.shape, np.bool_)
        for place in range(_WIDTH - 1, _PREFIX - 1, -1):
            used[:, place] = rest != 0
            text[:, place] = _DIGITS[(rest & np.uint64(15)).astype(np.uint8)]
            rest >>= _FOUR
        lengths[block] = used.sum(axis=1)
        texts.append(text[used])
    offsets = np.zeros(len(calls) + 1, np.int32)
    np.cumsum(lengths, out=offsets[1:])
    data = np.concatenate(texts) if texts else np.zeros(0, np.uint8)
    return pa.StringArray.from_buffers(len(calls), pa.py_buffer(offsets), pa.py_buffer(data))


def parse_ids(column: Any) -> ParsedIds:
    """A column of ids, of Arrow strings or a NumPy array of texts, as numbers."""
    if not isinstance(column, pa.Array | pa.ChunkedArray):
        column = pa.array(column, pa.string(), from_pandas=True)
    chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    parts = [_parsed(chunk.cast(pa.large_string())) for chunk in chunks if len(chunk)]
    if not parts:
        return ParsedIds(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.bool_))
    writers, calls, valid = (np.concatenate(each) for each in zip(*parts, strict=True))
    return ParsedIds(writers, calls, valid)


def _parsed(column: pa.Array) -> tuple[Array, Array, Array]:
    """Writers, calls, and whether they are valid, of one array of large strings."""
    count = len(column)
    _, offsets_buffer, data_buffer = column.buffers()
    offsets = np.frombuffer(offsets_buffer, np.int64, count + 1, column.offset * 8)
    data = np.frombuffer(data_buffer, np.uint8) if data_buffer else np.zeros(0, np.uint8)
    padded = np.concatenate([data, np.zeros(_WIDTH, np.uint8)])
    lengths = np.diff(offsets)
    known = column.is_valid().to_numpy(zero_copy_only=False)
    shaped = known & (lengths > _PREFIX) & (lengths <= _WIDTH)
    starts = np.where(shaped, offsets[:-1], len(data))
    writers, calls, valid = np.empty(count, np.uint64), np.empty(count, np.uint64), np.empty(count, np.bool_)
    for block in _blocks(count):
        writers[block], calls[block], valid[block] = _parsed_block(padded, starts[block], lengths[block])
    valid &= shaped
    return np.where(valid, writers, 0).view(np.int64), np.where(valid, calls, 0).view(np.int64), valid


def _parsed_block(data: Array, starts: Array, lengths: Array) -> tuple[Array, Array, Array]:
    """Texts that begin at these places. Where one has another length than an id, the result is not used."""
    writers, calls = np.zeros(len(starts), np.uint64), np.zeros(len(starts), np.uint64)
    valid = data[starts + WRITER_DIGITS] == _HYPHEN
    for place in range(WRITER_DIGITS):
        digits = _VALUES[data[starts + place]]
        valid &= digits != _BAD
        writers = (writers << _FOUR) | digits
    for place in range(_PREFIX, min(_WIDTH, int(lengths.max()))):
        inside = lengths > place
        digits = _VALUES[data[starts + place]]
        valid &= ~inside | (digits != _BAD)
        if place == _PREFIX:
            valid &= digits != 0
        calls = np.where(inside, (calls << _FOUR) | digits, calls)
    return writers, calls, valid & (calls < np.uint64(2**63))


def _blocks(count: int) -> Iterator[slice]:
    return (slice(start, start + BLOCK) for start in range(0, count, BLOCK))
