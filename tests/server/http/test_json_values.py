"""Values of JSON as arrays."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skylane.dtypes import DTYPES, NUMPY, DType
from skylane.server.core.errors import InputMismatch
from skylane.server.http.json_values import columns_of, read_column, read_tensor

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=3),
)


@given(JSON, st.sampled_from(DTYPES))
def test_anything_is_a_tensor_of_its_type_or_a_mismatch(values: Any, dtype: DType) -> None:
    try:
        array = read_tensor("x", dtype, values)
    except InputMismatch:
        return
    assert array.dtype == NUMPY[dtype]
    assert isinstance(values, list)


@given(st.lists(JSON, max_size=5))
def test_anything_is_a_column_with_a_value_for_each_row_or_a_mismatch(values: list[Any]) -> None:
    try:
        array = read_column("x", values)
    except InputMismatch:
        return
    assert array.shape == (len(values),)
    gaps = [value is None or value != value for value in array.tolist()]
    assert gaps == [value is None for value in values]


@given(st.lists(st.lists(st.floats(width=32), min_size=3, max_size=3), max_size=4))
def test_floats_survive_the_way_through_json(rows: list[list[float]]) -> None:
    array = np.array(rows, np.float32)
    sent = json.loads(json.dumps([[None if v != v else v for v in row] for row in array.tolist()]))
    if np.isinf(array).any():
        return  # JSON has none: they are sent in binary
    np.testing.assert_array_equal(read_tensor("x", "float32", sent), array.reshape(len(rows), 3) if rows else array)


@pytest.mark.parametrize(
    ("values", "dtype", "expected"),
    [
        pytest.param([True, False], "bool", [True, False], id="booleans"),
        pytest.param([1, 2.5, None], "float64", [1.0, 2.5, np.nan], id="gaps among floats are NaN"),
        pytest.param([1e39], "float32", [np.inf], id="too large for the type, as in the pipeline"),
        pytest.param([2**64 - 1], "uint64", [2**64 - 1], id="the largest integer"),
        pytest.param([[[]]], "float32", [[[]]], id="empty lists"),
        pytest.param(["é"], "string", ["é"], id="strings"),
    ],
)
def test_tensors(values: Any, dtype: DType, expected: Any) -> None:
    np.testing.assert_array_equal(read_tensor("x", dtype, values), np.array(expected, NUMPY[dtype]))


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        pytest.param([1, 0], "bool", id="numbers are no booleans"),
        pytest.param([True], "int64", id="booleans are no numbers"),
        pytest.param([1.0], "int64", id="floats are no integers"),
        pytest.param(["1"], "float32", id="strings are no numbers, whatever they hold"),
        pytest.param([1], "string", id="numbers are no strings"),
        pytest.param([None], "string", id="a tensor of strings has no gaps"),
        pytest.param([None], "int64", id="integers have no gaps"),
        pytest.param([2**64], "uint64", id="an integer that does not fit"),
        pytest.param([-1], "uint8", id="a sign that does not fit"),
        pytest.param([1, [2]], "float32", id="a list beside a number"),
        pytest.param({"x": 1}, "float32", id="an object"),
    ],
)
def test_what_is_no_tensor_of_its_type(values: Any, dtype: DType) -> None:
    with pytest.raises(InputMismatch):
        read_tensor("x", dtype, values)


@pytest.mark.parametrize(
    ("values", "dtype", "expected"),
    [
        pytest.param([1, 2], "int64", [1, 2], id="integers"),
        pytest.param([1, 2.5], "float64", [1.0, 2.5], id="integers among floats"),
        pytest.param([1, None], "float64", [1.0, np.nan], id="a gap among integers makes floats of them"),
        pytest.param([2**63], "uint64", [2**63], id="an integer beyond int64"),
        pytest.param([True, False], "bool", [True, False], id="booleans"),
        pytest.param(["x", None], "object", ["x", None], id="a gap among strings"),
        pytest.param([None, None], "object", [None, None], id="nothing but gaps"),
        pytest.param([], "object", [], id="no rows"),
    ],
)
def test_columns(values: list[Any], dtype: str, expected: list[Any]) -> None:
    array = read_column("x", values)
    assert array.dtype == dtype
    np.testing.assert_array_equal(array, np.array(expected, dtype))


def test_records_are_columns_in_the_order_of_their_names() -> None:
    assert list(columns_of([{"a": 1}, {"b": 2, "a": 3}]).items()) == [("a", [1, 3]), ("b", [None, 2])]
