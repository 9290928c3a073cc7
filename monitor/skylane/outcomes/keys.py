"""Keys of outcomes as whole numbers, so that a million of them are sorted and matched by NumPy. Pure."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

WRITER_DIGITS: Final = 16
CALL_DIGITS_MAX: Final = 16

_DASH: Final = ord("-")
_NOT_HEX: Final = 255
_HEX: Final = np.full(256, _NOT_HEX, np.uint8)
_HEX[[ord(digit) for digit in "0123456789abcdef"]] = np.arange(16)


def parse_ids(column: Any) -> tuple[Ints, Ints, Mask]:
    """A column of prediction ids → their writers (the 64 bits as a signed number), their calls, and which are valid.

    Valid is what `prediction_ids.parse_id` reads. Nulls are not valid.
    """
    array = plain(column, pa.string())
    count = len(array)
    ends = np.frombuffer(array.buffers()[1], np.int32, count + 1, 4 * array.offset) if count else np.zeros(1, np.int32)
    starts, lengths = ends[:-1].astype(np.int64), np.diff(ends)
    data = array.buffers()[2] if count else None
    text = np.frombuffer(data, np.uint8) if data is not None and data.size else np.zeros(1, np.uint8)
    valid = (lengths > WRITER_DIGITS + 1) & (lengths <= WRITER_DIGITS + 1 + CALL_DIGITS_MAX)
    valid &= ~nulls(array)
    at = np.where(valid, starts, 0)
    last = len(text) - 1
    writer, valid = _digits(text, at, valid, np.full(count, WRITER_DIGITS), last)
    valid &= text[np.minimum(at + WRITER_DIGITS, last)] == _DASH
    first = np.minimum(at + WRITER_DIGITS + 1, last)
    valid &= text[first] != ord("0")
    call, valid = _digits(text, first, valid, lengths - WRITER_DIGITS - 1, last)
    calls = call.view(np.int64)
    return writer.view(np.int64), calls, valid & (calls > 0)


def _digits(
    text: npt.NDArray[np.uint8], starts: Ints, valid: Mask, lengths: npt.NDArray[Any], last: int
) -> tuple[npt.NDArray[np.uint64], Mask]:
    """Numbers in hexadecimal that start at these places and have so many digits."""
    number = np.zeros(len(starts), np.uint64)
    for place in range(int(lengths[valid].max()) if valid.any() else 0):
        within = place < lengths
        digit = _HEX[text[np.minimum(starts + place, last)]]
        valid = valid & (~within | (digit != _NOT_HEX))
        number = np.where(within, (number << np.uint64(4)) | digit, number)
    return number, valid


def dense(*columns: Ints) -> Ints:
    """One number for each row, equal where the rows are equal, and ordered as the rows are."""
    packed = _narrow(columns[0])
    for column in columns[1:]:
        narrow = _narrow(column)
        shift = _bits(narrow)
        if _bits(packed) + shift > 63:
            packed = np.unique(packed, return_inverse=True)[1].astype(np.int64)
        if _bits(packed) + shift > 63:
            narrow = np.unique(narrow, return_inverse=True)[1].astype(np.int64)
            shift = _bits(narrow)
        packed = (packed << shift) | narrow
    return packed


def _narrow(column: Ints) -> Ints:
    """The same order with numbers from 0."""
    if not len(column):
        return column
    low, high = int(column.min()), int(column.max())
    if high - low < 2**62:
        return column - low
    return np.unique(column, return_inverse=True)[1].astype(np.int64)


def _bits(column: Ints) -> int:
    return int(column.max()).bit_length() if len(column) else 0


def text_codes(*columns: Any) -> tuple[Ints, ...]:
    """Columns of text → numbers that are equal and ordered as the texts are, over all columns; -1 for nulls."""
    arrays = [plain(column, pa.string()) for column in columns]
    encoded = pa.chunked_array(arrays, pa.string()).combine_chunks().dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.combine_chunks()
    places = np.asarray(pc.sort_indices(encoded.dictionary))
    ranks = np.empty(len(places), np.int64)
    ranks[places] = np.arange(len(places))
    codes = np.asarray(encoded.indices.fill_null(-1), np.int64)
    ranked = np.where(codes < 0, -1, ranks[codes]) if len(ranks) else np.full(len(codes), -1, np.int64)
    ends = np.cumsum([len(array) for array in arrays])[:-1]
    return tuple(np.split(ranked, ends))


def microseconds(column: Any, missing: int = np.iinfo(np.int64).min) -> Ints:
    """A column of times → microseconds since 1970."""
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    return integers(array.cast(pa.timestamp("us", tz="UTC")).cast(pa.int64()), missing)


def integers(column: Any, missing: int = 0) -> Ints:
    """A column of whole numbers → int64."""
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    return np.asarray(array.cast(pa.int64()).fill_null(missing), np.int64)


def nulls(array: Any) -> Mask:
    """Where a column has no value."""
    if array.null_count == 0:
        return np.zeros(len(array), bool)
    return np.asarray(array.is_null())


def plain(column: Any, kind: Any) -> Any:
    """One array of this type, whatever the column's chunks and encoding are."""
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if isinstance(array, pa.ChunkedArray):  # combine_chunks of no chunk, or of more bytes than an array holds
        array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], array.type)
    return array if array.type == kind else array.cast(kind)


def take(table: Any, places: Ints, names: Sequence[str]) -> list[Any]:
    """These columns of the rows at these places; null where a place is negative."""
    indices = pa.array(places, pa.int64(), mask=places < 0)
    return [table.column(name).combine_chunks().take(indices) for name in names]
