"""Recognizes the kind of values in a column of the caller's data, and converts them to arrays for encoding. Pure.

The result has one of four forms: numbers or booleans in a little-endian array, strings, either of these with a list of
missing rows, or missing values only, whose type only the model's schema can determine.
"""

import numbers
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from skylane.client.schema import AnyDType

Array = np.ndarray[Any, Any]

ACCEPTED: Final = "numbers, booleans or strings, with None, NaN or pandas.NA for a gap"

# Python's own types, by far the most frequent in lists. A list of one of these is converted at once; mixed types and
# missing values need an object array.
_PLAIN: Final[dict[type | None, Any]] = {float: "<f8", int: "<i8", bool: "?", str: object}
_NUMERIC_KINDS: Final = "biuf"
_TEXT_KINDS: Final = "OUST"


@dataclass(frozen=True, eq=False)
class Values:
    """One column or tensor."""

    name: str
    array: Array
    """Numbers and booleans: little-endian and contiguous. Strings: objects, every one a `str`."""
    missing: list[int] = field(default_factory=list)
    """Rows, in order, whose value is missing although the array cannot show it. NaN is not listed."""
    untyped: bool = False
    """True if all values are missing, so that the type of `array` is a guess."""

    @property
    def rows(self) -> int:
        """Size of the first dimension."""
        return int(self.array.shape[0])


def read_values(name: str, raw: Any) -> Values:
    """Read one column [rows] or one tensor [rows, …]; a scalar is one row.

    Raises TypeError naming the column and its dtype for anything but numbers, booleans and strings, and ValueError for
    numbers that no type holds.
    """
    if type(raw) in _PLAIN:
        raw = [raw]
    if type(raw) is list and (dtype := _PLAIN.get(_only_type(raw))) is not None:
        try:
            array = np.array(raw, dtype=dtype)
            return Values(name, array, untyped=_only_gaps(array))
        except OverflowError:
            pass  # integers beyond int64 are handled below
    array = _array_of(name, raw)
    if array.ndim == 0:
        array = array.reshape(1)
    if array.dtype.kind in _NUMERIC_KINDS and array.dtype.itemsize <= 8:
        return read_numbers(name, array)
    dtype = getattr(raw, "dtype", array.dtype)
    if array.dtype.kind in _TEXT_KINDS:
        return read_objects(name, array, dtype)
    raise TypeError(f"{name!r} is {dtype}: expected {ACCEPTED}")


def read_numbers(name: str, array: Array) -> Values:
    """Numbers and booleans of at most 8 bytes each."""
    if not (array.flags.c_contiguous and array.dtype.newbyteorder("<") == array.dtype):
        array = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
    return Values(name, array, untyped=_only_gaps(array))


def read_objects(name: str, array: Array, dtype: Any) -> Values:
    """Python's objects and numpy's strings. `dtype` is the caller's own, for the message of a TypeError."""
    values = _read_objects(name, array, dtype)
    return Values(name, values.array.reshape(array.shape), values.missing, values.untyped and array.ndim == 1)


def retype(values: Values, dtype: AnyDType) -> Values:
    """The same missing values in `dtype`."""
    every = list(range(values.rows))
    if dtype == "string":
        return Values(values.name, np.full(values.rows, "", dtype=object), every)
    if dtype == "bool" or dtype.startswith(("int", "uint")):
        return Values(values.name, np.zeros(values.rows, dtype="?" if dtype == "bool" else "<i8"), every)
    return Values(values.name, np.full(values.rows, np.nan, dtype="<f4" if dtype == "float32" else "<f8"))


