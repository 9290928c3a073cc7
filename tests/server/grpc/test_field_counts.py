"""The number of fields in a message is judged on the wire, before any object is made of one."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes import RecordingSink
from skylane.server.codecs import protobuf_wire
from skylane.server.codecs.oip.requests import InferDecoder
from skylane.server.codecs.request_templates import FIELDS_MAX, TemplatingDecoder
from skylane.server.codecs.skylane_v1.requests import RequestDecoder
from skylane.server.codecs.tfs.requests import PredictDecoder
from skylane.server.core.errors import BadRequest, ServingError
from skylane.server.core.rejection_counter import RejectionCounter
from skylane.server.core.types import Call

DECODERS: list[Callable[[], TemplatingDecoder]] = [
    lambda: RequestDecoder(RejectionCounter()),
    lambda: InferDecoder(lambda: 0.0, RejectionCounter()),
    lambda: PredictDecoder(RejectionCounter()),
]


def refused(decoder: TemplatingDecoder, payload: bytes) -> bytes | ServingError:
    sink = RecordingSink()
    assert decoder.decode([Call(None, sink)], [payload], sink) == []
    ((_, result),) = sink.got
    return result


@pytest.mark.parametrize("made", DECODERS, ids=["skylane.v1", "Open Inference", "TensorFlow"])
@pytest.mark.parametrize("number", range(1, 9))
@pytest.mark.parametrize("content", [pytest.param(b"", id="empty"), pytest.param(b"\x0a\x00", id="nearly empty")])
def test_more_fields_than_allowed_are_refused_unread(
    made: Callable[[], TemplatingDecoder], number: int, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoder = made()
    monkeypatch.setattr(type(decoder), "read", None)
    result = refused(decoder, protobuf_wire.field(number, content) * (FIELDS_MAX + 1))
    assert isinstance(result, BadRequest)
    assert "expected at most 8192 tensors" in str(result)


KINDS = st.sampled_from([b"\x08\x01", b"\x0a\x00", b"\x0a\x02ab", b"\x09" + bytes(8), b"\x0d" + bytes(4), b"\x0b\x0c"])


@given(st.lists(KINDS, max_size=40), st.integers(0, 50))
def test_fields_are_counted_as_they_stand(parts: list[bytes], fields_max: int) -> None:
    count = sum(2 if part == b"\x0b\x0c" else 1 for part in parts)  # a group's begin and end
    assert protobuf_wire.has_more_fields(b"".join(parts), fields_max) == (count > fields_max)


@given(st.binary(max_size=200), st.integers(0, 20))
def test_any_bytes_can_be_counted(content: bytes, fields_max: int) -> None:
    assert protobuf_wire.has_more_fields(content, fields_max) in (False, True)


def test_a_number_without_end_is_no_work() -> None:
    assert not protobuf_wire.has_more_fields(b"\xff" * 10**6, 5)
