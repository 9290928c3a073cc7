"""Fields are judged before they are split, decoded or kept: by their size, their number, and who sends them."""

import contextlib
import sys
from base64 import b64decode
from collections.abc import Callable
from typing import Any

import pytest
from grpc import StatusCode
from hpack import Encoder
from hypothesis import given
from hypothesis import strategies as st

from fakes import Nobody
from skylane.server.core.errors import Unauthenticated
from skylane.server.core.token_scope import ANYONE, Grant
from skylane.server.grpc.http2 import request_fields
from skylane.server.grpc.http2.call_buffer import CallBuffer
from skylane.server.grpc.http2.frames import ConnectionFault
from skylane.server.grpc.http2.limits import Limits
from skylane.server.grpc.http2.request_fields import BINARY_VALUES_MAX, FIELDS_MAX, StreamFault
from skylane.server.grpc.http2.request_headers import HeaderCache
from support.h2 import HOT, STREAMED, Client, Ours, Recorder, fields_of

INBOX = CallBuffer(Recorder(), Nobody())
Fields = list[tuple[str, str]]


def made(grant_of: Callable[[str | None], Grant] = lambda _: ANYONE) -> HeaderCache:
    return HeaderCache({HOT: INBOX}.get, (HOT,).__contains__, grant_of, Limits().header_bytes)


def nobody(_: str | None) -> Grant:
    raise Unauthenticated("no token")


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Every value of base64 that is decoded."""
    values: list[bytes] = []

    def count(value: bytes) -> bytes:
        values.append(value)
        return b64decode(value)

    monkeypatch.setattr(request_fields, "b64decode", count)
    return values


MANY = ",".join(["AA"] * 1000)


@pytest.mark.parametrize(
    ("fields", "grant_of", "refused"),
    [
        pytest.param(
            fields_of(STREAMED, ("a-bin", MANY * 10)), ANYONE, StatusCode.RESOURCE_EXHAUSTED, id="too many bytes"
        ),
        pytest.param(
            fields_of(STREAMED, *[("a-bin", "AA")] * FIELDS_MAX), ANYONE, StatusCode.RESOURCE_EXHAUSTED,
            id="more fields than allowed",
        ),
        pytest.param(
            fields_of(STREAMED, ("a-bin", MANY)), ANYONE, StatusCode.RESOURCE_EXHAUSTED, id="one field of many values"
        ),
        pytest.param(
            fields_of(STREAMED, *[("a-bin", "AA,AA,AA")] * (BINARY_VALUES_MAX // 2)), ANYONE,
            StatusCode.RESOURCE_EXHAUSTED, id="many fields of a few values",
        ),
        pytest.param(fields_of(STREAMED, ("a-bin", "AA")), None, StatusCode.UNAUTHENTICATED, id="no token"),
        pytest.param(
            [(name, "text/plain" if name == "content-type" else value) for name, value in fields_of(STREAMED)]
            + [("a-bin", "AA")],
            ANYONE, StatusCode.UNKNOWN, id="not gRPC",
        ),
    ],
)  # fmt: skip
def test_nothing_is_decoded_of_a_request_that_is_refused(
    decoded: list[bytes], fields: Fields, grant_of: Grant | None, refused: StatusCode
) -> None:
    head = made(nobody if grant_of is None else lambda _: ANYONE).decode(Encoder().encode(fields))
    assert (head.refused, head.refusal is not None, decoded) == (refused, True, [])


def test_nothing_is_decoded_for_a_method_that_reads_no_metadata(decoded: list[bytes]) -> None:
    head = made().decode(Encoder().encode(fields_of(HOT, ("a-bin", "AA,AAE"), ("b", "text"))))
    assert (head.refusal, decoded, head.metadata) == (None, [], (("b", "text"),))


def test_what_a_service_reads_is_decoded_once(decoded: list[bytes]) -> None:
    head = made().decode(Encoder().encode(fields_of(STREAMED, ("a-bin", "AA,AAE"))))
    assert (head.metadata, len(decoded)) == ((("a-bin", b"\0"), ("a-bin", b"\0\1")), 2)


def steps_of(work: Callable[[], Any]) -> int:
    """Calls of functions, Python's and C's, that some work makes: a measure of it that no clock disturbs."""
    steps = 0

    def count(_: Any, event: str, __: Any) -> None:
        nonlocal steps
        steps += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(None)
    return steps


def named_again(value: str, times: int, name: str = "a-bin", path: str = STREAMED) -> bytes:
    """A block that names one large entry of the table many times, behind one that puts it there."""
    encoder = Encoder()
    first = encoder.encode(fields_of(path, (name, value)))
    again = encoder.encode(fields_of(path, *[(name, value)] * times))
    return len(first).to_bytes(4) + first + again


@pytest.mark.parametrize("path", [HOT, STREAMED])
@given(
    value=st.sampled_from([MANY, MANY[:3700], "A" * 3700, ",", "", ",".join("A" * 30)]),
    times=st.sampled_from([1, 4, 15, 100, 1000]),
    name=st.sampled_from(["a-bin", "a", "grpc-timeout", "x-request-id", "authorization"]),
)
def test_work_for_a_block_is_bounded_whatever_it_names(path: str, value: str, times: int, name: str) -> None:
    """Fields of 16 KiB that are taken, and 64 KiB that are decoded to be refused."""
    both = named_again(value, times, name, path)
    end = 4 + int.from_bytes(both[:4])
    heads, block = made(), both[end:]

    def decode() -> None:
        for part in (both[4:end], block):
            with contextlib.suppress(StreamFault, ConnectionFault):
                heads.decode(part)

    assert steps_of(decode) < 200 + 30 * FIELDS_MAX + 5 * len(both)


@pytest.mark.parametrize(
    ("fields", "is_reset"),
    [
        pytest.param(fields_of(HOT, ("A", "b")), True, id="a name in upper case"),
        pytest.param(fields_of(HOT, ("connection", "close")), True, id="a field of HTTP/1.1"),
        pytest.param(fields_of(HOT, ("a", "x" * 20_000)), False, id="too many bytes"),
        pytest.param(fields_of(HOT, *[("a", "b")] * FIELDS_MAX), False, id="too many fields"),
        pytest.param([(":method", "GET"), *fields_of(HOT)[1:]], False, id="a method that gRPC has not"),
        pytest.param([*fields_of(HOT)[:-2], ("content-type", "text/plain")], False, id="a type that gRPC has not"),
    ],
)
def test_requests_that_are_refused_for_their_fields_cost_patience(fields: Fields, is_reset: bool) -> None:
    ours, client = Ours(Limits(idle_frames=100)), Client()
    client.encoder.header_table_size = 0
    block = client.encoder.encode(fields, huffman=False)

    def flood() -> None:
        for stream_id in range(1, 1001, 2):
            ours.feed(client.headers(stream_id, block, ends=True))

    with pytest.raises(ConnectionFault, match="too many frames that bring no request"):
        flood()
    assert ("RST_STREAM" in {frame.kind.name for frame in ours.sent()}) is is_reset


def test_wrong_tokens_cost_patience() -> None:
    ours, client = Ours(Limits(idle_frames=100), grant_of=nobody), Client()
    with pytest.raises(ConnectionFault, match="too many frames that bring no request"):
        ours.feed(b"".join(client.head(stream_id, ends=True) for stream_id in range(1, 1001, 2)))
