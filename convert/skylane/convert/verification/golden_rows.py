"""Golden rows: a few rows of the sample with the graph's answers to them, for the manifest.

A server runs them before it serves a version, and refuses the version if the answers differ.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
import pandas as pd

from skylane.convert.inspection.schema import Array, Layout, NumberType
from skylane.convert.verification.probes import whole_rows, with_gaps
from skylane.manifest import Golden

ROWS: Final = 8


def golden_frame(layout: Layout, frame: pd.DataFrame) -> pd.DataFrame:
    """Rows without missing values, spread over the sample; the last has one in each column that accepts them."""
    spread = frame.replace([np.inf, -np.inf], np.nan).dropna()
    picked = spread.iloc[np.unique(np.linspace(0, len(spread) - 1, ROWS).astype(int))] if len(spread) else spread
    rows = picked.reset_index(drop=True) if len(picked) else whole_rows(frame, ROWS)
    with_gap = [column for column in layout.columns if column.missing is not None]
    if not with_gap:
        return rows
    last = with_gaps(rows.tail(1), with_gap)
    return pd.concat([rows.head(ROWS - 1), last], ignore_index=True)


def golden_rows(
    layout: Layout,
    frame: pd.DataFrame,
    numbers: NumberType,
    run: Callable[[Mapping[str, Array]], Mapping[str, Array]],
) -> Golden:
    """The rows as tensors, and the graph's answers to them in one run."""
    inputs = layout.tensors(frame, numbers)
    return Golden(
        inputs={name: json_rows(array) for name, array in inputs.items()},
        outputs={name: json_rows(array) for name, array in run(inputs).items()},
    )


def json_rows(array: Array) -> list[Any]:
    """An array as nested lists for JSON, with null for NaN."""
    return [_value(row) for row in array.tolist()]


def _value(value: Any) -> Any:
    if isinstance(value, list):
        return [_value(each) for each in value]
    return None if isinstance(value, float) and math.isnan(value) else value
