"""What RFC 9113, RFC 7541 and gRPC's use of HTTP/2 demand of a server, kind by kind: the bytes, and what comes of them.

Each line is one connection. `taken`: the request is with its method; `alive`: nothing came of the bytes, and the
connection goes on; else how the stream or the connection ends.
"""

import gzip
import struct
from typing import Final

import pytest

from skylane.server.grpc.http2 import frames
from skylane.server.grpc.http2.frames import (
    ACK,
    END_HEADERS,
    END_STREAM,
    HAS_PRIORITY,
    PADDED,
    PREFACE,
    Code,
    ConnectionFault,
    Kind,
    Setting,
)
from skylane.server.grpc.http2.limits import Limits
from skylane.server.grpc.http2.response_headers import field
from support.h2 import HOT, STREAMED, Ours, message

PROTOCOL, SIZE, CLOSED, FLOW = "PROTOCOL_ERROR", "FRAME_SIZE_ERROR", "STREAM_CLOSED", "FLOW_CONTROL_ERROR"
COMPRESSION, CALM, REFUSED = "COMPRESSION_ERROR", "ENHANCE_YOUR_CALM", "REFUSED_STREAM"
TAKEN, ALIVE = "taken", "alive"


def ends(code: str) -> str:
    """The connection ends."""
    return f"GOAWAY {code}"


def resets(code: str) -> str:
    """The stream is reset."""
    return f"RST_STREAM {code}"


def grpc(status: int) -> str:
    """The call ends with this status."""
    return f"grpc-status {status}"


def http(status: int) -> str:
    """The request is answered as HTTP's."""
    return f":status {status}"


def outcome(said: bytes, hello: bytes) -> str:
    """What comes of these bytes."""
    ours = Ours(greeted=False)
    try:
        ours.feed(hello + said)
    except ConnectionFault as fault:
        return ends(fault.code.name)
    sent = ours.sent()
    assert all(frame.stream_id for frame in sent if frame.kind == Kind.RST_STREAM), "stream 0 is never reset"
    found = [resets(Code(frame.number).name) for frame in sent if frame.kind == Kind.RST_STREAM and frame.number]
    for frame in sent:
        said_back = ours.status(frame) if frame.kind == Kind.HEADERS else {}
        if said_back.get(":status", "200") != "200":
            found.append(http(int(said_back[":status"])))
        elif "grpc-status" in said_back:
            found.append(grpc(int(said_back["grpc-status"])))
    if found:
        return found[0]
    return TAKEN if ours.taken() or any(handler.messages for handler in ours.opened) else ALIVE


def frame(kind: int, flags: int, stream_id: int, payload: bytes = b"") -> bytes:
    return struct.pack(">I", len(payload))[1:] + bytes((kind, flags)) + struct.pack(">I", stream_id) + payload


def pseudo(path: str = HOT, *more: tuple[str, bytes]) -> bytes:
    """POST, http and a path, as literals that leave the table alone."""
    return b"\x83\x86" + field(":path", path.encode()) + b"".join(field(name, value) for name, value in more)


TYPE: Final = field("content-type", b"application/grpc")


def block(*more: tuple[str, str | bytes], path: str = HOT, kind: bytes = TYPE) -> bytes:
    """The fields of a request."""
    rest = [field(name, value.encode() if isinstance(value, str) else value) for name, value in more]
    return pseudo(path, (":authority", b"here")) + field("te", b"trailers") + kind + b"".join(rest)


HEAD: Final = block()
BODY: Final = message(b"a request")
OPEN: Final = frame(1, END_HEADERS, 1, HEAD)
RESET: Final = frame(3, 0, 1, frames.pack_u32(Code.CANCEL))
WIDE: Final = frames.pack_u32(2**31 - 1)
BAD_NAME: Final = b"\x00\x01A\x01b"


def request(stream_id: int = 1, head: bytes = HEAD, body: bytes = BODY) -> bytes:
    return frame(1, END_HEADERS, stream_id, head) + frame(0, END_STREAM, stream_id, body)


def with_fields(*more: tuple[str, str | bytes], path: str = HOT) -> bytes:
    return request(1, block(*more, path=path))


