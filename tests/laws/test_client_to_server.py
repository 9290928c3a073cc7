"""What callers hold is what the server reads: every type, with and without gaps, from every library of frames."""

from collections.abc import Callable
from typing import Any, Final, Literal

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from skylane.client.decoding import array_of
from skylane.client.encoding import Request, encode, read
from skylane.client.schema import ColumnSpec, Model, TensorSpec
from skylane.dtypes import DTYPES, NUMPY, DType
from skylane.server.codecs.skylane_v1.inputs import read_columns, read_tensors
from skylane.v1.prediction_pb2 import PredictRequest


def sent(data: Any, model: Model | None = None) -> PredictRequest:
    """The message as it arrives."""
    message = encode(read(data), Request(model="m", data=data), model)
    return PredictRequest.FromString(message.SerializeToString())


def arrays_of(dtype: DType) -> st.SearchStrategy[Any]:
    """Arrays with rows of this type."""
    shapes = hnp.array_shapes(min_dims=2, max_dims=3, min_side=0, max_side=4)
    if dtype == "string":
        return hnp.arrays(object, shapes, elements=st.text(max_size=3), fill=st.nothing())
    return hnp.arrays(NUMPY[dtype], shapes)


def same(left: Any, right: Any) -> bool:
    """Bit for bit, or text for text."""
    if left.shape != right.shape or left.dtype != right.dtype:
        return False
    return bool(left.tolist() == right.tolist() if left.dtype.kind == "O" else left.tobytes() == right.tobytes())


@pytest.mark.parametrize("dtype", DTYPES)
@settings(max_examples=50)
@given(data=st.data())
def test_a_tensor_of_any_type_arrives_bit_for_bit(dtype: DType, data: st.DataObject) -> None:
    array = data.draw(arrays_of(dtype))
    model = Model(name="m", version=1, task="", tensors=(TensorSpec("x", dtype, (-1,) * array.ndim),))
    for form in (array, {"x": array}):
        (tensor,) = sent(form, model).tensors
        assert same(array_of(tensor), array), "as our client decodes it"
        assert same(read_tensors([tensor])["x"], array), "as the server decodes it"


INT_BITS: Final = {
    "int8": 8,
    "int16": 16,
    "int32": 32,
    "int64": 54,
    "uint8": 8,
    "uint16": 16,
    "uint32": 32,
    "uint64": 53,
}
"""Beside a gap the server holds integers as float64, which is exact up to 2**53."""


def values_of(dtype: DType) -> st.SearchStrategy[Any]:
    """Single values of this type, none of them a gap."""
    if dtype == "string":
        return st.text(max_size=3)
    if dtype == "bool":
        return st.booleans()
    if dtype in INT_BITS:
        unsigned = dtype.startswith("u")
        low, bits = (0, INT_BITS[dtype]) if unsigned else (-(2 ** (INT_BITS[dtype] - 1)), INT_BITS[dtype] - 1)
        return st.integers(low, 2**bits - 1)
    widths: dict[str, Literal[16, 32, 64]] = {"float16": 16, "float32": 32, "float64": 64}
    return st.floats(width=widths[dtype], allow_nan=False)


ARROW: Final = {**{name: name for name in DTYPES}, "bool": "bool", "float16": "halffloat"}
POLARS: Final = {
    "bool": pl.Boolean, "uint8": pl.UInt8, "uint16": pl.UInt16, "uint32": pl.UInt32, "uint64": pl.UInt64,
    "int8": pl.Int8, "int16": pl.Int16, "int32": pl.Int32, "int64": pl.Int64, "float32": pl.Float32,
    "float64": pl.Float64, "string": pl.String,
}  # fmt: skip
PANDAS: Final[dict[str, Any]] = {
    "bool": "boolean", "uint8": "UInt8", "uint16": "UInt16", "uint32": "UInt32", "uint64": "UInt64", "int8": "Int8",
    "int16": "Int16", "int32": "Int32", "int64": "Int64", "float32": "Float32", "float64": "Float64",
    "string": "string",
}  # fmt: skip


def masked(values: list[Any], dtype: DType) -> Any:
    mask = [value is None for value in values]
    filler = "" if dtype == "string" else 0
    return np.ma.array([filler if value is None else value for value in values], NUMPY[dtype], mask=mask)


HOLDERS: Final[dict[str, Callable[[list[Any], DType], Any]]] = {
    "a list": lambda values, dtype: {"x": values},
    "records": lambda values, dtype: [{"x": value} for value in values],
    "objects": lambda values, dtype: {"x": np.array(values, dtype=object)},
    "a masked array": lambda values, dtype: {"x": masked(values, dtype)},
    "pandas, nullable": lambda values, dtype: pd.DataFrame({"x": pd.array(values, PANDAS.get(dtype, "Float32"))}),
    "pandas, objects": lambda values, dtype: pd.DataFrame({"x": pd.Series(values, dtype=object)}),
    "pandas, Arrow": lambda values, dtype: pd.DataFrame(
        {"x": pd.Series(pd.arrays.ArrowExtensionArray(pa.array(values, ARROW[dtype])))}
    ),
    "pyarrow": lambda values, dtype: pa.table({"x": pa.array(values, ARROW[dtype])}),
    "polars": lambda values, dtype: pl.DataFrame({"x": pl.Series(values, dtype=POLARS.get(dtype, pl.Float32))}),
}


@pytest.mark.parametrize("holder", HOLDERS)
@pytest.mark.parametrize("dtype", DTYPES)
@settings(max_examples=20)
@given(data=st.data())
def test_a_column_with_gaps_arrives_as_it_is(holder: str, dtype: DType, data: st.DataObject) -> None:
    """Against the list: `None` or `NaN` where it has `None`, and else its values."""
    values = data.draw(st.lists(st.one_of(values_of(dtype), st.none()), min_size=1, max_size=5))
    model = Model(
        name="m",
        version=1,
        task="",
        tensors=(TensorSpec("t", dtype, (-1, 1)),),
        columns=(ColumnSpec("x", dtype, "t", 0, may_be_missing=True),),
    )
    request = sent(HOLDERS[holder](values, dtype), model if set(values) == {None} else None)
    received = (read_tensors(request.tensors) | read_columns(request.columns))["x"]
    assert received.shape == (len(values),)
    assert [None if value is None or value != value else value for value in received.tolist()] == values