def columns_of(records: Iterable[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Records as columns, in the order in which names first appear. A name that a record lacks is a missing value."""
    columns: dict[str, list[Any]] = {}
    rows = 0
    for record in records:
        for name, value in record.items():
            column = columns.setdefault(name, [])
            column.extend([None] * (rows - len(column)))
            column.append(value)
        rows += 1
    for column in columns.values():
        column.extend([None] * (rows - len(column)))
    return columns


def _only_type(items: list[Any]) -> type | None:
    types = set(map(type, items))
    return types.pop() if len(types) == 1 else None


def _array_of(name: str, raw: Any) -> Array:
    if isinstance(raw, np.ma.MaskedArray):
        objects: Array = np.ma.getdata(raw).astype(object)
        objects[np.ma.getmaskarray(raw)] = None
        return objects
    if isinstance(raw, np.ndarray):
        return raw
    if isinstance(raw, list | tuple):
        # As objects: NumPy would convert [1, "a"] and ["a", nan] to text.
        try:
            return np.array(raw, dtype=object)
        except ValueError as error:
            raise ValueError(f"{name!r}: {error}") from error
    if isinstance(raw, Mapping | set | frozenset):
        raise TypeError(f"{name!r} is a {type(raw).__name__}: expected a list, an array or one value")
    if hasattr(type(raw), "to_pylist"):  # of the class: a Series has its labels as attributes
        return _arrow_array(raw)
    array = np.asarray(raw)
    if array.dtype.kind == "f" and _holds_integers(raw):
        return np.array(raw.to_list(), dtype=object) if hasattr(raw, "to_list") else np.asarray(raw, dtype=object)
    return array


def _holds_integers(raw: Any) -> bool:
    """Whether pandas or polars converted integers with missing values to floats, which loses precision above 2**53."""
    dtype = getattr(raw, "dtype", None)
    return getattr(dtype, "kind", "") in ("i", "u") or str(dtype).startswith(("Int", "UInt"))


def _arrow_array(raw: Any) -> Array:
    """An array of pyarrow. With missing values, its conversion rounds integers and gives categories wrong values."""
    kind = str(raw.type)
    if kind.startswith(("halffloat", "float", "double")) or not (raw.null_count or kind.startswith("dictionary")):
        return np.asarray(raw)
    return np.array(raw.to_pylist(), dtype=object)


def _only_gaps(array: Array) -> bool:
    # For a column without such a value, the first comparison almost always decides.
    return bool(
        array.ndim == 1
        and array.dtype.kind == "f"
        and (array.size == 0 or (array[0] != array[0] and np.isnan(array).all()))
    )


def _read_objects(name: str, array: Array, dtype: Any) -> Values:
    """Python objects, distinguished by the set of their types, which takes one pass in C. `dtype`: the caller's."""
    items: list[Any] = array.astype(object).ravel().tolist()
    types = set(map(type, items))
    if types == {str}:
        return Values(name, array.astype(object, copy=False))
    kinds = {_kind_of(cls) for cls in types}
    gaps: list[int] = []
    if "gap" in kinds or ("float" in kinds and not kinds <= {"float", "int"}):
        gaps = [row for row, item in enumerate(items) if _is_gap(item)]
        missing = set(gaps)
        kinds = {_kind_of(type(item)) for row, item in enumerate(items) if row not in missing}
    if not kinds or (kinds == {"float"} and all(item != item for item in items)):
        return Values(name, np.full(len(items), np.nan, dtype="<f8"), untyped=True)
    if kinds == {"text"}:
        return Values(name, _text(_filled(items, gaps, "")), gaps)
    if kinds == {"bool"}:
        return Values(name, np.array(_filled(items, gaps, False), dtype="?"), gaps)
    if kinds == {"int"}:
        return Values(name, _integers(name, _filled(items, gaps, 0)), gaps)
    if kinds <= {"int", "float"}:
        return Values(name, np.array(_filled(items, gaps, np.nan), dtype="<f8"))
    type_names = ", ".join(sorted(cls.__name__ for cls in types))
    raise TypeError(f"{name!r} is {dtype} holding {type_names}: expected {ACCEPTED}, one kind for the whole column")


def _kind_of(cls: type) -> str:
    if issubclass(cls, str | bytes):
        return "text"
    if issubclass(cls, bool | np.bool_):
        return "bool"
    if issubclass(cls, numbers.Integral):
        return "int"
    if issubclass(cls, float | np.floating):
        return "float"
    # pandas' own missing values, recognised by class name, because pandas is never imported here.
    return "gap" if cls is type(None) or cls.__name__ in ("NAType", "NaTType") else "other"


def _is_gap(item: Any) -> bool:
    kind = _kind_of(type(item))
    return kind == "gap" or (kind == "float" and bool(item != item))


def _filled(items: list[Any], gaps: list[int], filler: Any) -> list[Any]:
    if gaps:
        items = items.copy()
        for row in gaps:
            items[row] = filler
    return items


def _text(items: list[Any]) -> Array:
    array = np.empty(len(items), dtype=object)
    array[:] = [item.decode() if isinstance(item, bytes) else str(item) for item in items]
    return array


def _integers(name: str, items: list[Any]) -> Array:
    for dtype in ("<i8", "<u8"):
        try:
            return np.array(items, dtype=dtype)
        except OverflowError:
            continue
    raise ValueError(f"{name!r} holds integers that fit neither int64 nor uint64")
