"""Raw tensors: what is written is read again, and nothing that is read can do harm."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from skylane.dtypes import DTYPES, NUMPY
from skylane.manifest import OutputSpec, TensorSpec
from skylane.policy import Batching
from skylane.server.admin.oip_views import model_config
from skylane.server.codecs.tensor_bytes import DATATYPE_OF, DTYPE_OF, read_dtype, read_raw, read_shape, write_raw
from skylane.server.core.errors import InputMismatch
from skylane.server.core.types import Array, Interface

NUMBERS = [dtype for dtype in DTYPES if dtype != "string"]
SHAPES = arrays.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=4)


@given(st.data(), st.sampled_from(NUMBERS), SHAPES)
def test_numbers_are_read_as_they_were_written(data: st.DataObject, dtype: str, shape: tuple[int, ...]) -> None:
    array = data.draw(arrays.arrays(NUMPY[dtype], shape))  # type: ignore[index]
    again = read_raw("x", dtype, shape, write_raw(array))  # type: ignore[arg-type]
    assert again.dtype == array.dtype
    assert again.tobytes() == array.tobytes()


@given(st.lists(st.text(), max_size=6))
def test_strings_are_read_as_they_were_written(texts: list[str]) -> None:
    array: Array = np.empty(len(texts), object)
    array[:] = texts
    assert read_raw("x", "string", (len(texts),), write_raw(array)).tolist() == texts


def test_the_other_byte_order_is_turned() -> None:
    assert write_raw(np.array([1], ">i4")) == b"\1\0\0\0"


@given(st.binary(max_size=40), st.sampled_from(DTYPES), SHAPES)
def test_any_bytes_are_a_tensor_or_a_mismatch(raw: bytes, dtype: str, shape: tuple[int, ...]) -> None:
    try:
        array = read_raw("x", dtype, shape, raw)  # type: ignore[arg-type]
    except InputMismatch:
        return
    assert array.shape == shape
    assert write_raw(array) == raw


@pytest.mark.parametrize(
    "sizes", [pytest.param([0, 2**62, 2**62], id="a size of 0 beside huge ones"), pytest.param([2**40], id="huge")]
)
def test_a_shape_that_no_memory_holds(sizes: list[int]) -> None:
    with pytest.raises(InputMismatch):
        read_raw("x", "float32", read_shape("x", sizes), b"")


def test_every_type_has_a_name_of_its_own() -> None:
    assert set(DATATYPE_OF) == set(DTYPES)
    assert {read_dtype("x", datatype) for datatype in DTYPE_OF} == set(DTYPES)


def test_a_configuration_leaves_out_the_rows_and_tells_the_policy() -> None:
    interface = Interface(
        "m",
        3,
        (TensorSpec(name="x", dtype="string", shape=(None, 2, None)),),
        (),
        (OutputSpec(name="y", dtype="float32", shape=(None,)),),
    )
    config = model_config(interface, Batching(max_queue_delay_ms=1.5, max_request_rows=7, instances=2))
    assert config["input"] == [{"name": "x", "data_type": "TYPE_STRING", "dims": [2, -1]}]
    assert config["output"] == [{"name": "y", "data_type": "TYPE_FP32", "dims": []}]
    assert config["max_batch_size"] == 7
    assert config["dynamic_batching"]["max_queue_delay_microseconds"] == 1500
    assert config["instance_group"][0]["count"] == 2
