"""Evaluates an expression tree on whole columns.

Numbers are float64 and NaN where they are missing; texts are object arrays with None; times are int64 microseconds
with MISSING_TIME. What is true is 1, what is false 0. An operation on something missing is missing, and so is a
result that is not a finite number, such as 1/0. Each row's value depends on that row alone.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from skylane.features.compiled.trees import Tree

Array = NDArray[Any]
MISSING_TIME: Final = np.iinfo(np.int64).min
_QUARTER_S: Final = 900
"""Offsets from UTC change at quarters of an hour only."""


def evaluate(tree: Tree, columns: Mapping[str, Array], at: Array) -> Array:
    """The values (rows,) of a valid tree. `at`: the instants (rows,) for which they are asked, in microseconds."""
    if "column" in tree:
        return columns[tree["column"]]
    if "at" in tree:
        return at
    if "number" in tree:
        return np.full(len(at), float(tree["number"]))
    if "text" in tree:
        return np.full(len(at), tree["text"], object)
    args = [evaluate(arg, columns, at) for arg in tree["args"]]
    with np.errstate(all="ignore"):
        return _OPERATIONS[tree["op"]](tree, *args)


def is_missing(values: Array) -> NDArray[np.bool_]:
    """Where there is no value."""
    if values.dtype == object:
        return np.fromiter((value is None for value in values), np.bool_, len(values))
    missing: NDArray[np.bool_] = values == MISSING_TIME if values.dtype == np.int64 else np.isnan(values)
    return missing


def _finite(values: Array) -> Array:
    values = np.asarray(values, np.float64) + 0.0  # no -0.0: equal numbers have equal bits
    values[~np.isfinite(values)] = np.nan
    return values


def _truth(condition: Array, *args: Array) -> Array:
    result = np.asarray(condition, np.float64)
    for arg in args:
        result[is_missing(arg)] = np.nan
    return result


def _ufunc(function: Callable[..., Array]) -> Callable[..., Array]:
    return lambda _tree, *args: _finite(function(*args))


def _comparison(function: Callable[..., Array]) -> Callable[..., Array]:
    return lambda _tree, *args: _truth(function(*args).astype(np.bool_), *args)


def _is_in(tree: Tree, values: Array) -> Array:
    expected = frozenset(tree["values"])
    return _truth(np.fromiter((value in expected for value in values), np.bool_, len(values)), values)


def _lower(_tree: Tree, values: Array) -> Array:
    return np.fromiter((None if value is None else value.lower() for value in values), object, len(values))


def _fill(_tree: Tree, values: Array, default: Array) -> Array:
    return np.where(is_missing(values), default, values)


def _where(_tree: Tree, condition: Array, yes: Array, no: Array) -> Array:
    result = np.where(condition != 0, yes, no)
    missing = MISSING_TIME if result.dtype == np.int64 else None if result.dtype == object else np.nan
    result[np.isnan(condition)] = missing
    return result


def _seconds_between(_tree: Tree, begin: Array, end: Array) -> Array:
    return _missing_times((end - begin) / 1e6, begin, end)


def _unix_seconds(_tree: Tree, at: Array) -> Array:
    return _missing_times(at / 1e6, at)


def _missing_times(values: Array, *times: Array) -> Array:
    for each in times:
        values[is_missing(each)] = np.nan
    return values


def _local_seconds(tree: Tree, at: Array) -> Array:
    """Seconds since 1970-01-01 00:00 as clocks in the zone show them."""
    zone, seconds = ZoneInfo(tree["zone"]), np.where(is_missing(at), 0, at) // 1_000_000
    quarters, places = np.unique(seconds // _QUARTER_S, return_inverse=True)
    offsets = [
        datetime.fromtimestamp(quarter * _QUARTER_S, UTC).astimezone(zone).utcoffset() for quarter in quarters.tolist()
    ]
    by_quarter = np.array([0 if offset is None else int(offset.total_seconds()) for offset in offsets], np.int64)
    return np.asarray(seconds + by_quarter[places])


def _hour(tree: Tree, at: Array) -> Array:
    return _missing_times((_local_seconds(tree, at) // 3600 % 24).astype(np.float64), at)


def _weekday(tree: Tree, at: Array) -> Array:
    return _missing_times(((_local_seconds(tree, at) // 86_400 + 3) % 7).astype(np.float64), at)


_OPERATIONS: Final[Mapping[str, Callable[..., Array]]] = {
    "add": _ufunc(np.add),
    "subtract": _ufunc(np.subtract),
    "multiply": _ufunc(np.multiply),
    "divide": _ufunc(np.divide),
    "minimum": _ufunc(np.minimum),
    "maximum": _ufunc(np.maximum),
    "negate": _ufunc(np.negative),
    "absolute": _ufunc(np.absolute),
    "sqrt": _ufunc(np.sqrt),
    "exp": _ufunc(np.exp),
    "log": _ufunc(np.log),
    "floor": _ufunc(np.floor),
    "ceil": _ufunc(np.ceil),
    "and": _comparison(np.logical_and),
    "or": _comparison(np.logical_or),
    "not": _comparison(np.logical_not),
    "lt": _comparison(np.less),
    "le": _comparison(np.less_equal),
    "gt": _comparison(np.greater),
    "ge": _comparison(np.greater_equal),
    "eq": _comparison(np.equal),
    "ne": _comparison(np.not_equal),
    "is_missing": lambda _tree, values: is_missing(values).astype(np.float64),
    "fill": _fill,
    "where": _where,
    "is_in": _is_in,
    "lower": _lower,
    "seconds_between": _seconds_between,
    "unix_seconds": _unix_seconds,
    "hour": _hour,
    "weekday": _weekday,
}