def settings(*pairs: tuple[int, int], flags: int = 0, stream_id: int = 0) -> bytes:
    return frame(4, flags, stream_id, b"".join(struct.pack(">HI", *pair) for pair in pairs))


WINDOW: Final = int(Setting.INITIAL_WINDOW_SIZE)
TRAILED: Final = OPEN + frame(0, 0, 1, BODY)
LAST: Final = END_HEADERS | END_STREAM


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        pytest.param(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", ends(PROTOCOL), id="3.4: HTTP/1.1"),
        pytest.param(b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n" + bytes(9), ends(PROTOCOL), id="3.4: a broken preface"),
        pytest.param(PREFACE + request(), ends(PROTOCOL), id="3.4: HEADERS before SETTINGS"),
        pytest.param(PREFACE + frame(6, 0, 0, bytes(8)), ends(PROTOCOL), id="3.4: PING before SETTINGS"),
        pytest.param(PREFACE + settings(flags=ACK), ends(PROTOCOL), id="3.4: an acknowledgement before SETTINGS"),
        pytest.param(PREFACE + settings() + request(), TAKEN, id="3.4: preface and SETTINGS"),
    ],
)
def test_beginnings(said: bytes, expected: str) -> None:
    assert outcome(said, b"") == expected


FRAMES = [
    pytest.param(frame(0x16, 0, 0, b"abc") + request(), TAKEN, id="4.1: a kind that is not known"),
    pytest.param(frame(6, 0xFE, 0, bytes(8)) + request(), TAKEN, id="4.1: flags that are not known"),
    pytest.param(frame(6, 0, 1 << 31, bytes(8)) + request(), TAKEN, id="4.1: the reserved bit"),
    pytest.param(OPEN + frame(0, 1, 1, message(bytes(16_379))), TAKEN, id="4.2: DATA of 16384 bytes"),
    pytest.param(OPEN + frame(0, 1, 1, bytes(16_385)), ends(SIZE), id="4.2: DATA of 16385 bytes"),
    pytest.param(frame(1, 4, 1, HEAD + b"\x90" * 16_385), ends(SIZE), id="4.2: HEADERS of more than 16384 bytes"),
    pytest.param(frame(1, 0, 1, HEAD) + frame(6, 0, 0, bytes(8)), ends(PROTOCOL), id="4.3: PING inside a block"),
    pytest.param(frame(1, 0, 1, HEAD) + frame(9, 4, 3), ends(PROTOCOL), id="4.3: another stream's CONTINUATION"),
    pytest.param(frame(1, 0, 1, HEAD) + frame(0x20, 0, 0), ends(PROTOCOL), id="5.5: an extension inside a block"),
    pytest.param(frame(0, 1, 0, BODY), ends(PROTOCOL), id="6.1: DATA on stream 0"),
    pytest.param(OPEN + frame(0, 9, 1, b"\x06abcde"), ends(PROTOCOL), id="6.1: padding as long as its frame"),
    pytest.param(OPEN + frame(0, 9, 1), ends(SIZE), id="6.1: padded DATA without a length"),
    pytest.param(OPEN + frame(0, 9, 1, b"\3" + BODY + bytes(3)), TAKEN, id="6.1: padded DATA"),
    pytest.param(frame(1, 0xD, 1, b"\xff" + HEAD), ends(PROTOCOL), id="6.2: padding longer than a head"),
    pytest.param(
        frame(1, END_HEADERS | PADDED | HAS_PRIORITY, 1, b"\2\0\0\0\0\x10" + HEAD + bytes(2)) + frame(0, 1, 1, BODY),
        TAKEN, id="6.2: a head with padding and priority",
    ),
    pytest.param(frame(1, 0x25, 1, bytes(3)), ends(PROTOCOL), id="6.2: half a priority in a head"),
    pytest.param(
        frame(1, 0x25, 1, b"\0\0\0\1\0" + HEAD), ends(PROTOCOL), id="5.3.1: a head whose stream depends on itself"
    ),
    pytest.param(frame(2, 0, 0, b"\0\0\0\0\1"), ends(PROTOCOL), id="6.3: PRIORITY on stream 0"),
    pytest.param(frame(2, 0, 1, bytes(4)), ends(SIZE), id="6.3: PRIORITY of 4 bytes"),
    pytest.param(frame(2, 0, 1, b"\0\0\0\1\1"), ends(PROTOCOL), id="5.3.1: a stream that depends on itself"),
    pytest.param(frame(2, 0, 1, b"\0\0\0\3\1") + request(), TAKEN, id="6.3: PRIORITY of an idle stream"),
    pytest.param(frame(3, 0, 0, bytes(4)), ends(PROTOCOL), id="6.4: RST_STREAM on stream 0"),
    pytest.param(OPEN + frame(3, 0, 1, bytes(3)), ends(SIZE), id="6.4: RST_STREAM of 3 bytes"),
    pytest.param(settings((1, 1), flags=ACK), ends(SIZE), id="6.5: an acknowledgement with settings"),
    pytest.param(settings((1, 1), stream_id=1), ends(PROTOCOL), id="6.5: SETTINGS on a stream"),
    pytest.param(frame(4, 0, 0, bytes(5)), ends(SIZE), id="6.5: SETTINGS of 5 bytes"),
    pytest.param(settings((2, 2)), ends(PROTOCOL), id="6.5.2: ENABLE_PUSH of 2"),
    pytest.param(settings((WINDOW, 1 << 31)), ends(FLOW), id="6.5.2: an initial window of 2^31"),
    pytest.param(settings((5, 16_383)), ends(PROTOCOL), id="6.5.2: a frame size of 16383"),
    pytest.param(settings((5, 1 << 24)), ends(PROTOCOL), id="6.5.2: a frame size of 2^24"),
    pytest.param(settings((0x99, 1)) + request(), TAKEN, id="6.5.2: a setting that is not known"),
    pytest.param(frame(5, 4, 1, b"\0\0\0\2" + HEAD), ends(PROTOCOL), id="6.6: PUSH_PROMISE"),
    pytest.param(frame(6, 1, 0, bytes(8)) + request(), TAKEN, id="6.7: an answer to no PING"),
    pytest.param(frame(6, 0, 1, bytes(8)), ends(PROTOCOL), id="6.7: PING on a stream"),
    pytest.param(frame(6, 0, 0, bytes(6)), ends(SIZE), id="6.7: PING of 6 bytes"),
    pytest.param(frame(7, 0, 1, bytes(8)), ends(PROTOCOL), id="6.8: GOAWAY on a stream"),
    pytest.param(frame(7, 0, 0, bytes(8)) + request(), TAKEN, id="6.8: a request after GOAWAY"),
    pytest.param(frame(7, 0, 0, bytes(4)), ends(SIZE), id="6.8: GOAWAY of 4 bytes"),
    pytest.param(frame(8, 0, 0, bytes(4)), ends(PROTOCOL), id="6.9: a window that grows by 0"),
    pytest.param(OPEN + frame(8, 0, 1, bytes(4)), ends(PROTOCOL), id="6.9: a stream's window that grows by 0"),
    pytest.param(frame(8, 0, 0, bytes(3)), ends(SIZE), id="6.9: WINDOW_UPDATE of 3 bytes"),
    pytest.param(frame(8, 0, 0, WIDE), ends(FLOW), id="6.9.1: the connection's window over 2^31 - 1"),
    pytest.param(OPEN + frame(8, 0, 1, WIDE), resets(FLOW), id="6.9.1: a stream's window over 2^31 - 1"),
    pytest.param(request() + frame(8, 0, 1, WIDE), resets(FLOW), id="6.9.1: the same while the request is under way"),
    pytest.param(
        OPEN + frame(8, 0, 1, b"\x7f\xff\0\0") + settings((WINDOW, 0x7FFF_FFFF)), ends(FLOW),
        id="6.9.2: a setting that takes a stream's window over 2^31 - 1",
    ),
    pytest.param(OPEN + frame(9, 4, 1), ends(PROTOCOL), id="6.10: CONTINUATION of a whole head"),
    pytest.param(
        frame(1, 0, 1, HEAD[:5]) + frame(9, 0, 1, HEAD[5:9]) + frame(9, 4, 1, HEAD[9:]) + frame(0, 1, 1, BODY), TAKEN,
        id="6.10: a head in three frames",
    ),
]  # fmt: skip

