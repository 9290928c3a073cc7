"""Binding: how named arrays become the model's inputs, and the full words for those that cannot."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skylane.manifest import ColumnSpec, OutputSpec, TensorSpec
from skylane.server.core.errors import InputMismatch
from skylane.server.core.input_binding import bind
from skylane.server.core.types import Array, Interface

OUTPUTS = (OutputSpec(name="y", dtype="float32", shape=(None, 1)),)

FEATURES = Interface("digits", 1, (TensorSpec(name="features", dtype="float32", shape=(None, 3)),), (), OUTPUTS)
"""Tensors only."""

PAIR = Interface(
    "pair",
    1,
    (
        TensorSpec(name="images", dtype="uint8", shape=(None, 2, None)),
        TensorSpec(name="words", dtype="string", shape=(None,)),
    ),
    (),
    OUTPUTS,
)
"""Two tensors, one of them with a size left open."""

FLIGHTS = Interface(
    "flights",
    1,
    (
        TensorSpec(name="numbers", dtype="float32", shape=(None, 2)),
        TensorSpec(name="strings", dtype="string", shape=(None, 2)),
    ),
    (
        ColumnSpec(name="hour", dtype="float32", tensor="numbers", index=1),
        ColumnSpec(name="carrier", dtype="string", tensor="strings", index=0),
        ColumnSpec(name="wind", dtype="float32", tensor="numbers", index=0, missing="NaN"),
        ColumnSpec(name="origin", dtype="string", tensor="strings", index=1, missing="?"),
    ),
    OUTPUTS,
)
"""Columns in another order than their places."""

TAKES_FLIGHTS = (
    "the model takes the columns 'hour', 'carrier', 'wind' and 'origin', or the tensors "
    "'numbers' float32 (any, 2) and 'strings' string (any, 2)"
)
TAKES_FEATURES = "the model takes tensor 'features' float32 (any, 3)"


def one(dtype: Any, missing: float | str | None = None) -> Interface:
    """A model of one column `c` of this type."""
    return Interface(
        "one",
        1,
        (TensorSpec(name="only", dtype=dtype, shape=(None, 1)),),
        (ColumnSpec(name="c", dtype=dtype, tensor="only", index=0, missing=missing),),
        OUTPUTS,
    )


def strings(*values: str | None) -> Array:
    array = np.empty(len(values), object)
    array[:] = values
    return array


def flights(**changed: Array) -> dict[str, Array]:
    """Two good rows of FLIGHTS, with these columns changed or added."""
    return {
        "hour": np.array([6.0, 23.0]),
        "carrier": strings("UA", "DL"),
        "wind": np.array([0.5, np.nan]),
        "origin": strings("JFK", None),
    } | changed


def without(name: str) -> dict[str, Array]:
    return {key: value for key, value in flights().items() if key != name}


GOOD = np.zeros((2, 3), np.float32)


@pytest.mark.parametrize(
    ("interface", "inputs", "message"),
    [
        # which names
        pytest.param(FEATURES, {}, f"the request has no inputs: {TAKES_FEATURES}", id="no inputs"),
        pytest.param(
            FEATURES,
            {"feature": GOOD},
            f"inputs: 'features' is missing, and 'feature' is not known (did you mean 'features'?); {TAKES_FEATURES}",
            id="a tensor's name misspelt",
        ),
        pytest.param(
            FEATURES,
            {"features": GOOD, "x": GOOD},
            f"inputs: 'x' is not known; {TAKES_FEATURES}",
            id="a tensor too many",
        ),
        pytest.param(
            PAIR,
            {"words": strings("a")},
            "inputs: 'images' is missing; "
            "the model takes tensors 'images' uint8 (any, 2, any) and 'words' string (any)",
            id="a tensor too few",
        ),
        pytest.param(FLIGHTS, without("wind"), f"inputs: 'wind' is missing; {TAKES_FLIGHTS}", id="a column too few"),
        pytest.param(
            FLIGHTS,
            without("wind") | {"Wind": np.zeros(2)},
            f"inputs: 'wind' is missing, and 'Wind' is not known (did you mean 'wind'?); {TAKES_FLIGHTS}",
            id="a column's name misspelt",
        ),
        pytest.param(
            FLIGHTS,
            {"Wind": np.zeros(2)},
            "inputs: 'hour', 'carrier', 'wind' and 'origin' are missing, and 'Wind' is not known (did you mean "
            f"'wind'?); {TAKES_FLIGHTS}",
            id="one column, and its name misspelt",
        ),
        pytest.param(
            FLIGHTS,
            flights(tail=strings("a", "b"), more=np.zeros(2)),
            f"inputs: 'tail' and 'more' are not known; {TAKES_FLIGHTS}",
            id="columns too many",
        ),
        pytest.param(
            FLIGHTS,
            {"numbers": np.zeros((2, 2), np.float32)},
            f"inputs: 'strings' is missing; {TAKES_FLIGHTS}",
            id="half of the tensors",
        ),
        pytest.param(
            FLIGHTS,
            {"numbers": np.zeros((2, 2), np.float32), "carrier": strings("a", "b"), "origin": strings("a", "b")},
            f"inputs: 'hour' and 'wind' are missing, and 'numbers' is not known; {TAKES_FLIGHTS}",
            id="tensors and columns mixed",
        ),
        pytest.param(
            FLIGHTS,
            {"x" * 200: np.zeros(2)},
            f"inputs: 'hour', 'carrier', 'wind' and 'origin' are missing, and '{'x' * 100}…' is not known; "
            f"{TAKES_FLIGHTS}",
            id="a name of any length is cut",
        ),
        # tensors: exactly the type and shape
        pytest.param(
            FEATURES,
            {"features": GOOD.astype(np.float64)},
            "tensor 'features': expected float32, received float64",
            id="a tensor is never cast",
        ),
        pytest.param(
            FEATURES,
            {"features": np.zeros((2, 4), np.float32)},
            "tensor 'features': expected shape (any, 3), received (2, 4)",
            id="too many features",
        ),
        pytest.param(
            FEATURES,
            {"features": np.zeros(3, np.float32)},
            "tensor 'features': expected shape (any, 3), received (3)",
            id="one row without its brackets",
        ),
        pytest.param(
            PAIR,
            {"images": np.zeros((2, 2, 7), np.uint8), "words": strings("a", "b", "c")},
            "inputs differ in their rows: 'images' has 2, 'words' has 3",
            id="tensors of different length",
        ),
        # columns: shape and rows
        pytest.param(
            FLIGHTS,
            flights(hour=np.zeros((2, 2))),
            "column 'hour': expected shape (rows) or (rows, 1), received (2, 2)",
            id="a column two wide",
        ),
        pytest.param(
            FLIGHTS,
            flights(wind=np.zeros((2, 1, 1))),
            "column 'wind': expected shape (rows) or (rows, 1), received (2, 1, 1)",
            id="a column too deep",
        ),
        pytest.param(
            FLIGHTS,
            flights(carrier=strings("UA")),
            "inputs differ in their rows: 'hour' has 2, 'carrier' has 1",
            id="columns of different length",
        ),
        # columns: values
        pytest.param(
            FLIGHTS,
            flights(hour=strings("6", "23")),
            "column 'hour': expected floats (float32), received strings",
            id="strings for numbers",
        ),
        pytest.param(
            FLIGHTS,
            flights(carrier=np.array([1, 2])),
            "column 'carrier': expected strings (string), received integers",
            id="numbers for strings",
        ),
        pytest.param(
            FLIGHTS,
            flights(carrier=np.array([True, False])),
            "column 'carrier': expected strings (string), received booleans",
            id="booleans for strings",
        ),
        pytest.param(
            FLIGHTS,
            flights(hour=np.array([6, np.nan])),
            "column 'hour': the pipeline accepts no gaps here, but the value of row 1 is missing",
            id="NaN where no gap is accepted",
        ),
        pytest.param(
            FLIGHTS,
            flights(carrier=strings(None, "DL")),
            "column 'carrier': the pipeline accepts no gaps here, but the value of row 0 is missing",
            id="None where no gap is accepted",
        ),
        pytest.param(
            FLIGHTS,
            flights(hour=strings(None, None)),
            "column 'hour': the pipeline accepts no gaps here, but the value of row 0 is missing",
            id="all gaps where none is accepted",
        ),
        pytest.param(
            FLIGHTS,
            flights(wind=strings(None, "x")),
            "column 'wind': expected floats (float32), received strings",
            id="strings with gaps for numbers with gaps",
        ),
        pytest.param(
            one("int64"),
            {"c": np.array([1.0, 2.5])},
            "column 'c': expected integers, received floats with a fraction",
            id="a fraction for an integer",
        ),
        pytest.param(
            one("int8"),
            {"c": np.array([127, 128])},
            "column 'c': expected int8, received a value outside -128 to 127",
            id="an integer above the range",
        ),
        pytest.param(
            one("uint8"),
            {"c": np.array([-1])},
            "column 'c': expected uint8, received a value outside 0 to 255",
            id="an integer below the range",
        ),
        pytest.param(
            one("int64"),
            {"c": np.array([2.0**63])},
            "column 'c': expected int64, received a value outside -9223372036854775808 to 9223372036854775807",
            id="a float just beyond the largest integer",
        ),
        pytest.param(
            one("int64"),
            {"c": np.array([2**63], np.uint64)},
            "column 'c': expected int64, received a value outside -9223372036854775808 to 9223372036854775807",
            id="an unsigned integer just beyond the largest signed one",
        ),
        pytest.param(
            one("int32"),
            {"c": np.array([np.inf])},
            "column 'c': expected int32, received a value outside -2147483648 to 2147483647",
            id="infinity for an integer",
        ),
        pytest.param(
            one("int64"),
            {"c": np.array([np.inf], np.float16)},
            "column 'c': expected int64, received a value outside -9223372036854775808 to 9223372036854775807",
            id="infinity of a type smaller than the range",
        ),
        pytest.param(
            one("int64"),
            {"c": np.array([np.nan])},
            "column 'c': the pipeline accepts no gaps here, but the value of row 0 is missing",
            id="NaN for an integer",
        ),
        pytest.param(
            one("bool"),
            {"c": np.array([0, 1, 2])},
            "column 'c': expected bool, received a value outside 0 to 1",
            id="an integer that is no boolean",
        ),
        pytest.param(
            one("bool"),
            {"c": np.array([0.5])},
            "column 'c': expected booleans, received floats with a fraction",
            id="a fraction for a boolean",
        ),
    ],
)
def test_inputs_that_do_not_fit(interface: Interface, inputs: Mapping[str, Array], message: str) -> None:
    with pytest.raises(InputMismatch) as raised:
        bind(interface, inputs)
    assert str(raised.value) == message


@pytest.mark.parametrize(
    ("interface", "inputs", "message"),
    [
        pytest.param(
            FEATURES,
            {"features": np.zeros(2)},
            f"columns: this model has none, send tensors: {TAKES_FEATURES}",
            id="columns for a model of tensors",
        ),
        pytest.param(
            FLIGHTS,
            {"numbers": np.zeros(2), "strings": strings("a", "b")},
            "inputs: 'hour', 'carrier', 'wind' and 'origin' are missing, and 'numbers' and 'strings' are not known; "
            + TAKES_FLIGHTS,
            id="columns under the names of tensors",
        ),
    ],
)
def test_columns_are_never_taken_for_tensors(interface: Interface, inputs: Mapping[str, Array], message: str) -> None:
    with pytest.raises(InputMismatch) as raised:
        bind(interface, inputs, only_columns=True)
    assert str(raised.value) == message


@pytest.mark.parametrize(
    ("dtype", "missing", "values", "bound"),
    [
        pytest.param("float32", None, np.array([1, -2]), [1.0, -2.0], id="integers become floats"),
        pytest.param("float32", None, np.array([True, False]), [1.0, 0.0], id="booleans become floats"),
        pytest.param("float32", None, np.array([0.1]), [np.float32(0.1)], id="a float64 is rounded to float32"),
        pytest.param(
            "float32", None, np.array([1e300, -np.inf]), [np.inf, -np.inf], id="too large a float is infinite"
        ),
        pytest.param("int64", None, np.array([3.0, -0.0]), [3, 0], id="whole floats become integers"),
        pytest.param("int64", None, np.array([-(2.0**63)]), [-(2**63)], id="the least integer, as a float"),
        pytest.param("int8", None, np.array([127, -128]), [127, -128], id="integers at both ends of the range"),
        pytest.param("int64", None, np.array([True]), [1], id="booleans become integers"),
        pytest.param("bool", None, np.array([0, 1]), [False, True], id="0 and 1 become booleans"),
        pytest.param("bool", None, np.array([1.0]), [True], id="1.0 becomes a boolean"),
        pytest.param("string", None, strings("", "é"), ["", "é"], id="strings stay"),
        pytest.param("float32", "NaN", np.array([np.nan, 1.0]), [np.nan, 1.0], id="NaN is a gap, and stays NaN"),
        pytest.param("float32", "NaN", strings(None, None), [np.nan, np.nan], id="all gaps, sent as strings, are NaN"),
        pytest.param("float64", -999.0, np.array([np.nan, 1.0]), [-999.0, 1.0], id="a gap is what the model knows"),
        pytest.param("int64", -1.0, np.array([np.nan, 7.0]), [-1, 7], id="a gap among integers as well"),
        pytest.param("string", "?", strings("a", None), ["a", "?"], id="a gap among strings"),
    ],
)
def test_a_column_is_cast(dtype: Any, missing: float | str | None, values: Array, bound: list[object]) -> None:
    (array,) = bind(one(dtype, missing), {"c": values})
    assert array.dtype == (np.dtype(object) if dtype == "string" else np.dtype(dtype))
    np.testing.assert_array_equal(array, np.array(bound, array.dtype).reshape(-1, 1))


def test_filling_a_gap_leaves_the_callers_array_alone() -> None:
    values, numbers = strings("a", None), np.array([1.0, np.nan])
    bind(one("string", "?"), {"c": values})
    bind(one("float32", -1.0), {"c": numbers})
    assert values.tolist() == ["a", None]
    assert np.isnan(numbers[1])


@given(order=st.permutations(list(flights())), wide=st.sets(st.sampled_from(list(flights()))))
def test_neither_the_order_of_columns_nor_a_second_dimension_of_one_matters(order: list[str], wide: set[str]) -> None:
    columns = flights()
    inputs = {name: columns[name].reshape(-1, 1) if name in wide else columns[name] for name in order}
    numbers, texts = bind(FLIGHTS, inputs)
    np.testing.assert_array_equal(numbers, np.array([[0.5, 6], [np.nan, 23]], np.float32))
    assert texts.tolist() == [["UA", "JFK"], ["DL", "?"]]


@given(order=st.permutations(["images", "words"]))
def test_tensors_come_in_the_models_order_whatever_theirs(order: list[str]) -> None:
    inputs = {"images": np.zeros((2, 2, 5), np.uint8), "words": strings("a", "b")}
    bound = bind(PAIR, {name: inputs[name] for name in order})
    assert [id(array) for array in bound] == [id(inputs["images"]), id(inputs["words"])]


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int64", "float16", "float64", "string"])
@pytest.mark.parametrize("sent", [np.float64, np.int64, np.bool_, object])
def test_no_rows_fit_if_their_type_does(dtype: Any, sent: Any) -> None:
    empty = np.empty(0, sent)
    if (dtype == "string") == (sent is object) or sent is object:
        (array,) = bind(one(dtype), {"c": empty})
        assert array.shape == (0, 1)
    else:
        with pytest.raises(InputMismatch):
            bind(one(dtype), {"c": empty})


WHOLE = st.integers(-(2**63), 2**64 - 1)


@given(value=WHOLE, dtype=st.sampled_from(["int8", "uint8", "int16", "uint32", "int64", "uint64"]))
def test_an_integer_arrives_as_it_was_or_is_refused(value: int, dtype: str) -> None:
    inputs = {"c": np.array([value], np.uint64 if value > 2**63 - 1 else np.int64)}
    low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
    if low <= value <= high:
        assert bind(one(dtype), inputs)[0].item() == value
    else:
        with pytest.raises(InputMismatch):
            bind(one(dtype), inputs)


@given(
    value=st.floats(),
    sent=st.sampled_from([np.float16, np.float32, np.float64]),
    dtype=st.sampled_from(["bool", "int8", "uint64", "int64"]),
)
def test_a_float_that_an_integer_column_takes_is_the_same_number(value: float, sent: Any, dtype: str) -> None:
    with np.errstate(over="ignore"):
        array = np.array([value], np.float64).astype(sent)
    try:
        (bound,) = bind(one(dtype), {"c": array})
    except InputMismatch:
        return
    assert int(bound.item()) == array.item()
