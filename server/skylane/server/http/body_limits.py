"""The size limits of request bodies, and a count of the JSON values in a body before it is decoded. Pure.

A JSON value becomes a Python object of ten to a hundred times its text, and gzip can pack a thousand bytes into one. So
bodies are limited by what the model can take: its rows × the values of a row. The count reads bytes only, several
hundred megabytes per second, and never more of them than the limits allow.
"""

import math
from dataclasses import dataclass
from typing import Final

from skylane.server.core.text import quoted
from skylane.server.core.types import Interface

JSON_BYTES_MAX: Final = 16 * 2**20
"""JSON of one request for any model: it is decoded in one step, during which no other thread runs."""
JSON_VALUES_MAX: Final = 3 * 2**18
"""JSON values in one request for any model; they take about 50 ms to decode."""
UNPACKED_BYTES_MAX: Final = 16 * 2**20
"""Size of one compressed body after decompression."""
UNPACKED_FREE_BYTES: Final = 2**20
"""Up to this size, `UNPACKED_RATIO_MAX` does not apply."""
UNPACKED_RATIO_MAX: Final = 100
"""Unpacked bytes for each byte that was received. Rows of measurements have 2 to 10, equal rows up to some hundred."""

CONTAINER_VALUES: Final = 4
"""A list or an object counts as this many values: even an empty one takes that much memory and time."""
NUMBER_BYTES: Final = 64
"""JSON of one number, with the white space around it."""
ESCAPED_BYTES: Final = 6
"""JSON of one character of a name, where it is escaped."""
TOLERANCE: Final = 2
"""Bodies up to this many times the largest that the model takes are decoded, so that the error can name the fault."""
ANYWAY_BYTES: Final = 64 * 2**10
ANYWAY_VALUES: Final = 4096
"""Allowed in every body, for small models and for the JSON around the rows."""


@dataclass(frozen=True)
class BodyLimits:
    """Limits of one body."""

    bytes_max: int
    """Unpacked."""
    values_max: int
    """Values of JSON, counted as `ValueCount` does."""
    reason: str = "this request takes no more"
    """The reason for the limits, for errors."""


SMALL: Final = BodyLimits(ANYWAY_BYTES, ANYWAY_VALUES)
"""For requests without rows."""


def limits_of(interface: Interface, rows_max: int) -> BodyLimits:
    """The limits for a model that takes so many rows in one request."""
    sizes = [[size or 0 for size in tensor.shape[1:]] for tensor in interface.tensors]
    if any(0 in each for each in sizes):  # a size that each request chooses
        return BodyLimits(2**63, JSON_VALUES_MAX, f"JSON has at most {JSON_VALUES_MAX} values here")
    values = sum(map(math.prod, sizes))
    texts = sum(math.prod(s) for s, tensor in zip(sizes, interface.tensors, strict=True) if tensor.dtype == "string")
    containers = 1 + sum(math.prod(each[:place]) for each in sizes for place in range(len(each))) + texts
    rows = TOLERANCE * rows_max
    values_max = ANYWAY_VALUES + rows * (values + CONTAINER_VALUES * containers)
    names = sum(map(len, (*interface.columns_by_name, *interface.tensors_by_name)))
    bytes_max = 2**63 if texts else ANYWAY_BYTES + rows * (NUMBER_BYTES * values + ESCAPED_BYTES * names)
    reason = f"model {quoted(interface.model)} takes {rows_max} rows (max_request_rows) of {values} values"
    if values_max > JSON_VALUES_MAX:
        values_max, reason = JSON_VALUES_MAX, f"JSON has at most {JSON_VALUES_MAX} values here"
    return BodyLimits(bytes_max, values_max, reason)


class ValueCount:
    """Counts the values of a growing JSON text, as exactly as needed to know whether there are too many.

    A comma separates two values, and a bracket or brace begins some; those within strings do not count. Strings are
    recognised only if the count would be too high otherwise.
    """

    def __init__(self, values_max: int) -> None:
        self._values_max = values_max
        self._rough, self._rough_to = 0, 0
        self._exact_to = 0
        self._exact = 0
        self._quotes = 0
        self._in_string = False
        self._escape = b""

    def exceeds(self, text: bytearray, end: int) -> bool:
        """Whether the first `end` bytes of the text hold too many values. The text may only have grown."""
        if CONTAINER_VALUES * end <= self._values_max:
            return False
        self._rough += _weight(text, self._rough_to, end)
        self._rough_to = end
        if self._rough <= self._values_max:
            return False
        self._count_exactly(bytes(text[self._exact_to : end]))
        self._exact_to = end
        return self._exact > self._values_max or self._quotes > 4 * self._values_max

    def _count_exactly(self, part: bytes) -> None:
        part = self._escape + part
        odd = (len(part) - len(part.rstrip(b"\\"))) % 2  # the escaped character is in the next part
        self._escape = part[len(part) - odd :]
        part = part[: len(part) - odd].replace(b"\\\\", b"").replace(b'\\"', b"")
        self._quotes += part.count(b'"')
        pieces = part.split(b'"')
        outside = b"".join(pieces[1::2] if self._in_string else pieces[::2])
        self._in_string ^= len(pieces) % 2 == 0
        self._exact += _weight(outside, 0, len(outside))


def _weight(text: bytes | bytearray, start: int, end: int) -> int:
    containers = text.count(b"[", start, end) + text.count(b"{", start, end)
    return text.count(b",", start, end) + CONTAINER_VALUES * containers
