"""Tensors and columns of a PredictRequest → named numpy arrays, with errors that name the field. Pure."""

import math
from collections.abc import Iterable
from typing import Final

import numpy as np

from skylane.dtypes import DTYPES, FROM_PROTO, NUMPY
from skylane.server.core.errors import InputMismatch
from skylane.server.core.exact_floats import exact_floats
from skylane.server.core.text import quoted
from skylane.server.core.types import Array
from skylane.v1.prediction_pb2 import Column, Tensor

DIMENSIONS_MAX: Final = 8
"""Largest number of dimensions: no model needs more, and NumPy's limit is 64."""


def read_tensors(tensors: Iterable[Tensor]) -> dict[str, Array]:
    """Name → array, in the order sent. Raises InputMismatch."""
    arrays: dict[str, Array] = {}
    for place, tensor in enumerate(tensors):
        name = _name("tensors", place, tensor.name, arrays)
        arrays[tensor.name] = _read_tensor(name, tensor)
    return arrays


def _read_tensor(name: str, tensor: Tensor) -> Array:
    dtype = FROM_PROTO.get(tensor.dtype)
    if dtype is None:
        raise InputMismatch(f"tensor {name}: dtype: expected one of {', '.join(DTYPES)}, received {tensor.dtype}")
    if len(tensor.shape) > DIMENSIONS_MAX:
        raise InputMismatch(
            f"tensor {name}: shape: expected at most {DIMENSIONS_MAX} sizes, received {len(tensor.shape)}"
        )
    shape = tuple(tensor.shape)
    if not shape or min(shape) < 0:
        raise InputMismatch(f"tensor {name}: shape: expected sizes from 0 with the rows first, received {list(shape)}")
    size = math.prod(shape)
    if dtype == "string":
        return _read_strings(name, tensor, shape, size)
    if tensor.strings:
        raise InputMismatch(f"tensor {name}: `strings` belong to a string tensor, but its dtype is {dtype}")
    expected = size * NUMPY[dtype].itemsize
    if len(tensor.data) != expected:
        raise InputMismatch(
            f"tensor {name}: data: expected {expected} bytes for {dtype} of shape {list(shape)}, "
            f"received {len(tensor.data)}"
        )
    if dtype == "bool" and tensor.data.strip(b"\0\1"):
        raise InputMismatch(f"tensor {name}: data: expected bytes 0 or 1 for bool, received others")
    return _shaped(name, np.frombuffer(tensor.data, NUMPY[dtype]), shape)


def _shaped(name: str, elements: Array, shape: tuple[int, ...]) -> Array:
    """The elements in this shape. If one size is 0, the others may be of any size, even too large for NumPy."""
    try:
        return elements.reshape(shape)
    except ValueError as error:
        raise InputMismatch(f"tensor {name}: shape: {list(shape)} is too large") from error


def _read_strings(name: str, tensor: Tensor, shape: tuple[int, ...], size: int) -> Array:
    if tensor.data:
        raise InputMismatch(f"tensor {name}: a string tensor's elements go into `strings`, received `data`")
    if len(tensor.strings) != size:
        raise InputMismatch(
            f"tensor {name}: strings: expected {size} for shape {list(shape)}, received {len(tensor.strings)}"
        )
    array = np.empty(size, object)
    try:
        array[:] = [text.decode() for text in tensor.strings]
    except UnicodeDecodeError as error:
        raise InputMismatch(f"tensor {name}: strings: expected UTF-8, received {error.object[:20]!r}") from error
    return _shaped(name, array, shape)


def read_columns(columns: Iterable[Column]) -> dict[str, Array]:
    """Name → values, (rows); a missing value is NaN in numbers and None in strings. Raises InputMismatch."""
    arrays: dict[str, Array] = {}
    for place, column in enumerate(columns):
        name = _name("columns", place, column.name, arrays)
        arrays[column.name] = _read_column(name, column)
    return arrays


def _read_column(name: str, column: Column) -> Array:
    match column.WhichOneof("values"):
        case "doubles":
            values: Array = np.array(column.doubles.values, np.float64)
        case "ints":
            values = np.array(column.ints.values, np.int64)
        case "bools":
            values = np.array(column.bools.values, np.bool_)
        case "strings":
            values = np.empty(len(column.strings.values), object)
            values[:] = list(column.strings.values)
        case _:
            raise InputMismatch(f"column {name}: expected a list of values, received none")
    if not column.missing:
        return values
    if len(column.missing) > len(values):
        raise InputMismatch(
            f"column {name}: missing: expected at most {len(values)} rows, as the list has values, "
            f"received {len(column.missing)}"
        )
    if max(column.missing) >= len(values):
        raise InputMismatch(
            f"column {name}: missing: row {max(column.missing)} is beyond the {len(values)} values of the list"
        )
    gaps = list(column.missing)
    if values.dtype.kind == "i":
        values[gaps] = 0
        values = exact_floats(name, values)
    elif values.dtype != object:
        values = values.astype(np.float64)
    values[gaps] = None if values.dtype == object else np.nan
    return values


def _name(field: str, place: int, name: str, arrays: dict[str, Array]) -> str:
    """The name, quoted for messages. Raises InputMismatch if it is empty or repeated."""
    if not name:
        raise InputMismatch(f"{field}[{place}]: expected a name, received none")
    if name in arrays:
        raise InputMismatch(f"{field}: {quoted(name)} appears twice")
    return quoted(name)
