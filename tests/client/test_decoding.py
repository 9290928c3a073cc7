"""Reply → prediction."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from skylane.client import Internal, Prediction
from skylane.client.decoding import array_of, decode
from skylane.dtypes import DTYPES, NUMPY, TO_PROTO, DType, dtype_of
from skylane.v1 import prediction_pb2 as pb


def tensor_of(array: "np.ndarray[Any, Any]", name: str = "x") -> pb.Tensor:
    """A tensor as the contract says it, written apart from the client's own encoder."""
    dtype = dtype_of(array)
    if dtype == "string":
        return pb.Tensor(name=name, dtype=TO_PROTO[dtype], shape=array.shape, strings=[s.encode() for s in array.flat])
    return pb.Tensor(name=name, dtype=TO_PROTO[dtype], shape=array.shape, data=array.tobytes())


def prediction_of(**outputs: Any) -> Prediction:
    tensors = [tensor_of(np.asarray(array), name) for name, array in outputs.items()]
    return decode(pb.PredictResponse(model="flights_late", version=3, outputs=tensors, cached=True, request_id="r"))


@given(st.data(), st.sampled_from(DTYPES))
def test_every_array_of_every_type_comes_back(data: st.DataObject, dtype: DType) -> None:
    shape = data.draw(hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
    elements = st.text(max_size=5) if dtype == "string" else None
    array = data.draw(hnp.arrays(NUMPY[dtype], shape, elements=elements))
    decoded = array_of(tensor_of(array))
    assert (decoded.shape, decoded.dtype) == (array.shape, array.dtype)
    assert decoded.tolist() == array.tolist() if dtype == "string" else decoded.tobytes() == array.tobytes()


def test_numbers_are_views_that_cannot_be_written() -> None:
    decoded = array_of(tensor_of(np.arange(3.0)))
    assert decoded.base is not None
    with pytest.raises(ValueError, match="read-only"):
        decoded[0] = 1


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"dtype": 11, "shape": [2], "data": b"1234"}, id="fewer bytes than the shape says"),
        pytest.param({"dtype": 11, "shape": [1], "data": b"12345"}, id="a broken element at the end"),
        pytest.param({"dtype": 13, "shape": [2], "strings": [b"a"]}, id="fewer strings than the shape says"),
        pytest.param({"dtype": 0, "shape": [0]}, id="no type"),
        pytest.param({"dtype": 99, "shape": [0]}, id="a type from the future"),
        pytest.param({"dtype": 11, "shape": [-1], "data": b""}, id="a negative size"),
        pytest.param({"dtype": 11, "shape": [-1, -1], "data": b"1234"}, id="two negative sizes"),
    ],
)
def test_a_reply_that_contradicts_itself(fields: dict[str, Any]) -> None:
    with pytest.raises(Internal, match="'x' of the reply"):
        array_of(pb.Tensor(name="x", **fields))


def test_a_classifiers_answer() -> None:
    prediction = prediction_of(label=["late", "on time"], probabilities=np.eye(2, dtype=np.float32))
    assert (prediction.model, prediction.version, prediction.cached) == ("flights_late", 3, True)
    assert prediction.request_id == "r"
    assert len(prediction) == 2
    assert prediction.label.tolist() == ["late", "on time"]
    assert prediction.probabilities is prediction["probabilities"]
    assert list(prediction.outputs) == ["label", "probabilities"]
    assert repr(prediction) == (
        "<Prediction of flights_late version 3, 2 rows, cached: label string (2,), probabilities float32 (2, 2)>"
    )


@pytest.mark.parametrize(
    ("shape", "flat"),
    [
        pytest.param((2,), (2,), id="one number a row"),
        pytest.param((2, 1), (2,), id="one number a row in a column"),
        pytest.param((2, 3), (2, 3), id="several targets"),
        pytest.param((0, 1), (0,), id="no rows"),
    ],
)
def test_a_regressors_answer(shape: tuple[int, ...], flat: tuple[int, ...]) -> None:
    prediction = prediction_of(prediction=np.zeros(shape))
    assert prediction.prediction.shape == shape
    assert prediction.values.shape == flat
    assert len(prediction) == shape[0]
    assert prediction, "an answer for no rows is still an answer"


def test_an_output_that_is_not_there_is_told_beside_those_that_are() -> None:
    prediction = prediction_of(label=["late"])
    sentence = "flights_late version 3 returned no 'probabilities'; it returned 'label'"
    with pytest.raises(AttributeError) as missing:
        _ = prediction.probabilities
    assert str(missing.value) == sentence
    with pytest.raises(KeyError) as unknown:
        _ = prediction["probabilities"]
    assert unknown.value.args == (sentence,)
    assert not hasattr(prediction, "values")
