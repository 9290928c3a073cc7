"""Answers as JSON that every parser reads: NaN is null, and infinities are the strings of protobuf's JSON. Pure.

RFC 8259 has no infinities. msgspec writes null for them too, so an answer without null needs no second look.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec
import numpy as np

from skylane.server.core.types import Array

INFINITY: Final = "Infinity"
MINUS_INFINITY: Final = "-Infinity"


def encode(answer: Callable[[Sequence[Array]], Any], outputs: Sequence[Array]) -> bytes:
    """JSON of the answer that is made of these outputs."""
    encoded = msgspec.json.encode(answer(outputs))
    if b"null" in encoded and any(_has_infinity(array) for array in outputs):
        return msgspec.json.encode(answer([_spelled(array) for array in outputs]))
    return encoded


def _has_infinity(array: Array) -> bool:
    return array.dtype.kind == "f" and bool(np.isinf(array).any())


def _spelled(array: Array) -> Array:
    """Objects: floats, and words for infinities."""
    if not _has_infinity(array):
        return array
    spelled = array.astype(object)
    spelled[np.isposinf(array)] = INFINITY
    spelled[np.isneginf(array)] = MINUS_INFINITY
    return spelled
