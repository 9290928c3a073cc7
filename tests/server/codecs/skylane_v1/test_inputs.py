"""Tensors and columns of a request: what is read, and the full words for what cannot be."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from skylane.dtypes import DTYPES, NUMPY, TO_PROTO, DType
from skylane.server.codecs.skylane_v1.inputs import read_columns, read_tensors
from skylane.server.core.errors import InputMismatch
from skylane.v1.prediction_pb2 import BoolList, Column, DoubleList, Int64List, StringList, Tensor


def tensor(
    name: str = "x",
    dtype: DType | int = "float32",
    shape: tuple[int, ...] = (2, 1),
    data: bytes = b"",
    strings: tuple[bytes, ...] = (),
) -> Tensor:
    number: Any = TO_PROTO[dtype] if isinstance(dtype, str) else dtype
    return Tensor(name=name, dtype=number, shape=shape, data=data, strings=strings)


OF_TWO = bytes(8)


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        pytest.param(
            [tensor("a", data=OF_TWO), tensor("")],
            "tensors[1]: expected a name, received none",
            id="a tensor without a name",
        ),
        pytest.param(
            [tensor("a", data=OF_TWO), tensor("a", data=OF_TWO)],
            "tensors: 'a' appears twice",
            id="one name twice",
        ),
        pytest.param(
            [tensor("n" * 101, data=b"")],
            f"tensor '{'n' * 100}…': data: expected 8 bytes for float32 of shape [2, 1], received 0",
            id="a long name is cut",
        ),
        pytest.param(
            [tensor(dtype=0)],
            "tensor 'x': dtype: expected one of bool, uint8, uint16, uint32, uint64, int8, int16, int32, int64, "
            "float16, float32, float64, string, received 0",
            id="no type",
        ),
        pytest.param(
            [tensor(dtype=99)],
            "tensor 'x': dtype: expected one of bool, uint8, uint16, uint32, uint64, int8, int16, int32, int64, "
            "float16, float32, float64, string, received 99",
            id="a type that does not exist",
        ),
        pytest.param(
            [tensor(shape=(), data=bytes(4))],
            "tensor 'x': shape: expected sizes from 0 with the rows first, received []",
            id="a number without rows",
        ),
        pytest.param(
            [tensor(shape=(2, -1), data=OF_TWO)],
            "tensor 'x': shape: expected sizes from 0 with the rows first, received [2, -1]",
            id="a size left open",
        ),
        pytest.param(
            [tensor(shape=(-1, -2), data=OF_TWO)],
            "tensor 'x': shape: expected sizes from 0 with the rows first, received [-1, -2]",
            id="two negative sizes whose product would fit",
        ),
        pytest.param(
            [tensor(shape=(1,) * 65, data=bytes(4))],
            "tensor 'x': shape: expected at most 8 sizes, received 65",
            id="more dimensions than numpy has",
        ),
        pytest.param(
            [tensor(shape=(0, 2**62), data=b"")],
            "tensor 'x': shape: [0, 4611686018427387904] is too large",
            id="no rows of a size beyond memory",
        ),
        pytest.param(
            [tensor(dtype="string", shape=(0, 2**62))],
            "tensor 'x': shape: [0, 4611686018427387904] is too large",
            id="no strings of a size beyond memory",
        ),
        pytest.param(
            [tensor(shape=(2**40, 2**40), data=OF_TWO)],
            "tensor 'x': data: expected 4835703278458516698824704 bytes for float32 of shape "
            "[1099511627776, 1099511627776], received 8",
            id="a shape that memory could never hold is only a number",
        ),
        pytest.param(
            [tensor(shape=(3, 1), data=OF_TWO)],
            "tensor 'x': data: expected 12 bytes for float32 of shape [3, 1], received 8",
            id="too little data",
        ),
        pytest.param(
            [tensor(shape=(1, 1), data=OF_TWO)],
            "tensor 'x': data: expected 4 bytes for float32 of shape [1, 1], received 8",
            id="too much data, or the wrong type",
        ),
        pytest.param(
            [tensor(dtype="bool", data=b"\x01\x02")],
            "tensor 'x': data: expected bytes 0 or 1 for bool, received others",
            id="booleans of another byte",
        ),
        pytest.param(
            [tensor(data=OF_TWO, strings=(b"a",))],
            "tensor 'x': `strings` belong to a string tensor, but its dtype is float32",
            id="strings in a tensor of numbers",
        ),
        pytest.param(
            [tensor(dtype="string", data=OF_TWO)],
            "tensor 'x': a string tensor's elements go into `strings`, received `data`",
            id="data in a tensor of strings",
        ),
        pytest.param(
            [tensor(dtype="string", strings=(b"a",))],
            "tensor 'x': strings: expected 2 for shape [2, 1], received 1",
            id="too few strings",
        ),
        pytest.param(
            [tensor(dtype="string", strings=(b"a", b"\xff\xfe"))],
            "tensor 'x': strings: expected UTF-8, received b'\\xff\\xfe'",
            id="strings in another encoding",
        ),
    ],
)
def test_a_tensor_that_cannot_be_read(tensors: list[Tensor], message: str) -> None:
    with pytest.raises(InputMismatch) as raised:
        read_tensors(tensors)
    assert str(raised.value) == message


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        pytest.param([Column()], "columns[0]: expected a name, received none", id="a column without a name"),
        pytest.param(
            [Column(name="a", ints=Int64List()), Column(name="a", ints=Int64List())],
            "columns: 'a' appears twice",
            id="one name twice",
        ),
        pytest.param([Column(name="a")], "column 'a': expected a list of values, received none", id="no values"),
        pytest.param(
            [Column(name="a", doubles=DoubleList(values=[1.0, 2.0]), missing=[0, 2])],
            "column 'a': missing: row 2 is beyond the 2 values of the list",
            id="a gap beyond the end",
        ),
        pytest.param(
            [Column(name="a", strings=StringList(), missing=[0])],
            "column 'a': missing: expected at most 0 rows, as the list has values, received 1",
            id="a gap in nothing",
        ),
    ],
)
def test_a_column_that_cannot_be_read(columns: list[Column], message: str) -> None:
    with pytest.raises(InputMismatch) as raised:
        read_columns(columns)
    assert str(raised.value) == message


@pytest.mark.parametrize(
    ("column", "values"),
    [
        pytest.param(Column(name="c", doubles=DoubleList(values=[1.5, -2])), np.array([1.5, -2.0]), id="doubles"),
        pytest.param(
            Column(name="c", ints=Int64List(values=[2**63 - 1])), np.array([2**63 - 1]), id="ints keep all bits"
        ),
        pytest.param(Column(name="c", bools=BoolList(values=[True, False])), np.array([True, False]), id="bools"),
        pytest.param(
            Column(name="c", strings=StringList(values=["", "é\0"])), np.array(["", "é\0"], object), id="strings"
        ),
        pytest.param(
            Column(name="c", doubles=DoubleList(values=[1, 2]), missing=[1]),
            np.array([1.0, np.nan]),
            id="a gap among doubles is NaN",
        ),
        pytest.param(
            Column(name="c", ints=Int64List(values=[1, 2]), missing=[0]),
            np.array([np.nan, 2.0]),
            id="a gap among ints is NaN, so they are floats",
        ),
        pytest.param(
            Column(name="c", bools=BoolList(values=[True, True]), missing=[0, 0]),
            np.array([np.nan, 1.0]),
            id="a gap may be named twice",
        ),
        pytest.param(
            Column(name="c", strings=StringList(values=["a", "b"]), missing=[1]),
            np.array(["a", None], object),
            id="a gap among strings is None",
        ),
        pytest.param(Column(name="c", ints=Int64List()), np.array([], np.int64), id="an empty list has no rows"),
    ],
)
def test_a_column_is_read_as(column: Column, values: np.ndarray[Any, Any]) -> None:
    read = read_columns([column])["c"]
    assert read.dtype == values.dtype
    np.testing.assert_array_equal(read, values)


numeric = st.sampled_from([dtype for dtype in DTYPES if dtype != "string"])
shapes = hnp.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=4)


@given(data=st.data(), dtype=numeric, shape=shapes)
def test_numbers_come_back_bit_for_bit(data: st.DataObject, dtype: DType, shape: tuple[int, ...]) -> None:
    sent = data.draw(hnp.arrays(NUMPY[dtype], shape))
    read = read_tensors([tensor(dtype=dtype, shape=shape, data=sent.tobytes())])["x"]
    assert (read.dtype, read.shape, read.tobytes()) == (sent.dtype, sent.shape, sent.tobytes())


@given(data=st.data(), shape=shapes)
def test_strings_come_back_in_their_order(data: st.DataObject, shape: tuple[int, ...]) -> None:
    size = int(np.prod(shape))
    sent = data.draw(st.lists(st.text(max_size=5), min_size=size, max_size=size))
    encoded = tuple(text.encode() for text in sent)
    read = read_tensors([tensor(dtype="string", shape=shape, strings=encoded)])["x"]
    assert (read.dtype, read.shape, read.ravel().tolist()) == (np.dtype(object), shape, sent)


def test_tensors_keep_the_order_in_which_they_were_sent() -> None:
    assert list(read_tensors([tensor("b", data=OF_TWO), tensor("a", data=OF_TWO)])) == ["b", "a"]