STREAMS = [
    pytest.param(frame(0, 1, 1, BODY), ends(PROTOCOL), id="5.1: DATA of an idle stream"),
    pytest.param(RESET, ends(PROTOCOL), id="5.1: RST_STREAM of an idle stream"),
    pytest.param(frame(8, 0, 1, b"\0\0\0\1"), ends(PROTOCOL), id="5.1: WINDOW_UPDATE of an idle stream"),
    pytest.param(frame(9, 4, 1, HEAD), ends(PROTOCOL), id="5.1: CONTINUATION of an idle stream"),
    pytest.param(request() + frame(0, 1, 1, BODY), resets(CLOSED), id="5.1: DATA after END_STREAM"),
    pytest.param(request() + frame(1, 5, 1, HEAD), ends(CLOSED), id="5.1: HEADERS after END_STREAM"),
    pytest.param(request() + frame(9, 4, 1, HEAD), ends(PROTOCOL), id="5.1: CONTINUATION after END_STREAM"),
    pytest.param(OPEN + RESET + frame(0, 1, 1, BODY), resets(CLOSED), id="5.1: DATA after the client's RST_STREAM"),
    pytest.param(OPEN + RESET + frame(1, 5, 1, HEAD), ends(CLOSED), id="5.1: HEADERS after the client's RST_STREAM"),
    pytest.param(OPEN + RESET + frame(8, 0, 1, b"\0\0\0\1"), ALIVE, id="5.1: WINDOW_UPDATE of a closed stream"),
    pytest.param(OPEN + RESET + RESET, ALIVE, id="5.1: RST_STREAM of a closed stream"),
    pytest.param(request(2), ends(PROTOCOL), id="5.1.1: an even stream"),
    pytest.param(frame(1, 5, 2, HEAD + BAD_NAME), ends(PROTOCOL), id="5.1.1: an even stream, malformed"),
    pytest.param(request(5) + request(3), ends(CLOSED), id="5.1.1: a number that goes back"),
    pytest.param(request(5) + frame(1, 5, 3, HEAD + BAD_NAME), ends(CLOSED), id="5.1.1: the same, malformed"),
    pytest.param(frame(1, 5, 0, HEAD), ends(PROTOCOL), id="5.1.1: HEADERS on stream 0"),
    pytest.param(frame(1, 5, 0, HEAD + BAD_NAME), ends(PROTOCOL), id="5.1.1: the same, malformed"),
    pytest.param(
        b"".join(frame(1, 4, 1 + 2 * number, HEAD) for number in range(Limits().streams + 1)), resets(REFUSED),
        id="5.1.2: one stream more than allowed",
    ),
]  # fmt: skip

