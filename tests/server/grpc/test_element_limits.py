"""The elements of lists in a compressed message are counted before a Python object is made of one."""

import zlib
from collections.abc import Callable

import pytest

from fakes import RecordingSink
from skylane.server.codecs import protobuf_wire as wire
from skylane.server.codecs.element_limits import (
    ELEMENTS_FREE,
    ELEMENTS_PER_BYTE_MAX,
    LENGTH_PREFIXED_WEIGHT,
    UnpackedMessage,
)
from skylane.server.codecs.oip import requests as oip
from skylane.server.codecs.request_templates import TemplatingDecoder
from skylane.server.codecs.skylane_v1 import requests as skylane_v1
from skylane.server.codecs.tfs import requests as tfs
from skylane.server.codecs.tfs.messages import NUMBER_OF, VALUES_OF, TensorProto
from skylane.server.core.errors import MessageTooLarge, ServingError
from skylane.server.core.rejection_counter import RejectionCounter
from skylane.server.core.types import Call
from skylane.server.grpc.http2.messages import UNPACKED_TIMES_MAX, Assembler, message_too_large

Make = Callable[[int], bytes]
"""Number of elements → a request with a list of so many."""

DECODERS: dict[str, Callable[[], TemplatingDecoder]] = {
    "skylane.v1": lambda: skylane_v1.RequestDecoder(RejectionCounter()),
    "Open Inference": lambda: oip.InferDecoder(lambda: 0.0, RejectionCounter()),
    "TensorFlow": lambda: tfs.PredictDecoder(RejectionCounter()),
}
GROUPS = [(skylane_v1, "MessageAsk"), (oip, "InferAsk"), (tfs, "PredictAsk")]
"""What makes objects of the elements."""


def tensor(content: bytes, dtype: int, elements: int) -> bytes:
    shape = wire.field(3, wire.packed([elements]))
    return wire.field(1, b"m") + wire.field(4, wire.field(1, b"x") + bytes([0x10, dtype]) + shape + content)


def column(field: int, values: bytes, missing: bytes = b"") -> bytes:
    return wire.field(1, b"m") + wire.field(5, wire.field(1, b"x") + wire.field(field, values) + missing)


def infer(datatype: bytes, contents: bytes, elements: int, raw: bytes = b"") -> bytes:
    shape = wire.field(3, wire.packed([elements]))
    inputs = wire.field(5, wire.field(1, b"x") + wire.field(2, datatype) + shape + wire.field(5, contents))
    return wire.field(1, b"m") + inputs + raw


def tensorflow(dtype: int, content: bytes, elements: int) -> bytes:
    shape = wire.field(2, wire.field(2, b"\x08" + wire.varint(elements)))
    value = bytes([0x08, dtype]) + shape + content
    return wire.field(1, wire.field(1, b"m")) + wire.field(2, wire.field(1, b"x") + wire.field(2, value))


LISTS: list[tuple[str, str, Make]] = [
    ("skylane.v1", "empty strings of a tensor", lambda n: tensor(b"\x2a\x00" * n, 13, n)),
    ("skylane.v1", "strings of a letter", lambda n: tensor(b"\x2a\x01a" * n, 13, n)),
    ("skylane.v1", "sizes of a shape", lambda n: tensor(wire.field(3, b"\x01" * n), 11, 1)),
    ("skylane.v1", "doubles", lambda n: column(2, wire.field(1, bytes(8 * n)))),
    ("skylane.v1", "packed integers", lambda n: column(3, wire.field(1, b"\x01" * n))),
    ("skylane.v1", "integers that are not packed", lambda n: column(3, b"\x08\x01" * n)),
    ("skylane.v1", "integers in many packed fields", lambda n: column(3, wire.field(1, b"\x01") * n)),
    ("skylane.v1", "strings of a column", lambda n: column(4, b"\x0a\x00" * n)),
    ("skylane.v1", "bools", lambda n: column(5, wire.field(1, b"\x01" * n))),
    ("skylane.v1", "rows that are missing", lambda n: column(5, b"", wire.field(6, b"\x01" * n))),
    *(
        (
            "Open Inference",
            f"{name.decode()} in contents",
            lambda n, d=name, f=field, v=value: infer(d, wire.field(f, v * n), n),
        )
        for name, field, value in [
            (b"BOOL", 1, b"\x01"),
            (b"INT8", 2, b"\x01"),
            (b"INT64", 3, b"\x01"),
            (b"UINT8", 4, b"\x01"),
            (b"UINT64", 5, b"\x01"),
            (b"FP32", 6, bytes(4)),
            (b"FP64", 7, bytes(8)),
        ]
    ),
    ("Open Inference", "strings in contents", lambda n: infer(b"BYTES", b"\x42\x00" * n, n)),
    *(
        (
            "TensorFlow",
            f"a list of {dtype}",
            lambda n, d=dtype, v=value: tensorflow(
                NUMBER_OF[d], wire.field(TensorProto.DESCRIPTOR.fields_by_name[VALUES_OF[d]].number, v * n), n
            ),
        )
        for dtype, value in [
            ("float32", bytes(4)),
            ("float64", bytes(8)),
            ("int32", b"\x01"),
            ("int64", b"\x01"),
            ("bool", b"\x01"),
            ("float16", b"\x01"),
            ("uint32", b"\x01"),
            ("uint64", b"\x01"),
        ]
    ),
    ("TensorFlow", "strings", lambda n: tensorflow(7, wire.field_head(8, 0) * n, n)),
]
LISTED = pytest.mark.parametrize(
    ("protocol", "make"), [pytest.param(each, make, id=f"{each}: {what}") for each, what, make in LISTS]
)
WIRE_BYTES = ELEMENTS_FREE
"""Of a message that may have ELEMENTS_PER_BYTE_MAX times as many elements."""
ALLOWED = ELEMENTS_PER_BYTE_MAX * WIRE_BYTES


