"""Recognises the form of the caller's data: one array, or columns by name. Imports no pandas, polars or pyarrow. Pure.

Forms with one obvious meaning are accepted; any other is refused with a message that says what to write instead.
"""

import dataclasses
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np

from skylane.client.columns import Array, Values, columns_of, read_values
from skylane.client.pandas_rows import is_small, read_small_frame

_FORMS: Final = (
    "a data frame, a dict of column → values, a list of dicts, a dict of tensor name → array, or one array or list of "
    "rows of shape (rows, …)"
)
_ONE_ROW: Final = "for one row write [data], or a dict of column → value"


def read_array(data: Any) -> Values | None:
    """Data that is a single array: (rows, …), or a list of rows. None for data of any other form.

    Raises ValueError for an array or rows of the wrong shape, and TypeError for values that no array can hold.
    """
    if isinstance(data, np.ndarray):
        return None if data.dtype.names else _read_array(data)
    if isinstance(data, list | tuple):
        is_rows = bool(data) and all(isinstance(row, list | tuple | np.ndarray) for row in data)
        return _read_rows(data) if is_rows else None
    if _has(data, "__array__") and not (_has(data, "columns") or _is_series(data) or isinstance(data, np.generic)):
        return _read_array(np.asarray(data))  # of PyTorch, JAX, xarray
    return None


def read_columns(data: Any) -> tuple[Values, ...]:
    """Data with named columns. Raises TypeError for data of any other form, and as `read_values` does."""
    if is_small(data):
        return read_small_frame(data, checked_names(data.columns.tolist()))
    if isinstance(data, list | tuple) and data and all(isinstance(record, Mapping) for record in data):
        data = columns_of(data)
    if isinstance(data, Mapping):
        return _read_each(data.keys(), data)
    if isinstance(data, np.ndarray | np.void) and data.dtype.names:
        if data.ndim > 1:
            raise ValueError(f"a structured array of shape {data.shape}: expected (rows,); write data.ravel()")
        return _read_each(data.dtype.names, data)
    if _is_series(data):
        return _read_row(data)
    instead = _instead(data)
    if instead is None and _has(data, "column_names", "column"):  # pyarrow, whose `columns` are the arrays
        return tuple(read_values(name, data.column(name)) for name in checked_names(data.column_names))
    if instead is None and _has(data, "columns", "__getitem__"):
        return _read_each(data.columns, data)
    raise TypeError(f"data is {_described(data)}: {instead or f'expected {_FORMS}'}")


def checked_names(names: Iterable[Any]) -> list[str]:
    """The names of the columns. Raises TypeError for a name that is not text, and ValueError for a repeated one."""
    names = list(names)
    for name in names:
        if not isinstance(name, str):
            raise TypeError(
                f"column names must be text, as the model was trained with them; got {name!r}; for a "
                "model that takes one tensor send frame.to_numpy()"
            )
    if len(set(names)) < len(names):
        repeated = sorted({name for name in names if names.count(name) > 1})
        raise ValueError(f"columns appear more than once: {', '.join(map(repr, repeated))}")
    return names


def _read_each(names: Iterable[Any], columns: Any) -> tuple[Values, ...]:
    return tuple(read_values(name, columns[name]) for name in checked_names(names))


def _read_array(array: Array) -> Values:
    if array.ndim < 2:
        raise ValueError(f"an array of shape {array.shape}: expected (rows, …); for one row write array[None, :]")
    return read_values("array", array)


def _read_rows(rows: Sequence[Any]) -> Values:
    """A list of rows as an array."""
    lengths = sorted({len(row) for row in rows})
    if len(lengths) > 1:
        raise ValueError(f"rows differ in length: from {lengths[0]} to {lengths[-1]} values")
    values = read_values("rows", [row.tolist() if isinstance(row, np.ndarray) else row for row in rows])
    if values.array.ndim < 2:
        raise ValueError("a list of rows: expected as many values at each place of every row")
    return values


def _read_row(series: Any) -> tuple[Values, ...]:
    """A row of a data frame, such as `frame.iloc[0]`, whose labels are the columns."""
    labels = series.index.tolist()
    if labels and not all(isinstance(label, str) for label in labels):
        raise TypeError(
            f"data is a Series whose labels are not column names, such as {labels[0]!r}: for one row write "
            "frame.iloc[0] or frame.iloc[:1], for one column frame[['name']]"
        )
    return tuple(read_values(name, [value]) for name, value in zip(checked_names(labels), series.tolist(), strict=True))


def _is_series(data: Any) -> bool:
    return isinstance(data, getattr(sys.modules.get("pandas"), "Series", ()))


def _has(data: Any, *attributes: str) -> bool:
    """Whether the class of `data` has all of these attributes; those of a frame itself may be columns of that name."""
    return all(hasattr(type(data), attribute) for attribute in attributes)


def _instead(data: Any) -> str | None:
    """Advice for data that has to be converted first; None for other data."""
    if isinstance(data, tuple) and hasattr(data, "_asdict"):
        return "write data._asdict()"
    if isinstance(data, list | tuple):
        return f"expected {_FORMS}" if not data else _instead_of_list(data)
    if dataclasses.is_dataclass(data) and not isinstance(data, type):
        return "write dataclasses.asdict(data)"
    advice = _CONVERSIONS if _has(data, "columns") else _CONVERSIONS | _WITHOUT_NAMES
    return next((instead for method, instead in advice.items() if _has(data, method)), None)


_CONVERSIONS: Final = {
    "toPandas": "write data.toPandas()",  # Spark, which also has `collect`
    "collect": "write data.collect()",  # polars' LazyFrame
    "toarray": "write data.toarray()",  # SciPy's sparse matrices
    "__next__": "an iterator can be read only once: write list(data)",
}
"""Method → advice for data that has it, with and without columns."""

_WITHOUT_NAMES: Final = {
    "__arrow_c_stream__": "write pyarrow.table(data)",
    "__dataframe__": "write pandas.api.interchange.from_dataframe(data)",
}


def _instead_of_list(items: Sequence[Any]) -> str:
    first = items[0]
    if _is_series(first):
        return "write pandas.DataFrame(data)"
    if _has(first, "columns"):
        return "send one data frame: write pandas.concat(data)"
    if isinstance(first, Mapping | list | tuple | np.ndarray):
        return "expected either a dict or a list of values for every row"
    return _ONE_ROW


def _described(data: Any) -> str:
    if not isinstance(data, list | tuple):
        return type(data).__name__
    if not data:
        return f"an empty {type(data).__name__}"
    types = sorted({type(item).__name__ for item in data})
    return f"a {type(data).__name__} of {', '.join(types[:3])}{', …' * (len(types) > 3)}"