HPACK = [
    pytest.param(b"\xff\xff\xff\x0f", ends(COMPRESSION), id="7541 2.3.3: an entry beyond the table"),
    pytest.param(b"\x80", ends(COMPRESSION), id="7541 6.1: entry 0"),
    pytest.param(b"\xbe", ends(COMPRESSION), id="7541 6.1: an entry of an empty table"),
    pytest.param(b"\x00\x05ab", ends(COMPRESSION), id="7541 5.2: a string that is cut off"),
    pytest.param(b"\x20", ends(COMPRESSION), id="7541 4.2: a new table size behind a field"),
    pytest.param(b"\x00\x83\xf2\xb2\x40\x01a", ends(COMPRESSION), id="7541 5.2: padding of zeros"),
    pytest.param(b"\x00\x82\x1f\xff\x01a", ends(COMPRESSION), id="7541 5.2: padding of 8 bits or more"),
    pytest.param(b"\x00\x88\xf2\xb2\x4a\x87\xff\xff\xff\xf0\x01a", ends(COMPRESSION), id="7541 5.2: EOS in a string"),
    pytest.param(b"\x7f" + b"\xff" * 7 + b"\x7f", ends(COMPRESSION), id="7541 5.1: a number that is too large"),
    pytest.param(field("a", bytes(70_000)), ends(CALM), id="10.5.1: far too many bytes in one block"),
]