def outcome(protocol: str, payload: bytes) -> ServingError | None:
    """What the decoder refuses a request with."""
    sink = RecordingSink()
    if DECODERS[protocol]().decode([Call(None, sink)], [payload], sink):
        return None
    ((_, error),) = sink.got
    assert isinstance(error, ServingError)
    return error


@LISTED
@pytest.mark.parametrize(("wire_bytes", "allowed"), [(WIRE_BYTES, ALLOWED), (10, ELEMENTS_FREE)])
def test_more_elements_than_a_compressed_message_may_have_are_refused_before_objects_are_made(
    protocol: str, make: Make, wire_bytes: int, allowed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module, name in GROUPS:
        monkeypatch.setattr(module, name, None)
    error = outcome(protocol, UnpackedMessage(make(allowed + 1), wire_bytes))
    assert isinstance(error, MessageTooLarge)
    assert f"of {wire_bytes} bytes may have {allowed}; send it with less compression" in str(error)


@LISTED
def test_as_many_elements_as_allowed_are_no_reason(protocol: str, make: Make) -> None:
    assert not isinstance(outcome(protocol, UnpackedMessage(make(ALLOWED - 2), WIRE_BYTES)), MessageTooLarge)


@LISTED
def test_a_message_that_was_not_compressed_may_have_any_number(protocol: str, make: Make) -> None:
    assert not isinstance(outcome(protocol, make(ALLOWED + 1)), MessageTooLarge)


NUMBERS = 10 * ALLOWED
RAW = [
    pytest.param("skylane.v1", tensor(wire.field(4, bytes(4 * NUMBERS)), 11, NUMBERS), id="data"),
    pytest.param("Open Inference", infer(b"FP32", b"", NUMBERS, wire.field(7, bytes(4 * NUMBERS))), id="raw contents"),
    pytest.param("TensorFlow", tensorflow(1, wire.field(4, bytes(4 * NUMBERS)), NUMBERS), id="tensor_content"),
]


@pytest.mark.parametrize(("protocol", "payload"), RAW)
def test_numbers_in_one_piece_do_not_count(protocol: str, payload: bytes) -> None:
    assert outcome(protocol, UnpackedMessage(payload, WIRE_BYTES)) is None


def test_strings_among_raw_bytes_count_by_what_they_cost() -> None:
    count = ALLOWED // LENGTH_PREFIXED_WEIGHT
    for elements, refused in ((count - 1, False), (count + 1, True)):
        payload = infer(b"BYTES", b"", elements, wire.field(7, bytes(4 * elements)))
        error = outcome("Open Inference", UnpackedMessage(payload, WIRE_BYTES))
        assert isinstance(error, MessageTooLarge) == refused


def test_a_message_that_is_unpacked_knows_its_size_as_it_was_received() -> None:
    packed = zlib.compress(bytes(UNPACKED_TIMES_MAX))
    assembler = Assembler("deflate", 2**20, message_too_large)
    (unpacked,) = assembler.feed(b"\x01" + len(packed).to_bytes(4, "big") + packed)
    assert isinstance(unpacked, UnpackedMessage)
    assert (unpacked, unpacked.wire_bytes) == (bytes(UNPACKED_TIMES_MAX), len(packed))
