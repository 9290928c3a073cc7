"""Data frames of few rows, read at once: the law is that each column is what pandas and numpy give for it alone."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from skylane.client.columns import Values, read_values
from skylane.client.encoding import read
from skylane.client.pandas_rows import ROWS_MAX, is_small, read_small_frame

ROWS = st.shared(st.integers(0, 4), key="rows")
GAPS = st.sampled_from([None, float("nan"), pd.NA, pd.NaT])
TEXTS = st.one_of(st.text(max_size=3), st.none())
INTEGERS = st.one_of(st.integers(-128, 127), st.none())


def column_of(items: st.SearchStrategy[Any], dtype: Any = object) -> st.SearchStrategy[Any]:
    """Columns of these items, as many as the example has rows."""
    return ROWS.flatmap(lambda rows: st.lists(items, min_size=rows, max_size=rows)).map(
        lambda values: pd.Series(values, dtype=dtype)
    )


NUMBERS = hnp.scalar_dtypes().filter(lambda dtype: dtype.kind in "biufc")
NUMPY_COLUMNS = st.tuples(NUMBERS, ROWS).flatmap(lambda drawn: hnp.arrays(*drawn)).map(pd.Series)
COLUMNS = st.one_of(
    NUMPY_COLUMNS,
    column_of(TEXTS),
    column_of(TEXTS, "str"),
    column_of(TEXTS, "string"),
    column_of(TEXTS, "category"),
    column_of(st.one_of(st.booleans(), GAPS)),
    column_of(st.one_of(st.integers(), GAPS)),
    column_of(st.one_of(st.floats(), GAPS, st.integers(-3, 3))),
    column_of(
        st.one_of(st.text(max_size=2), st.integers(), st.binary(max_size=2), st.lists(st.integers(), max_size=2))
    ),
    column_of(INTEGERS, "Int8"),
    column_of(INTEGERS, "Int64"),
    column_of(INTEGERS, "category"),
    column_of(st.one_of(st.floats(width=32), st.none()), "Float32"),
    column_of(st.one_of(st.booleans(), st.none()), "boolean"),
    column_of(st.integers(0, 10**9), "datetime64[ns]"),
    column_of(INTEGERS, "int64[pyarrow]"),
    column_of(TEXTS, "string[pyarrow]"),
)


def outcome(name: str, read_column: Any) -> Any:
    """What a column is read as, in a form that can be compared, or how it is refused."""
    try:
        values: Values = read_column()
    except (TypeError, ValueError, UnicodeDecodeError) as error:
        return type(error), str(error)
    array = values.array
    items = array.tolist() if array.dtype.kind == "O" else [repr(item) for item in array.ravel()]
    return name, array.dtype, array.shape, items, values.missing, values.untyped


@given(st.lists(COLUMNS, min_size=1, max_size=4))
@example([pd.Series([1.5, np.nan], dtype="float32"), pd.Series([np.nan] * 2), pd.Series([True, False])])
@example([pd.Series([2**63], dtype="uint64"), pd.Series([[1, 2]]), pd.Series([np.float32(0.1)], dtype=object)])
def test_each_column_is_what_it_is_alone(columns: list[Any]) -> None:
    frame = pd.DataFrame({f"c{place}": column for place, column in enumerate(columns)})
    alone = [outcome(name, lambda name=name: read_values(name, frame[name])) for name in frame.columns]
    refused = [one for one in alone if isinstance(one[0], type)]
    if refused:
        with pytest.raises(refused[0][0]) as error:
            read_small_frame(frame, frame.columns.tolist())
        assert str(error.value) == refused[0][1]
    else:
        together = read_small_frame(frame, frame.columns.tolist())
        assert [outcome(each.name, lambda each=each: each) for each in together] == alone


class Frame(pd.DataFrame):
    """A class of the caller's own, whose columns may mean something else."""


@pytest.mark.parametrize(
    ("data", "small"),
    [
        pytest.param(pd.DataFrame({"a": [1.0]}), True, id="one row"),
        pytest.param(pd.DataFrame({"a": np.zeros(ROWS_MAX)}), True, id="as many rows as are few"),
        pytest.param(pd.DataFrame({"a": np.zeros(ROWS_MAX + 1)}), False, id="one row more"),
        pytest.param(Frame({"a": [1.0]}), False, id="a subclass"),
        pytest.param({"a": [1.0]}, False, id="a dict"),
    ],
)
def test_which_data_is_read_at_once(data: Any, small: bool) -> None:
    assert is_small(data) is small


def test_a_frame_of_few_rows_makes_no_series(monkeypatch: pytest.MonkeyPatch) -> None:
    frame = pd.DataFrame({"a": [1.0], "b": ["x"], "c": [True]})
    monkeypatch.setattr(pd.DataFrame, "__getitem__", lambda *_: pytest.fail("a column was taken by itself"))
    assert [values.array.tolist() for values in read(frame).values] == [[1.0], ["x"], [True]]