FIELDS = [
    pytest.param(("X-A", "b"), resets(PROTOCOL), id="8.2.1: a name in upper case"),
    pytest.param(("a", "b\0c"), resets(PROTOCOL), id="8.2.1: NUL in a value"),
    pytest.param(("a", "b\r\nc: d"), resets(PROTOCOL), id="8.2.1: a line break in a value"),
    pytest.param(("grpc-timeout", "1S\nx"), resets(PROTOCOL), id="8.2.1: a line break in grpc-timeout"),
    pytest.param(("a", " b "), TAKEN, id="8.2.1: spaces around a value, which gRPC allows"),
    pytest.param(("", "b"), resets(PROTOCOL), id="8.2.1: an empty name"),
    pytest.param(("a:b", "b"), resets(PROTOCOL), id="8.2.1: a colon in a name"),
    pytest.param(("a b", "b"), resets(PROTOCOL), id="8.2.1: a space in a name"),
    pytest.param(("connection", "close"), resets(PROTOCOL), id="8.2.2: connection"),
    pytest.param(("proxy-connection", "close"), resets(PROTOCOL), id="8.2.2: proxy-connection"),
    pytest.param(("transfer-encoding", "chunked"), resets(PROTOCOL), id="8.2.2: transfer-encoding"),
    pytest.param(("keep-alive", "1"), resets(PROTOCOL), id="8.2.2: keep-alive"),
    pytest.param(("upgrade", "h2c"), resets(PROTOCOL), id="8.2.2: upgrade"),
    pytest.param(("te", "gzip"), resets(PROTOCOL), id="8.2.2: te but for trailers"),
    pytest.param((":path", "/"), resets(PROTOCOL), id="8.3: a pseudo field behind others"),
    pytest.param(("content-length", "3"), resets(PROTOCOL), id="8.1.1: a content-length too small"),
    pytest.param(("content-length", "30000"), resets(PROTOCOL), id="8.1.1: a content-length too large"),
    pytest.param(("content-length", "x"), resets(PROTOCOL), id="8.1.1: a content-length that is no number"),
    pytest.param(("content-length", "-1"), resets(PROTOCOL), id="8.1.1: a negative content-length"),
    pytest.param(("content-length", str(len(BODY))), TAKEN, id="8.1.1: the right content-length"),
    pytest.param(("cookie", "a=b"), TAKEN, id="8.2.3: a cookie"),
    pytest.param(("grpc-encoding", "gzip"), TAKEN, id="gRPC: an encoding that is not used"),
    pytest.param(("grpc-timeout", "0n"), TAKEN, id="gRPC: no time at all, for the engine to tell"),
    pytest.param(("grpc-timeout", "-1S"), TAKEN, id="gRPC: a negative timeout is none"),
    pytest.param(("grpc-timeout", "99999999H"), TAKEN, id="gRPC: the longest timeout"),
    pytest.param(("grpc-timeout", "999999999S"), TAKEN, id="gRPC: nine digits are no timeout"),
    pytest.param(("a-bin", "!!!"), resets(PROTOCOL), id="gRPC: bytes that are not base64"),
    pytest.param(("a-bin", "AAE"), TAKEN, id="gRPC: base64 without padding"),
    pytest.param(("a", "b" * 17_000), grpc(8), id="gRPC: metadata of 17 KiB"),
]


def request_of(head: bytes) -> bytes:
    """A whole request, its head in as many frames as it takes."""
    first, *rest = [head[at : at + 16_000] for at in range(0, len(head), 16_000)]
    frames_of = [frame(1, 0 if rest else END_HEADERS, 1, first)]
    frames_of += [frame(9, 0 if part is not rest[-1] else END_HEADERS, 1, part) for part in rest]
    return b"".join(frames_of) + frame(0, END_STREAM, 1, BODY)


