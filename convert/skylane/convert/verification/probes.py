"""Rows that the sample lacks but callers will send: missing values, unknown texts, ends of ranges, infinity. Pure.

Also rows that float32 cannot distinguish: thresholds and their neighbours, integers above 2^24.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd

from skylane.convert.inspection.missing import VALUE_OF, is_object, natural
from skylane.convert.inspection.schema import Array, Column, Layout
from skylane.convert.verification.threshold_probes import beside_thresholds

BASE_ROWS: Final = 4
"""Rows of the sample that each probe of a column is made from."""

COLUMNS_MAX: Final = 128
"""Columns that are changed one at a time. Of more columns, evenly spaced ones are, and then all of them together."""

UNSEEN: Final = "never seen before"

OUTLIER: Final = 10
"""Distance of an outlier from the end of the sample's range, in widths of that range."""

BEYOND_SINGLE: Final = 2**24 + 1
"""The first whole number that float32 rounds to another."""

Accepts = Callable[[pd.DataFrame], bool]
Change = Callable[[pd.DataFrame, Sequence[Column]], pd.DataFrame]


@dataclass(frozen=True)
class Probe:
    """Rows of one kind that the pipeline itself accepts."""

    name: str
    frame: pd.DataFrame
    extreme: bool = False
    """Whether numbers lie at the ends of the sample's range, all of them at once, or outside."""
    far: bool = False
    """Whether numbers lie far outside the sample's range."""


@dataclass(frozen=True)
class _Kind:
    """One kind of change to columns."""

    name: str
    columns: Sequence[Column]
    change: Change
    extreme: bool = False
    far: bool = False


def probes(estimator: Any, layout: Layout, frame: pd.DataFrame, accepts: Accepts) -> list[Probe]:
    """All kinds of probes that this pipeline accepts; a column whose probe it refuses is left out of that kind."""
    base = whole_rows(frame, BASE_ROWS)
    made = []
    for kind in _kinds(layout, frame):
        rows = _accepted(base, _spread(kind.columns), kind.change, accepts, together=kind.columns)
        if rows is not None:
            made.append(Probe(kind.name, rows, kind.extreme or kind.far, kind.far))
    beside = beside_thresholds(estimator, layout, frame)
    if beside is not None and accepts(beside):
        made.append(Probe("thresholds and their neighbours", beside))
    return made


def outliers(layout: Layout, frame: pd.DataFrame) -> pd.DataFrame | None:
    """One row whose numbers are OUTLIER ranges beyond the sample's; None if there are no numbers.

    Integers and booleans are left as they are: they are often codes.
    """
    base = whole_rows(frame, 1)
    lowest, highest = frame.min(numeric_only=True), frame.max(numeric_only=True)
    moved = [
        column
        for column in layout.columns
        if column.name in lowest.index
        and not pd.api.types.is_bool_dtype(frame[column.name].dtype)
        and not _is_whole(frame[column.name])
    ]
    far = {
        column.name: float(highest[column.name]) + OUTLIER * float(highest[column.name] - lowest[column.name])
        for column in moved
    }
    if not far or not np.all(np.isfinite(list(far.values()))):
        return None
    return filled(pd.Series(far))(base, moved)


def _kinds(layout: Layout, frame: pd.DataFrame) -> list[_Kind]:
    lowest, highest = frame.min(numeric_only=True), frame.max(numeric_only=True)
    texts = [column for column in layout.columns if column.kind == "string"]
    numbers = [column for column in layout.columns if column.kind == "number" and column.name in lowest.index]
    endless = [column for column in numbers if column.infinity and not column.whole]
    whole = [column for column in numbers if _is_whole(frame[column.name])]
    inside = [column for column in numbers if lowest[column.name] <= 0 <= highest[column.name]]
    return [
        _Kind("gaps", [column for column in layout.columns if column.missing is not None], with_gaps),
        _Kind("texts never seen", texts, filled(UNSEEN)),
        _Kind("texts almost seen", texts, _almost),
        _Kind("texts in capitals", texts, _in_capitals),
        _Kind("lowest values", numbers, filled(lowest), extreme=True),
        _Kind("highest values", numbers, filled(highest), extreme=True),
        _Kind("zeros", inside, filled(0)),
        _Kind("zeros, where none were", [column for column in numbers if column not in inside], filled(0), far=True),
        _Kind("integers never seen", whole, filled(highest + 1), extreme=True),
        _Kind("integers above 2^24", whole, filled(BEYOND_SINGLE), far=True),
        _Kind("infinity", endless, filled(np.inf), far=True),
        _Kind("minus infinity", endless, filled(-np.inf), far=True),
    ]


def _is_whole(values: "pd.Series[Any]") -> bool:
    """Whether the sample's numbers here are integers, of any type, and larger ones fit the type."""
    dtype = values.dtype
    if not pd.api.types.is_numeric_dtype(dtype) or pd.api.types.is_bool_dtype(dtype):
        return False
    present: Array = values.dropna().to_numpy()
    if present.dtype.kind in "iu" and present.dtype.itemsize < 4:
        return False
    return bool(len(present)) and bool(np.all(np.isfinite(present) & (present == np.round(present))))


