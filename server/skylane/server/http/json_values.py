"""Values of JSON → numpy arrays, with errors that name what is wrong. Pure."""

import base64
import binascii
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

import msgspec
import numpy as np

from skylane.dtypes import NUMPY, DType
from skylane.server.codecs.tensor_bytes import DIMENSIONS_MAX
from skylane.server.core.errors import InputMismatch
from skylane.server.core.exact_floats import exact_floats
from skylane.server.core.text import quoted
from skylane.server.core.types import Array
from skylane.server.http.json_errors import reworded

Record = Mapping[str, Any]

SLICE_VALUES: Final = 16_384
SLICE_LISTS: Final = 1024
"""Longer lists are converted in parts of so many numbers, or lists: between two parts other threads can run."""

_NAMES: Final = {bool: "booleans", int: "integers", float: "floats", str: "strings", list: "lists", dict: "objects"}


def read_tensor(name: str, dtype: DType, values: Any) -> Array:
    """A tensor from lists, nested or flat; null is NaN among floats. Raises InputMismatch."""
    depth = _depth(values)
    if depth == 0:
        raise InputMismatch(f"tensor {quoted(name)}: data: expected a list, received {_kind(values)}")
    if depth > DIMENSIONS_MAX:
        raise InputMismatch(f"tensor {quoted(name)}: data: expected at most {DIMENSIONS_MAX} lists in one another")
    try:
        if (len(values) <= SLICE_VALUES and depth == 1) or len(values) <= SLICE_LISTS:
            return _converted(dtype, values, depth)
        step = SLICE_VALUES if depth == 1 else SLICE_LISTS
        parts = [_converted(dtype, values[at : at + step], depth, at) for at in range(0, len(values), step)]
        return np.concatenate(parts)
    except msgspec.ValidationError as error:
        separator = "" if str(error).startswith("[") else ": "
        raise InputMismatch(f"tensor {quoted(name)}: data{separator}{error}") from error
    except OverflowError as error:
        raise InputMismatch(f"tensor {quoted(name)}: data: a value is outside the range of {dtype}") from error
    except ValueError as error:
        raise InputMismatch(f"tensor {quoted(name)}: data: lists beside one another differ in length") from error


def _converted(dtype: DType, values: list[Any], depth: int, start: int = 0) -> Array:
    """These elements of the outermost list, of which the first has this place there."""
    try:
        checked = msgspec.convert(values, _lists_of(NUMPY[dtype].kind, depth))
    except msgspec.ValidationError as error:
        if dtype == "string" and (decoded := _decoded(values, depth)) is not None:
            return np.array(decoded, object)
        raise msgspec.ValidationError(reworded(str(error), start)) from error
    with np.errstate(over="ignore"):  # a number too large for the type becomes infinite, as in the pipeline
        return np.array(checked, NUMPY[dtype])


def is_encoded(value: Any) -> bool:
    """Whether it is a string as TensorFlow Serving writes those that need not be text: an object with base64."""
    return isinstance(value, dict) and value.keys() == {"b64"} and isinstance(value["b64"], str)


def _decoded(values: Any, depth: int) -> Any:
    """Lists of text, where strings may be encoded; None if there is anything else. Raises InputMismatch."""
    if depth == 0:
        return values if isinstance(values, str) else _text_of(values) if is_encoded(values) else None
    if not isinstance(values, list):
        return None
    decoded = [_decoded(value, depth - 1) for value in values]
    return None if None in decoded else decoded


def _text_of(encoded: Mapping[str, str]) -> str:
    try:
        return base64.b64decode(encoded["b64"], validate=True).decode()
    except (binascii.Error, ValueError) as error:
        raise InputMismatch(f"b64: expected base64 of text in UTF-8, received {quoted(encoded['b64'])}") from error


def read_column(name: str, values: Sequence[Any]) -> Array:
    """A column (rows) of one kind of value; null is a gap: NaN among numbers, None elsewhere. Raises InputMismatch."""
    kinds = set(map(type, values))
    gaps = type(None) in kinds
    kinds.discard(type(None))
    if not kinds or kinds == {str}:
        return _objects(values)
    if dict in kinds and kinds <= {dict, str} and (texts := _texts(values)) is not None:
        return _objects(texts)
    if kinds == {str, float} and all(value != value for value in values if type(value) is float):
        return _objects([None if type(value) is float else value for value in values])  # NaN among texts is a gap
    if not (kinds == {bool} or kinds <= {int, float}):
        raise InputMismatch(f"column {quoted(name)}: {_told(values, kinds)}")
    try:
        if gaps and kinds == {int}:
            exact_floats(quoted(name), np.array([value for value in values if value is not None], object))
        if gaps or float in kinds:
            return np.array([np.nan if value is None else value for value in values], np.float64)
        return np.array(values, np.bool_ if kinds == {bool} else np.int64)
    except OverflowError:
        pass
    try:
        return np.array(values, np.uint64)
    except (OverflowError, TypeError) as error:
        raise InputMismatch(f"column {quoted(name)}: an integer fits neither int64 nor uint64") from error


def columns_of(records: Sequence[Record]) -> dict[str, list[Any]]:
    """Records as columns, in the order in which names first appear. A name that a record lacks is null there."""
    names = dict.fromkeys(name for record in records for name in record)
    return {name: [record.get(name) for record in records] for name in names}


def _texts(values: Sequence[Any]) -> list[Any] | None:
    """Text and gaps, where text may be encoded; None if there are other objects. Raises InputMismatch."""
    if not all(is_encoded(value) for value in values if isinstance(value, dict)):
        return None
    return [_text_of(value) if isinstance(value, dict) else value for value in values]


def _objects(values: Sequence[Any]) -> Array:
    array = np.empty(len(values), object)
    array[:] = values
    return array


def _told(values: Sequence[Any], kinds: set[type]) -> str:
    """What came in a column that cannot be one."""
    nested = kinds & {list, dict}
    if nested:
        row = next(row for row, value in enumerate(values) if type(value) in nested)
        return f"expected one value for each row, but row {row} holds {_kind(values[row])}"
    received = " and ".join(sorted(_NAMES[kind] for kind in kinds))
    return f"expected one kind of value for all rows, received {received}"


def _kind(value: Any) -> str:
    return {dict: "an object", list: "a list", str: "a string", bool: "a boolean", type(None): "null"}.get(
        type(value), "a number"
    )


def _depth(values: Any) -> int:
    """How many lists lie in one another, along the first elements."""
    depth = 0
    while isinstance(values, list):
        depth += 1
        if not values or depth > DIMENSIONS_MAX:
            break
        values = values[0]
    return depth


@lru_cache(maxsize=64)
def _lists_of(kind: str, depth: int) -> Any:
    """The type that the values must have, for msgspec."""
    made: Any = {"b": bool, "i": int, "u": int, "f": float | None, "O": str}[kind]
    for _ in range(depth):
        made = list[made]
    return made
