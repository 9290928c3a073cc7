"""Types and raw tensors of the Open Inference Protocol, for gRPC and HTTP. Pure.

Source: github.com/kserve/open-inference-protocol, and the binary data extension of triton-inference-server/server.
"""

import math
import struct
from collections.abc import Sequence
from typing import Final

import numpy as np

from skylane.dtypes import NUMPY, DType
from skylane.server.core.errors import InputMismatch
from skylane.server.core.text import listed, quoted
from skylane.server.core.types import Array

DIMENSIONS_MAX: Final = 8

DATATYPE_OF: Final[dict[DType, str]] = {
    "bool": "BOOL",
    "uint8": "UINT8",
    "uint16": "UINT16",
    "uint32": "UINT32",
    "uint64": "UINT64",
    "int8": "INT8",
    "int16": "INT16",
    "int32": "INT32",
    "int64": "INT64",
    "float16": "FP16",
    "float32": "FP32",
    "float64": "FP64",
    "string": "BYTES",
}
DTYPE_OF: Final[dict[str, DType]] = {datatype: dtype for dtype, datatype in DATATYPE_OF.items()}


_LENGTH: Final = struct.Struct("<I")
LENGTH_PREFIX_BYTES: Final = _LENGTH.size
"""Size of the length before each string in raw bytes."""


def read_dtype(name: str, datatype: str) -> DType:
    """The type that a request names; `name` is the tensor's. Raises InputMismatch."""
    dtype = DTYPE_OF.get(datatype)
    if dtype is None:
        raise InputMismatch(
            f"tensor {quoted(name)}: datatype: expected one of {listed(DTYPE_OF)}, received {quoted(datatype)}"
        )
    return dtype


def read_shape(name: str, sizes: Sequence[int]) -> tuple[int, ...]:
    """The shape that a request names. Raises InputMismatch."""
    if len(sizes) > DIMENSIONS_MAX:
        raise InputMismatch(
            f"tensor {quoted(name)}: shape: expected at most {DIMENSIONS_MAX} sizes, received {len(sizes)}"
        )
    if not sizes or min(sizes) < 0:
        raise InputMismatch(
            f"tensor {quoted(name)}: shape: expected sizes from 0 with the rows first, received {list(sizes)}"
        )
    return tuple(sizes)


def shaped(name: str, elements: Array, shape: tuple[int, ...]) -> Array:
    """The elements in this shape. Raises InputMismatch. If one size is 0, others may be too large for NumPy."""
    if elements.size != math.prod(shape):
        raise InputMismatch(
            f"tensor {quoted(name)}: data: expected {math.prod(shape)} elements for shape {list(shape)}, "
            f"received {elements.size}"
        )
    try:
        return elements.reshape(shape)
    except ValueError as error:
        raise InputMismatch(f"tensor {quoted(name)}: shape: {list(shape)} is too large") from error


def read_raw(name: str, dtype: DType, shape: tuple[int, ...], raw: bytes) -> Array:
    """A tensor from its bytes: row-major, little-endian; a string is its length in four bytes, then UTF-8.

    Raises InputMismatch.
    """
    if dtype == "string":
        return shaped(name, _read_strings(name, raw, math.prod(shape)), shape)
    expected = math.prod(shape) * NUMPY[dtype].itemsize
    if len(raw) != expected:
        raise InputMismatch(
            f"tensor {quoted(name)}: data: expected {expected} bytes for {dtype} of shape {list(shape)}, "
            f"received {len(raw)}"
        )
    if dtype == "bool" and raw.strip(b"\0\1"):
        raise InputMismatch(f"tensor {quoted(name)}: data: expected bytes 0 or 1 for bool, received others")
    return shaped(name, np.frombuffer(raw, NUMPY[dtype]), shape)


def write_raw(array: Array) -> bytes:
    """The bytes of a tensor, as `read_raw` reads them."""
    if array.dtype != object:
        return array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
    parts = list[bytes]()
    for text in array.ravel().tolist():
        encoded = text.encode()
        parts += (_LENGTH.pack(len(encoded)), encoded)
    return b"".join(parts)


def _read_strings(name: str, raw: bytes, count: int) -> Array:
    """The strings, at most `count` + 1 of them, so that an excess is noticed at little cost."""
    texts, place = list[str](), 0
    try:
        while place < len(raw) and len(texts) <= count:
            start = place + _LENGTH.size
            place = start + _LENGTH.unpack_from(raw, place)[0]
            if place > len(raw):
                raise InputMismatch(
                    f"tensor {quoted(name)}: data: element {len(texts)} has {place - start} bytes by its length, but "
                    f"{len(raw) - start} are left"
                )
            texts.append(raw[start:place].decode())
    except struct.error as error:
        raise InputMismatch(
            f"tensor {quoted(name)}: data: expected a length of 4 bytes before element {len(texts)}, "
            f"{len(raw) - place} are left"
        ) from error
    except UnicodeDecodeError as error:
        raise InputMismatch(
            f"tensor {quoted(name)}: strings: expected UTF-8, received {error.object[:20]!r}"
        ) from error
    array = np.empty(len(texts), object)
    array[:] = texts
    return array
