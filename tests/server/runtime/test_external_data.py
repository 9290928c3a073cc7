"""Graphs that keep values in other files, wherever a tensor may be; and bytes that are no graph."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto, SparseTensorProto, TensorProto

from skylane.server.runtime.external_data import BadGraph, has_external_data

Place = Callable[[TensorProto], ModelProto]


def external() -> TensorProto:
    tensor = TensorProto(name="w", dims=[1], data_type=TensorProto.FLOAT, data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="secret.bin")
    return tensor


def internal() -> TensorProto:
    return TensorProto(name="location", dims=[2], data_type=TensorProto.FLOAT, raw_data=b"\x70\x01\x6a\x00" * 2)


def graph_of(attribute: AttributeProto) -> GraphProto:
    """With numbers before and after the attribute's tensor, as ensembles of trees have."""
    numbers = AttributeProto(name="n", floats=[1.0, 2.0] * 3000, ints=[1, 2**62, -1] * 3000, strings=[b"LEAF"] * 9)
    return GraphProto(node=[NodeProto(attribute=[numbers, attribute, numbers])])


def in_attribute(**place: Any) -> ModelProto:
    return ModelProto(graph=graph_of(AttributeProto(floats=[1.0], ints=[5], **place)))


PLACES = [
    pytest.param(lambda t: ModelProto(graph=GraphProto(initializer=[t])), id="an initializer"),
    pytest.param(lambda t: in_attribute(t=t), id="a constant's value"),
    pytest.param(lambda t: in_attribute(tensors=[t]), id="one of many tensors of an attribute"),
    pytest.param(lambda t: in_attribute(g=GraphProto(initializer=[t])), id="a subgraph"),
    pytest.param(
        lambda t: in_attribute(graphs=[graph_of(AttributeProto(g=graph_of(AttributeProto(t=t))))]),
        id="a subgraph of a subgraph",
    ),
    pytest.param(
        lambda t: ModelProto(graph=GraphProto(sparse_initializer=[SparseTensorProto(values=t)])), id="a sparse tensor"
    ),
    pytest.param(lambda t: in_attribute(sparse_tensor=SparseTensorProto(indices=t)), id="a sparse attribute"),
    pytest.param(lambda t: in_attribute(sparse_tensors=[SparseTensorProto(values=t)]), id="many sparse attributes"),
    pytest.param(
        lambda t: ModelProto(functions=[FunctionProto(node=graph_of(AttributeProto(t=t)).node)]), id="a function"
    ),
    pytest.param(
        lambda t: ModelProto(functions=[FunctionProto(attribute_proto=[AttributeProto(t=t)])]), id="a default value"
    ),
]  # fmt: skip


@pytest.mark.parametrize("place", PLACES)
def test_external_data_is_seen_wherever_a_tensor_may_be(place: Place) -> None:
    assert has_external_data(place(external()).SerializeToString())
    assert not has_external_data(place(internal()).SerializeToString())


@pytest.mark.parametrize(
    "tensor",
    [
        pytest.param(b"\x70\x01", id="that it is elsewhere, and not where"),
        pytest.param(b"\xf0\x00\x01", id="a number of a field in more bytes than it needs"),
        pytest.param(b"\x70\x81\x00", id="a value in more bytes than it needs"),
        pytest.param(b"\x70\x81\x80\x80\x80\x10", id="a value whose low half alone is read"),
        pytest.param(b"\x6a\x00", id="where it is, and not that it is elsewhere"),
    ],
)
def test_external_data_is_seen_however_it_is_written(tensor: bytes) -> None:
    graph = b"\x2a" + bytes([len(tensor)]) + tensor
    assert has_external_data(b"\x3a" + bytes([len(graph)]) + graph)


@pytest.mark.parametrize(
    "graph",
    [
        pytest.param(b"\x3a\x05\x2a", id="cut short"),
        pytest.param(b"\x3a", id="a field without its length"),
        pytest.param(b"\x3b\x3c", id="a group"),
        pytest.param(b"\x08" + b"\xff" * 11, id="a number without an end"),
        pytest.param(b"\x3a\x03\x2a\x05\x70", id="a message longer than the one around it"),
        pytest.param(b"\x0d\x01", id="half a number of four bytes"),
    ],
)
def test_what_is_no_message_is_told_apart(graph: bytes) -> None:
    with pytest.raises(BadGraph):
        has_external_data(graph)


@given(st.binary(max_size=60))
def test_any_bytes_are_judged_or_refused(graph: bytes) -> None:
    try:
        has_external_data(graph)
    except BadGraph:
        return
