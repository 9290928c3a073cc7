"""Probes of frames of doubles are made as one array, and are those that are made column by column."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression

from skylane.convert.inspection.schema import Column, infer
from skylane.convert.verification import probes
from skylane.convert.verification.probes import Change, filled, stacked, with_gaps

FRAME = pd.DataFrame({"a": [1.0, 2.0], "b": [3.0, np.nan], "c": [5.0, 6.0]}, index=[7, 9])
FILLER = pd.Series({"c": -1.0, "b": -2.0, "a": -3.0})


def columns(*names: str) -> list[Column]:
    layout, _ = infer(LinearRegression().fit(FRAME.fillna(0.0), [0, 1]), FRAME.fillna(0.0))
    return [column for name in names for column in layout.columns if column.name == name]


@pytest.mark.parametrize("names", [["b"], ["c", "a"], []])
@pytest.mark.parametrize(
    "change",
    [
        pytest.param(with_gaps, id="gaps"),
        pytest.param(filled(np.inf), id="infinity"),
        pytest.param(filled(0), id="zero"),
        pytest.param(filled(FILLER), id="a value for each column"),
    ],
)
def test_frames_of_doubles_are_changed_as_others_are(
    change: Change, names: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    fast = change(FRAME, columns(*names))
    joined = stacked([FRAME, fast])
    monkeypatch.setattr(probes, "_is_uniform", lambda _: False)
    slow = change(FRAME, columns(*names))
    pd.testing.assert_frame_equal(fast, slow, check_dtype=False)
    pd.testing.assert_frame_equal(joined, stacked([FRAME, slow]), check_dtype=False)


def test_columns_of_a_wide_frame_are_not_concatenated_block_by_block(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: Any, **__: Any) -> None:
        raise AssertionError("pandas concatenates")

    wide = pd.DataFrame(np.ones((4, 300)), columns=[f"c{number}" for number in range(300)])
    monkeypatch.setattr(pd, "concat", refused)
    assert stacked([wide] * 100).shape == (400, 300)


def test_frames_of_several_types_keep_them() -> None:
    mixed = FRAME.assign(text=["x", "y"])
    assert stacked([mixed, mixed]).dtypes.to_dict() == mixed.dtypes.to_dict()
