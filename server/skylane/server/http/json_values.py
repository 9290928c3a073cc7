"""Values of JSON → numpy arrays, with errors that name what is wrong. Pure."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

import msgspec
import numpy as np

from skylane.dtypes import NUMPY, DType
from skylane.server.codecs.tensor_bytes import DIMENSIONS_MAX
from skylane.server.core.errors import InputMismatch
from skylane.server.core.text import quoted
from skylane.server.core.types import Array

Record = Mapping[str, Any]

_NAMES: Final = {bool: "booleans", int: "integers", float: "floats", str: "strings", list: "lists", dict: "objects"}


def read_tensor(name: str, dtype: DType, values: Any) -> Array:
    """A tensor from lists, nested or flat; null is NaN among floats. Raises InputMismatch."""
    depth = _depth(values)
    if depth == 0:
        raise InputMismatch(f"tensor {quoted(name)}: data: expected a list, received {_kind(values)}")
    if depth > DIMENSIONS_MAX:
        raise InputMismatch(f"tensor {quoted(name)}: data: expected at most {DIMENSIONS_MAX} lists in one another")
    try:
        checked = msgspec.convert(values, _lists_of(NUMPY[dtype].kind, depth))
        with np.errstate(over="ignore"):  # a number too large for the type becomes infinite, as in the pipeline
            return np.array(checked, NUMPY[dtype])
    except msgspec.ValidationError as error:
        raise InputMismatch(f"tensor {quoted(name)}: data: {error}") from error
    except OverflowError as error:
        raise InputMismatch(f"tensor {quoted(name)}: data: a value is outside the range of {dtype}") from error
    except ValueError as error:
        raise InputMismatch(f"tensor {quoted(name)}: data: lists beside one another differ in length") from error


def read_column(name: str, values: Sequence[Any]) -> Array:
    """A column (rows) of one kind of value; null is a gap: NaN among numbers, None elsewhere. Raises InputMismatch."""
    kinds = set(map(type, values))
    gaps = type(None) in kinds
    kinds.discard(type(None))
    if not kinds or kinds == {str}:
        return _objects(values)
    if not (kinds == {bool} or kinds <= {int, float}):
        raise InputMismatch(f"column {quoted(name)}: {_told(values, kinds)}")
    try:
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
    found = " and ".join(sorted(_NAMES[kind] for kind in kinds))
    return f"expected one kind of value for all rows, received {found}"


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
