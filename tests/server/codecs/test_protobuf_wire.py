"""The wire format: what we write and find by hand is what the generated code writes and finds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skylane.server.codecs import protobuf_wire
from skylane.v1.prediction_pb2 import Column, Int64List, PredictRequest, PredictResponse, Tensor

numbers = st.integers(0, 2**63 - 1)


@given(numbers)
def test_a_varint_is_what_the_generated_code_writes(value: int) -> None:
    assert PredictResponse(version=value).SerializeToString() == (
        b"\x10" + protobuf_wire.varint(value) if value else b""
    )


@pytest.mark.parametrize(
    ("value", "encoded"),
    [
        pytest.param(0, b"\x00", id="zero is one byte"),
        pytest.param(127, b"\x7f", id="seven bits fit into one byte"),
        pytest.param(128, b"\x80\x01", id="the eighth does not"),
        pytest.param(2**64 - 1, b"\xff" * 9 + b"\x01", id="64 bits take ten bytes"),
    ],
)
def test_varint(value: int, encoded: bytes) -> None:
    assert protobuf_wire.varint(value) == encoded


@given(st.binary(max_size=300))
def test_a_field_is_what_the_generated_code_writes(content: bytes) -> None:
    made = Tensor(strings=[content]).SerializeToString()
    assert protobuf_wire.field(Tensor.STRINGS_FIELD_NUMBER, content) == made
    assert protobuf_wire.field_head(Tensor.STRINGS_FIELD_NUMBER, len(content)) + content == made


requests = st.builds(
    PredictRequest,
    model=st.text(max_size=5),
    version=st.integers(-1, 300),
    tensors=st.lists(
        st.builds(Tensor, name=st.text(max_size=3), shape=st.lists(numbers, max_size=2), data=st.binary(max_size=5)),
        max_size=3,
    ),
    columns=st.lists(st.builds(Column, name=st.text(max_size=3)), max_size=2),
    outputs=st.lists(st.text(max_size=3), max_size=3),
    request_id=st.text(max_size=3),
)


@given(request_=requests, around=st.tuples(st.binary(max_size=3), st.binary(max_size=3)))
def test_spans_are_the_fields_of_the_message_in_their_order(
    request_: PredictRequest, around: tuple[bytes, bytes]
) -> None:
    message = request_.SerializeToString()
    found = protobuf_wire.spans(around[0] + message + around[1], len(around[0]), len(around[0]) + len(message))
    assert found is not None
    contents = [(number, (around[0] + message)[start:stop]) for number, start, stop in found]
    expected = [(1, request_.model.encode())] if request_.model else []
    expected += [(4, each.SerializeToString()) for each in request_.tensors]
    expected += [(5, each.SerializeToString()) for each in request_.columns]
    expected += [(6, each.encode()) for each in request_.outputs]
    expected += [(15, request_.request_id.encode())] if request_.request_id else []
    assert contents == expected


@pytest.mark.parametrize(
    ("message", "found"),
    [
        pytest.param(b"", [], id="no fields"),
        pytest.param(b"\x10\x96\x01" + b"\x22\x01a", [(4, 5, 6)], id="a varint is stepped over"),
        pytest.param(b"\x11" + bytes(8) + b"\x22\x01a", [(4, 11, 12)], id="eight bytes are stepped over"),
        pytest.param(b"\x15" + bytes(4) + b"\x22\x01a", [(4, 7, 8)], id="four bytes are stepped over"),
        pytest.param(b"\x22\x00", [(4, 2, 2)], id="an empty field has its place"),
        pytest.param(b"\x22\x81\x80\x00a", [(4, 4, 5)], id="a length written too long is still a length"),
        pytest.param(b"\xa2\x06\x01a", [(100, 3, 4)], id="a field with a tag of two bytes"),
        pytest.param(b"\x22\x01a\xa3\x01\xa4\x01\x22\x01b", None, id="behind a group nothing is known"),
    ],
)
def test_spans(message: bytes, found: list[tuple[int, int, int]] | None) -> None:
    assert protobuf_wire.spans(message, 0, len(message)) == found


def test_packed_numbers_are_one_field() -> None:
    message = Int64List(values=[1, 2, 300]).SerializeToString()
    assert protobuf_wire.spans(message, 0, len(message)) == [(1, 2, len(message))]