def _almost(frame: pd.DataFrame, columns: Sequence[Column]) -> pd.DataFrame:
    """Each text with a trailing space: another text, though perhaps the same words to a tokenizer."""
    return _rewritten(frame, columns, lambda text: f"{text} ")


def _in_capitals(frame: pd.DataFrame, columns: Sequence[Column]) -> pd.DataFrame:
    """Each text in capitals: another category, but the same words to vectorizers that lower them."""
    return _rewritten(frame, columns, str.upper)


def _rewritten(frame: pd.DataFrame, columns: Sequence[Column], rewrite: Callable[[str], str]) -> pd.DataFrame:
    changed = frame.copy()
    for column in columns:
        changed[column.name] = frame[column.name].astype(object).map(rewrite, na_action="ignore")
    return changed


def _spread(columns: Sequence[Column]) -> list[Column]:
    """At most COLUMNS_MAX of them, evenly spaced."""
    if len(columns) <= COLUMNS_MAX:
        return list(columns)
    return [columns[place] for place in np.linspace(0, len(columns) - 1, COLUMNS_MAX).astype(int)]


def whole_rows(frame: pd.DataFrame, count: int) -> pd.DataFrame:
    """Rows without missing values: real ones if there are any, else with the column's first value filled in."""
    whole = frame.dropna().head(count)
    if len(whole) == 0:
        filled = frame.head(count).copy()
        for name in filled.columns:
            present = frame[name].dropna()
            if len(present):
                filled[name] = filled[name].fillna(present.iloc[0])
        whole = filled
    return whole.reset_index(drop=True)


def with_gaps(frame: pd.DataFrame, columns: Sequence[Column]) -> pd.DataFrame:
    """The rows with a missing value in each of these columns, of the kind that the column has."""
    if _is_uniform(frame):
        return _with_values(frame, columns, np.nan)
    changed = frame.copy()
    for column in columns:
        dtype = frame[column.name].dtype
        if column.kind == "number" and not is_object(dtype):
            changed[column.name] = np.nan
            continue
        if column.gap != natural(dtype):  # only columns of objects can hold any kind
            dtype = np.dtype(object)
        changed[column.name] = pd.Series([VALUE_OF[column.gap]] * len(frame), dtype=dtype, index=frame.index)
    return changed


def filled(value: "str | float | pd.Series[Any]") -> Change:
    """A change that sets every row to this value, or to the value that the function gives for each column."""

    def change(frame: pd.DataFrame, columns: Sequence[Column]) -> pd.DataFrame:
        fillers = value[[column.name for column in columns]].to_numpy() if isinstance(value, pd.Series) else value
        if not isinstance(value, str) and _is_uniform(frame):
            return _with_values(frame, columns, fillers)
        changed = frame.copy()
        for column in columns:
            filler = value[column.name] if isinstance(value, pd.Series) else value
            dtype = object if isinstance(frame[column.name].dtype, pd.CategoricalDtype) else None
            changed[column.name] = pd.Series([filler] * len(frame), dtype=dtype, index=frame.index)
        return changed

    return change


def _accepted(
    base: pd.DataFrame, columns: list[Column], change: Change, accepts: Accepts, *, together: Sequence[Column]
) -> pd.DataFrame | None:
    """The base rows with each column changed alone, then with all of them changed."""
    each = [change(base, [column]) for column in columns]
    if not each:
        return None
    rows = stacked([*each, change(base, together)])
    if accepts(rows):
        return rows
    accepted = [column for column, alone in zip(columns, each, strict=True) if accepts(alone)]
    if not accepted or len(accepted) == len(together):
        return stacked(each) if accepted else None
    return _accepted(base, accepted, change, accepts, together=accepted)


def stacked(frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """The rows of all frames, which have the same columns."""
    if all(map(_is_uniform, frames)):
        return pd.DataFrame(np.concatenate([each.to_numpy() for each in frames]), columns=frames[0].columns)
    return pd.concat(frames, ignore_index=True)


def _is_uniform(frame: pd.DataFrame) -> bool:
    """Whether all columns are float64. These are changed as one array: pandas would make a separate block of each
    changed column, and concatenates block by block."""
    return bool((frame.dtypes.to_numpy() == np.dtype(np.float64)).all())


def _with_values(frame: pd.DataFrame, columns: Sequence[Column], values: Any) -> pd.DataFrame:
    """A uniform frame with this value, or these values, in every row of these columns."""
    changed = frame.to_numpy(copy=True)
    changed[:, frame.columns.get_indexer(pd.Index([column.name for column in columns]))] = values
    return pd.DataFrame(changed, columns=frame.columns, index=frame.index)