MESSAGES = [
    pytest.param(TRAILED + frame(1, END_HEADERS, 1, field("a", b"b")), resets(PROTOCOL), id="8.1: a second head"),
    pytest.param(TRAILED + frame(1, LAST, 1, field(":path", b"/")), resets(PROTOCOL), id="8.1: a pseudo trailer"),
    pytest.param(TRAILED + frame(1, LAST, 1, BAD_NAME), resets(PROTOCOL), id="8.1: a trailer in upper case"),
    pytest.param(TRAILED + frame(1, LAST, 1, field("a", b"\n")), resets(PROTOCOL), id="8.1: a line break in a trailer"),
    pytest.param(TRAILED + frame(1, LAST, 1, field("a", b"x")), TAKEN, id="8.1: trailers"),
    pytest.param(TRAILED + frame(1, LAST, 1), TAKEN, id="8.1: trailers without a field"),
    pytest.param(
        request(1, HEAD + field("content-length", b"%d" % len(BODY)) + field("content-length", b"3")), resets(PROTOCOL),
        id="8.1.1: two values of content-length",
    ),
    pytest.param(with_fields(path="/a\r\nb"), resets(PROTOCOL), id="8.2.1: a line break in :path"),
    pytest.param(
        request(1, pseudo(HOT, (":authority", b"a\r\nb")) + TYPE), resets(PROTOCOL), id="8.2.1: one in :authority"
    ),
    pytest.param(request(1, pseudo(HOT, (":foo", b"b")) + TYPE), resets(PROTOCOL), id="8.3: a pseudo field unknown"),
    pytest.param(request(1, pseudo(HOT, (":status", b"200")) + TYPE), resets(PROTOCOL), id="8.3: one of responses"),
    pytest.param(
        request(1, b"\x83" + field("a", b"b") + b"\x86" + field(":path", HOT.encode()) + TYPE), resets(PROTOCOL),
        id="8.3: a pseudo field between others",
    ),
    pytest.param(request(1, b"\x83" + HEAD), resets(PROTOCOL), id="8.3: :method twice"),
    pytest.param(with_fields(path=""), resets(PROTOCOL), id="8.3.1: an empty :path"),
    pytest.param(with_fields(path="x"), resets(PROTOCOL), id="8.3.1: a :path without its slash"),
    pytest.param(request(1, b"\x86" + field(":path", b"/x") + TYPE), resets(PROTOCOL), id="8.3.1: no :method"),
    pytest.param(request(1, b"\x83" + field(":path", b"/x") + TYPE), resets(PROTOCOL), id="8.3.1: no :scheme"),
    pytest.param(request(1, b"\x83\x86" + TYPE), resets(PROTOCOL), id="8.3.1: no :path"),
    pytest.param(request(1, pseudo() + TYPE), TAKEN, id="8.3.1: no :authority"),
    pytest.param(request(1, block(path="/a\xff/C")), resets(PROTOCOL), id="8.3.1: a path that is not ASCII"),
    pytest.param(request(1, b"\x82" + HEAD[1:]), http(405), id="gRPC: GET"),
    pytest.param(request(1, field(":method", b"PUT") + HEAD[1:]), http(405), id="gRPC: PUT"),
    pytest.param(request(1, block(kind=b"")), http(415), id="gRPC: no content-type"),
    pytest.param(request(1, block(kind=field("content-type", b"text/x"))), http(415), id="gRPC: another content-type"),
    pytest.param(
        request(1, block(kind=field("content-type", b"application/grpc-web"))), http(415), id="gRPC: gRPC-Web's"
    ),
    pytest.param(
        request(1, block(kind=field("content-type", b"application/grpc+proto"))), TAKEN, id="gRPC: with the codec"
    ),
    pytest.param(request(1, pseudo() + TYPE), TAKEN, id="gRPC: without te"),
    pytest.param(request(body=b""), grpc(13), id="gRPC: no message"),
    pytest.param(frame(1, LAST, 1, HEAD), grpc(13), id="gRPC: no DATA"),
    pytest.param(request(body=bytes(4)), grpc(13), id="gRPC: four bytes of a prefix"),
    pytest.param(request(body=b"\0\0\0\0\x09abc"), grpc(13), id="gRPC: a message that is cut off"),
    pytest.param(request(body=BODY + BODY), grpc(13), id="gRPC: two messages of a unary call"),
    pytest.param(request(body=message(b"abc", 1)), grpc(13), id="gRPC: compressed without saying how"),
    pytest.param(request(body=message(b"abc", 2)), grpc(13), id="gRPC: a prefix that begins with 2"),
    pytest.param(
        request(1, block(("grpc-encoding", "br")), message(b"abc", 1)), grpc(12), id="gRPC: an encoding unknown"
    ),
    pytest.param(request(1, block(("grpc-encoding", "gzip")), message(b"abc", 1)), grpc(13), id="gRPC: broken gzip"),
    pytest.param(
        request(1, block(("grpc-encoding", "gzip")), message(gzip.compress(b"abc"), 1)), TAKEN, id="gRPC: gzip"
    ),
    pytest.param(
        request(1, block(("grpc-encoding", "gzip")), message(gzip.compress(bytes(2**20)), 1)), grpc(8),
        id="gRPC: gzip that unpacks to a thousand times its size",
    ),
    pytest.param(OPEN + frame(0, 0, 1, b"\0\xff\xff\xff\xff"), grpc(8), id="gRPC: a message of 4 GiB"),
    pytest.param(with_fields(path=STREAMED), TAKEN, id="gRPC: a method that is passed on"),
    pytest.param(
        with_fields(("content-length", "3"), path=STREAMED), resets(PROTOCOL), id="8.1.1: the same, streamed"
    ),
]  # fmt: skip


