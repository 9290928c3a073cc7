"""Data → request: what goes in comes out again, in the cheapest form that can say it, or is refused by name."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from skylane.client.columns import Array
from skylane.client.decoding import array_of
from skylane.client.encoding import Request, encode, read
from skylane.client.schema import ColumnSpec, Model, TensorSpec
from skylane.v1 import prediction_pb2 as pb

MODEL = Model(
    name="flights_late",
    version=3,
    task="classifier",
    tensors=(TensorSpec("numbers", "float32", (-1, 2)), TensorSpec("texts", "string", (-1, 1))),
    columns=(
        ColumnSpec("distance", "float32", "numbers", 0),
        ColumnSpec("hour", "int64", "numbers", 1),
        ColumnSpec("carrier", "string", "texts", 0),
        ColumnSpec("weekend", "bool", "texts", 0),
    ),
)


def encoded(data: Any, model: Model | None = None) -> pb.PredictRequest:
    """The message as the server parses it."""
    message = encode(read(data), Request(model="flights_late", data=data), model)
    return pb.PredictRequest.FromString(message.SerializeToString())


def one_tensor(dtype: Any, *, name: str = "x") -> Model:
    return Model(name="digits", version=1, task="classifier", tensors=(TensorSpec(name, dtype, (-1, 3)),))


def values_of(column: pb.Column) -> list[Any]:
    """A typed column as a list with None in its gaps."""
    values: list[Any] = list(getattr(column, str(column.WhichOneof("values"))).values)
    for row in column.missing:
        values[row] = None
    return values


def same(left: Array, right: Array) -> bool:
    return left.shape == right.shape and left.dtype == right.dtype and left.tobytes() == right.tobytes()


NUMBERS = hnp.scalar_dtypes().filter(lambda dtype: dtype.kind in "biuf" and dtype.itemsize <= 8)
TEXT = st.text()


@given(st.data(), NUMBERS)
def test_numbers_of_any_type_order_and_layout_arrive_bit_for_bit(data: st.DataObject, dtype: Any) -> None:
    rows = data.draw(st.integers(1, 5))
    array = data.draw(hnp.arrays(dtype, (rows, 2)))
    # Each column of a two-dimensional array has gaps in memory, and the second one runs backwards.
    left, right = array[:, 0], array[::-1, 1]
    assume(dtype.kind != "f" or not (np.isnan(left).all() or np.isnan(right).all()))
    request = encoded({"left": left, "right": right})
    for tensor, sent in zip(request.tensors, (left, right), strict=True):
        assert same(array_of(tensor), sent.astype(dtype.newbyteorder("<"), order="C"))


@given(st.lists(TEXT, min_size=1))
def test_strings_arrive_as_they_are(texts: list[str]) -> None:
    for form in (texts, np.array(texts, dtype=object), pd.Series(texts), pd.array(texts, dtype="string")):
        (tensor,) = encoded({"carrier": form}).tensors
        assert array_of(tensor).tolist() == texts


@given(st.lists(st.one_of(st.none(), TEXT), min_size=1).filter(lambda values: set(values) != {None}))
def test_gaps_among_strings_are_named_and_nothing_else_is_lost(values: list[str | None]) -> None:
    request = encoded(pd.DataFrame({"carrier": pd.Series(values, dtype="object"), "distance": np.arange(len(values))}))
    if None not in values:
        assert not request.columns
        return
    assert not request.tensors, "a request has tensors or columns, never both"
    carrier, distance = request.columns
    assert values_of(carrier) == values
    assert values_of(distance) == list(range(len(values)))


@given(st.lists(st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1)), min_size=1).filter(any))
def test_integers_with_gaps_keep_every_digit(values: list[int | None]) -> None:
    for form in (values, pd.array(values, dtype="Int64")):
        request = encoded({"hour": form})
        if None in values:
            assert values_of(request.columns[0]) == values
        else:
            assert array_of(request.tensors[0]).tolist() == values


@given(st.lists(st.dictionaries(st.sampled_from("abc"), st.floats(allow_nan=False), min_size=1), min_size=1))
def test_records_are_rows(records: list[dict[str, float]]) -> None:
    columns = {tensor.name: array_of(tensor) for tensor in encoded(records).tensors}
    assert columns.keys() == {name for record in records for name in record}
    for row, record in enumerate(records):
        for name, column in columns.items():
            assert len(column) == len(records)
            assert column[row] == record[name] if name in record else np.isnan(column[row])


@pytest.mark.parametrize(
    ("raw", "dtype", "values"),
    [
        pytest.param(3, "int64", [3], id="a single integer is one row"),
        pytest.param("UA", "string", ["UA"], id="a single string is one row"),
        pytest.param(True, "bool", [True], id="a single boolean stays one"),
        pytest.param(np.float32(0.1), "float32", [np.float32(0.1)], id="a numpy scalar keeps its type"),
        pytest.param([1, 2], "int64", [1, 2], id="integers"),
        pytest.param([1, 2.5], "float64", [1, 2.5], id="integers among floats are floats"),
        pytest.param([2**63], "uint64", [2**63], id="beyond int64: uint64"),
        pytest.param([1.5, None], "float64", [1.5, None], id="a gap among floats is NaN"),
        pytest.param([1, float("nan")], "float64", [1, None], id="NaN makes floats of integers"),
        pytest.param(pd.Categorical(["b", "a"]), "string", ["b", "a"], id="categories are their values"),
        pytest.param(pd.array([1.5, None], dtype="Float32"), "float32", [1.5, None], id="nullable floats"),
        pytest.param(np.array([b"UA"]), "string", ["UA"], id="bytes are UTF-8"),
        pytest.param(np.array(["UA", "B6"]), "string", ["UA", "B6"], id="numpy's fixed-width strings"),
        pytest.param(np.array(["UA"], np.dtypes.StringDType()), "string", ["UA"], id="numpy's variable strings"),
        pytest.param(np.ma.array([1.0, 2.0], mask=[False, True]), "float64", [1.0, None], id="what is masked is a gap"),
        pytest.param([np.str_("UA")], "string", ["UA"], id="numpy's own str"),
    ],
)
def test_one_column_travels_as(raw: Any, dtype: str, values: list[Any]) -> None:
    (tensor,) = encoded({"x": raw}).tensors
    assert pb.DataType.Name(tensor.dtype) == f"DATA_TYPE_{dtype.upper()}"
    assert list(tensor.shape) == [len(values)]
    assert [None if value != value else value for value in array_of(tensor).tolist()] == values


@pytest.mark.parametrize(
    ("raw", "values"),
    [
        pytest.param(["UA", None], ["UA", None], id="None among strings"),
        pytest.param(["UA", float("nan")], ["UA", None], id="NaN among strings"),
        pytest.param(pd.Series(["UA", None], dtype="str"), ["UA", None], id="pandas' strings"),
        pytest.param(pd.Categorical(["UA", None]), ["UA", None], id="categories"),
        pytest.param([True, None], [True, None], id="None among booleans"),
        pytest.param(pd.array([True, None], dtype="boolean"), [True, None], id="pandas' booleans"),
        pytest.param([1, pd.NA], [1, None], id="pandas.NA among integers"),
        pytest.param([pd.NaT, 1], [None, 1], id="NaT is a gap as well"),
        pytest.param(np.ma.array([1, 2], mask=[True, False]), [None, 2], id="what is masked among integers"),
    ],
)
def test_gaps_that_no_array_can_say_travel_in_typed_columns(raw: Any, values: list[Any]) -> None:
    (column,) = encoded({"x": raw}).columns
    assert values_of(column) == values


@pytest.mark.parametrize(
    ("name", "kind", "missing"),
    [
        pytest.param("distance", "data", [], id="of floats: NaN in a tensor"),
        pytest.param("carrier", "strings", [0, 1], id="of strings"),
        pytest.param("hour", "ints", [0, 1], id="of integers"),
        pytest.param("weekend", "bools", [0, 1], id="of booleans"),
        pytest.param("unheard_of", "data", [], id="of a column that the model lacks: the server will say"),
    ],
)
@pytest.mark.parametrize("nothing", [[None, None], np.array([np.nan, np.nan]), pd.Series([None, None])])
def test_a_column_of_gaps_alone_is_typed_by_the_model(name: str, kind: str, missing: list[int], nothing: Any) -> None:
    assert read({name: nothing}).need_schema
    request = encoded({name: nothing}, MODEL)
    if kind == "data":
        assert np.isnan(array_of(request.tensors[0])).all()
    else:
        assert request.columns[0].WhichOneof("values") == kind
        assert list(request.columns[0].missing) == missing


@pytest.mark.parametrize(
    ("array", "dtype"),
    [
        pytest.param(np.zeros((2, 3)), "float32", id="float64 to float32: rounds"),
        pytest.param(np.array([[1, 2, 3]]), "float32", id="integers to floats"),
        pytest.param(np.array([[1, 2, 3]]), "uint8", id="integers to narrower ones, if they fit"),
        pytest.param(np.array([[True, False, True]]), "int64", id="booleans to numbers"),
        pytest.param(np.array([[np.nan, np.inf, 1]]), "float16", id="NaN and infinity stay"),
        pytest.param(np.array([["a", "b", "c"]]), "string", id="strings"),
        pytest.param(np.empty((0, 3), object), "string", id="no rows of strings"),
        pytest.param(np.empty((0, 3)), "int64", id="no rows of numbers"),
    ],
)
def test_an_array_is_sent_as_the_only_tensor_in_its_type(array: Array, dtype: str) -> None:
    (tensor,) = encoded(array, one_tensor(dtype)).tensors
    assert tensor.name == "x"
    assert pb.DataType.Name(tensor.dtype) == f"DATA_TYPE_{dtype.upper()}"
    decoded = array_of(tensor)
    assert decoded.shape == array.shape
    assert all(str(a) == str(b) or float(a) == float(b) for a, b in zip(decoded.flat, array.flat, strict=True))


def test_a_list_of_rows_is_an_array() -> None:
    (tensor,) = encoded([[1, 2.5, None], (4, 5, 6)], one_tensor("float32")).tensors
    assert np.array_equal(array_of(tensor), np.array([[1, 2.5, np.nan], [4, 5, 6]], np.float32), equal_nan=True)


def test_tensors_by_name_are_cast_too() -> None:
    request = encoded({"numbers": np.ones((1, 2)), "texts": [["UA"]]}, MODEL)
    assert [tensor.dtype for tensor in request.tensors] == [pb.DATA_TYPE_FLOAT32, pb.DATA_TYPE_STRING]


@pytest.mark.parametrize(
    ("array", "model", "error", "says"),
    [
        pytest.param([1.5, 2], one_tensor("int64"), TypeError, "'x' is int64: an array of float64", id="floats to int"),
        pytest.param([300, 1], one_tensor("uint8"), ValueError, "'x' is uint8: 300 does not fit", id="too large"),
        pytest.param([-1, 1], one_tensor("uint8"), ValueError, "-1 does not fit", id="negative to unsigned"),
        pytest.param([1e300, 1], one_tensor("float32"), ValueError, "does not fit", id="beyond float32"),
        pytest.param(["a", "b"], one_tensor("float32"), TypeError, "an array of string", id="strings to floats"),
        pytest.param([1, 2], one_tensor("string"), TypeError, "'x' is string: an array of int64", id="numbers to text"),
        pytest.param(["a", None], one_tensor("string"), ValueError, "cannot hold gaps", id="gaps in an array of text"),
        pytest.param([1, 2], MODEL, ValueError, "takes 2 tensors ('numbers' float32", id="which of several tensors"),
    ],
)
def test_an_array_that_is_not_what_the_tensor_takes(
    array: list[Any], model: Model, error: type[Exception], says: str
) -> None:
    data = np.array([array], dtype=object if None in array else None)
    with pytest.raises(error) as refused:
        encoded(data, model)
    assert says in str(refused.value)


@pytest.mark.parametrize(
    ("data", "error", "says"),
    [
        pytest.param({"a": [1], "b": [1, 2], "c": [3]}, ValueError, "'a', 'c': 1; 'b': 2", id="lengths differ"),
        pytest.param({"a": 1, "b": [1, 2]}, ValueError, "'a': 1; 'b': 2", id="a scalar is one row, not all rows"),
        pytest.param({}, ValueError, "there are no columns", id="nothing"),
        pytest.param([], TypeError, "data is an empty list: expected a data frame", id="an empty list"),
        pytest.param([1, 2], TypeError, "data is a list of int: for one row write [data]", id="a bare list"),
        pytest.param([[1, 2], [3]], ValueError, "rows differ in length: from 1 to 2 values", id="rows of two lengths"),
        pytest.param(None, TypeError, "data is NoneType", id="None"),
        pytest.param("x", TypeError, "data is str", id="text"),
        pytest.param(np.zeros(3), ValueError, "for one row write array[None, :]", id="a one-dimensional array"),
        pytest.param({1: [1]}, TypeError, "column names must be text", id="a number for a name"),
        pytest.param(
            pd.DataFrame([[1, 2]]),
            TypeError,
            "got 0; for a model that takes one tensor send frame.to_numpy()",
            id="a frame without names",
        ),
        pytest.param(
            pd.DataFrame([[1, 2]], columns=["a", "a"]), ValueError, "more than once: 'a'", id="a name that stands twice"
        ),
        pytest.param({"a": [1, "x"]}, TypeError, "'a' is object holding int, str", id="numbers among strings"),
        pytest.param({"a": [True, 1.5]}, TypeError, "'a' is object holding bool, float", id="booleans among floats"),
        pytest.param({"a": [{}]}, TypeError, "'a' is object holding dict", id="objects"),
        pytest.param({"a": {"b": 1}}, TypeError, "'a' is a dict: expected a list", id="a dict in a dict"),
        pytest.param({"a": [1 + 2j]}, TypeError, "holding complex", id="complex numbers in a list"),
        pytest.param({"a": np.array([1j])}, TypeError, "'a' is complex128", id="complex numbers"),
        pytest.param({"a": [[1], [1, 2]]}, TypeError, "'a' is object holding list", id="ragged rows"),
        pytest.param({"a": [2**64]}, ValueError, "'a' holds integers that fit neither", id="integers beyond 64 bits"),
        pytest.param(
            {"a": [2**63, None]}, ValueError, "'a' holds integers beyond int64", id="beyond int64, with a gap"
        ),
        pytest.param({"a": ["\ud800"]}, ValueError, "'a' holds text that is not Unicode", id="half a surrogate pair"),
        pytest.param({"a": ["\ud800", None]}, ValueError, "not Unicode", id="the same beside a gap"),
        pytest.param({"a": [[1, None]], "b": [1]}, ValueError, "'a' has the shape (1, 2)", id="gaps in a tensor"),
        pytest.param(
            pd.DataFrame({"time_hour": pd.to_datetime(["2013-01-01"])}),
            TypeError,
            "'time_hour' is datetime64[us]: expected numbers, booleans or strings",
            id="dates",
        ),
        pytest.param(
            pd.DataFrame({"time_hour": pd.to_datetime(["2013-01-01"]).tz_localize("UTC")}),
            TypeError,
            "'time_hour' is datetime64[us, UTC] holding Timestamp: expected numbers",
            id="dates with a zone",
        ),
    ],
)
def test_what_cannot_be_sent_is_named(data: Any, error: type[Exception], says: str) -> None:
    with pytest.raises(error) as refused:
        encoded(data)
    assert says in str(refused.value)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        pytest.param({"version": 1, "label": "stable"}, ValueError, id="version and label"),
        pytest.param({"outputs": "label"}, TypeError, id="outputs as text"),
        pytest.param({"version": "1"}, TypeError, id="a version as text"),
        pytest.param({"version": True}, TypeError, id="a boolean for a version"),
        pytest.param({"label": 1}, TypeError, id="a number for a label"),
    ],
)
def test_requests_that_contradict_themselves(options: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        Request(model="m", data={}, **options)


def test_what_the_request_names() -> None:
    request = Request(model="m", data={"a": 1}, label="stable", outputs=("b", "a"), request_id="r")
    message = encode(read(request.data), request, None)
    assert (message.model, message.label, list(message.outputs), message.request_id) == ("m", "stable", ["b", "a"], "r")
    assert message.WhichOneof("which") == "label"
    assert encode(read({"a": 1}), Request(model="m", data={}), None).WhichOneof("which") is None


def test_no_rows_are_rows() -> None:
    (tensor,) = encoded({"carrier": []}, MODEL).tensors
    assert (list(tensor.shape), tensor.dtype) == ([0], pb.DATA_TYPE_STRING)
