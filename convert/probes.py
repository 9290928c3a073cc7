"""Rows that the sample lacks but callers will send: gaps, texts never seen, ends of ranges, infinity. Pure frames."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd

from convert.schema import Column, Layout

BASE_ROWS: Final = 4
"""Rows of the sample that each probe of a column is made from."""

UNSEEN: Final = "never seen before"

Accepts = Callable[[pd.DataFrame], bool]
Change = Callable[[pd.DataFrame, Sequence[Column]], pd.DataFrame]


@dataclass(frozen=True)
class Probe:
    """Rows of one kind that the pipeline itself accepts."""

    name: str
    frame: pd.DataFrame


def probes(layout: Layout, frame: pd.DataFrame, accepts: Accepts) -> list[Probe]:
    """All kinds of probes that this pipeline accepts; a column whose probe it refuses is left out of that kind."""
    base = whole_rows(frame, BASE_ROWS)
    lowest, highest = frame.min(numeric_only=True), frame.max(numeric_only=True)
    numbers = [column for column in layout.columns if column.kind == "number"]
    endless = [column for column in numbers if column.infinity and not column.whole]
    kinds: list[tuple[str, list[Column], Change]] = [
        ("gaps", [column for column in layout.columns if column.missing is not None], with_gaps),
        ("texts never seen", [column for column in layout.columns if column.kind == "string"], filled(UNSEEN)),
        ("lowest values", numbers, filled(lowest)),
        ("highest values", numbers, filled(highest)),
        ("infinity", endless, filled(np.inf)),
        ("minus infinity", endless, filled(-np.inf)),
    ]
    made = []
    for name, columns, change in kinds:
        rows = _accepted(base, columns, change, accepts)
        if rows is not None:
            made.append(Probe(name, rows))
    return made


def whole_rows(frame: pd.DataFrame, count: int) -> pd.DataFrame:
    """Rows without gaps: real ones where there are some, else with gaps filled by the column's first value."""
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
    """The rows with a gap in each of these columns."""
    changed = frame.copy()
    for column in columns:
        if column.kind == "number":
            changed[column.name] = np.nan
        else:
            changed[column.name] = pd.Series([None] * len(frame), dtype=frame[column.name].dtype, index=frame.index)
    return changed


def filled(value: "str | float | pd.Series[Any]") -> Change:
    """A change that puts this value, or this value of each column, into every row."""

    def change(frame: pd.DataFrame, columns: Sequence[Column]) -> pd.DataFrame:
        changed = frame.copy()
        for column in columns:
            filler = value[column.name] if isinstance(value, pd.Series) else value
            dtype = object if isinstance(frame[column.name].dtype, pd.CategoricalDtype) else None
            changed[column.name] = pd.Series([filler] * len(frame), dtype=dtype, index=frame.index)
        return changed

    return change


def _accepted(base: pd.DataFrame, columns: list[Column], change: Change, accepts: Accepts) -> pd.DataFrame | None:
    """The base with each column changed alone, then with all of them changed."""
    each = [change(base, [column]) for column in columns]
    if not each:
        return None
    together = _stacked([*each, change(base, columns)])
    if accepts(together):
        return together
    accepted = [column for column, rows in zip(columns, each, strict=True) if accepts(rows)]
    if not accepted or len(accepted) == len(columns):
        return None
    return _accepted(base, accepted, change, accepts)


def _stacked(frames: list[pd.DataFrame]) -> pd.DataFrame:
    return pd.concat(frames, ignore_index=True)