@pytest.mark.parametrize(("said", "expected"), [*FRAMES, *STREAMS, *MESSAGES])
def test_frames(said: bytes, expected: str) -> None:
    assert outcome(said, PREFACE + settings()) == expected


@pytest.mark.parametrize(("more", "expected"), HPACK)
def test_compression(more: bytes, expected: str) -> None:
    assert outcome(request_of(HEAD + more), PREFACE + settings()) == expected


@pytest.mark.parametrize(("more", "expected"), FIELDS)
def test_fields(more: tuple[str, str], expected: str) -> None:
    assert outcome(request_of(block(more)), PREFACE + settings()) == expected


@pytest.mark.parametrize("size", [b"\x3f\xe2\x1f", b"\x3f\xff\xff\x7f"])
def test_a_table_larger_than_allowed_ends_the_connection(size: bytes) -> None:
    assert outcome(request(1, size + HEAD), PREFACE + settings()) == ends(COMPRESSION)


def test_a_ping_is_answered_with_its_bytes() -> None:
    ours = Ours()
    ours.feed(frame(6, 0, 0, b"abcdefgh"))
    assert [(each.kind, each.flags, each.payload) for each in ours.sent()] == [(Kind.PING, ACK, b"abcdefgh")]


@pytest.mark.parametrize(
    ("said", "sizes"),
    [
        pytest.param(settings((WINDOW, 100), (WINDOW, 1)), [1], id="the last of two values holds"),
        pytest.param(settings((WINDOW, 0)), [], id="no window, no DATA"),
        pytest.param(settings((WINDOW, 0)) + settings((WINDOW, 1)), [1], id="a window that opens"),
    ],
)
def test_settings_are_acknowledged_and_hold(said: bytes, sizes: list[int]) -> None:
    ours = Ours()
    ours.feed(said + request())
    ours.connection.streams.answer(1, b"reply")
    sent = ours.sent()
    assert (sent[0].kind, sent[0].flags) == (Kind.SETTINGS, ACK)
    assert [len(each.payload) for each in sent if each.kind == Kind.DATA] == sizes


@pytest.mark.parametrize(
    ("said", "is_early"),
    [
        pytest.param(frame(1, LAST, 1, b"\x82" + HEAD[1:]), False, id="a GET"),
        pytest.param(request(1, block(kind=b"")), False, id="a POST of something else"),
        pytest.param(
            frame(1, 4, 1, block(kind=b"")) + b"".join(frame(0, 0, 1, bytes(16_384)) for _ in range(5)), True,
            id="a POST that goes on",
        ),
    ],
)  # fmt: skip
def test_what_is_not_grpc_is_explained_in_words_when_it_ends(said: bytes, is_early: bool) -> None:
    """Within the client's windows, as any answer; a long one is not waited for."""
    ours = Ours()
    ours.feed(settings((WINDOW, 10)) + said)
    ours.sent()
    ours.feed(frame(8, 0, 1, b"\0\0\1\0"))
    *text, end = [each for each in ours.sent() if each.kind != Kind.WINDOW_UPDATE]
    if is_early:
        assert (end.kind, end.number) == (Kind.RST_STREAM, Code.NO_ERROR)
        *text, end = text
    assert (end.ends, b"gRPC" in b"".join(each.payload for each in text)) == (True, True)
    assert not ours.connection.busy
