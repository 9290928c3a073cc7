"""Both ends of an HTTP/2 connection without sockets: one of ours, and frames made and read by hand."""

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from hpack import Decoder, Encoder

from fakes import Nobody
from skylane.server.core.errors import MessageTooLarge
from skylane.server.core.token_scope import ANYONE, Grant
from skylane.server.core.types import Call, Sink
from skylane.server.grpc.http2 import frames
from skylane.server.grpc.http2.call_buffer import CallBuffer
from skylane.server.grpc.http2.connection import Connection
from skylane.server.grpc.http2.frames import ACK, END_HEADERS, END_STREAM, Kind
from skylane.server.grpc.http2.limits import Budget, Limits, Places
from skylane.server.grpc.http2.request_headers import RequestHeaders
from skylane.server.grpc.http2.services import OpenStream, Services

HOT: Final = "/test.Service/Hot"
STREAMED: Final = "/test.Service/Streamed"

Fields = list[tuple[str, str]]


def fields_of(path: str = HOT, *more: tuple[str, str]) -> Fields:
    """What a client says before its message."""
    pseudo = [(":method", "POST"), (":scheme", "http"), (":path", path), (":authority", "here")]
    return [*pseudo, ("content-type", "application/grpc"), ("te", "trailers"), *more]


def message(content: bytes, compressed: int = 0) -> bytes:
    """A message of gRPC with its prefix."""
    return struct.pack(">BI", compressed, len(content)) + content


@dataclass(frozen=True)
class Frame:
    """One frame that was sent."""

    kind: Kind
    flags: int
    stream_id: int
    payload: bytes

    @property
    def ends(self) -> bool:
        """Whether nothing more comes on its stream."""
        return bool(self.flags & END_STREAM) and self.kind in (Kind.DATA, Kind.HEADERS)

    @property
    def number(self) -> int:
        """What a RST_STREAM or WINDOW_UPDATE says."""
        return int.from_bytes(self.payload)


def frames_in(data: bytes) -> list[Frame]:
    """All frames of these bytes, which must be whole."""
    found, position = [], 0
    while position < len(data):
        high, low, kind, flags, stream_id = frames.read_head(data, position)
        end = position + frames.HEAD_BYTES + (high << 8 | low)
        assert end <= len(data), "a frame is cut off"
        found.append(Frame(Kind(kind), flags, stream_id, data[position + frames.HEAD_BYTES : end]))
        position = end
    return found


class Client:
    """Makes the bytes of one client."""

    PREFACE = frames.PREFACE + frames.settings({})

    def __init__(self) -> None:
        self.encoder = Encoder()

    def head(self, stream_id: int, path: str = HOT, *more: tuple[str, str], ends: bool = False) -> bytes:
        """A HEADERS frame."""
        block = self.encoder.encode(fields_of(path, *more), huffman=False)
        return frames.frame(Kind.HEADERS, END_HEADERS | (END_STREAM if ends else 0), stream_id, block)

    def headers(self, stream_id: int, block: bytes, *, ends: bool = False) -> bytes:
        """A block in as many frames as it takes."""
        first, rest = block[: frames.FRAME_BYTES_MAX], block[frames.FRAME_BYTES_MAX :]
        kind, flags = Kind.HEADERS, END_STREAM if ends else 0
        said = b""
        while rest:
            said += frames.frame(kind, flags, stream_id, first)
            first, rest = rest[: frames.FRAME_BYTES_MAX], rest[frames.FRAME_BYTES_MAX :]
            kind, flags = Kind.CONTINUATION, 0
        return said + frames.frame(kind, flags | END_HEADERS, stream_id, first)

    def data(self, stream_id: int, payload: bytes, *, ends: bool = True) -> bytes:
        """DATA frames, as many as it takes."""
        pieces = [payload[at : at + frames.FRAME_BYTES_MAX] for at in range(0, len(payload), frames.FRAME_BYTES_MAX)]
        *first, last = pieces or [b""]
        return b"".join(frames.frame(Kind.DATA, 0, stream_id, piece) for piece in first) + frames.frame(
            Kind.DATA, END_STREAM if ends else 0, stream_id, last
        )

    def request(self, stream_id: int, content: bytes = b"request", path: str = HOT) -> bytes:
        """A whole unary request."""
        return self.head(stream_id, path) + self.data(stream_id, message(content))


class Recorder:
    """An intake that keeps what comes."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.payloads: list[bytes] = []

    def take(self, calls: Sequence[Call], payloads: Sequence[bytes], sink: Sink) -> None:
        """See BatchedMethod."""
        self.calls += calls
        self.payloads += payloads

    def too_large(self, size: int) -> MessageTooLarge:
        """See BatchedMethod."""
        return MessageTooLarge(f"{size} bytes")


@dataclass
class RecordedStream:
    """A request for a method that is not batched."""

    stream_id: int
    headers: RequestHeaders
    messages: list[bytes] = field(default_factory=list)
    is_half_closed: bool = False
    is_cancelled: bool = False
    busy: bool = True

    def message(self, message: bytes) -> None:
        """See StreamHandler."""
        assert not self.is_half_closed
        self.messages.append(message)

    def half_close(self) -> None:
        """See StreamHandler."""
        assert not self.is_half_closed
        self.is_half_closed = True

    def cancel(self) -> None:
        """See StreamHandler."""
        self.is_cancelled = True


class Ours:
    """A connection under test, and what it heard and said."""

    def __init__(
        self,
        limits: Limits | None = None,
        budget: Budget | None = None,
        *,
        greeted: bool = True,
        grant_of: Callable[[str | None], Grant] | None = None,
        places: Places | None = None,
        open_stream: OpenStream | None = None,
    ) -> None:
        """`places`: those of the methods that are passed on; `open_stream`: to where, if not to a record."""
        limits = limits or Limits()
        self.opened: list[RecordedStream] = []
        self.recorder, self.budget = Recorder(), budget or Budget(limits.partial_bytes)
        self.call_buffer = CallBuffer(self.recorder, Nobody())
        services = Services(
            {HOT: self.call_buffer},
            open_stream or self._open,
            (HOT,).__contains__,
            grant_of or _anyone,
            Nobody(),
            limits,
            self.budget,
            place_of=lambda _: places,
        )
        self.connection = Connection(services)
        self._decoder = Decoder()
        if greeted:
            self.feed(Client.PREFACE)
            self.sent()

    def feed(self, data: bytes, now: float = 0.0) -> None:
        """The client sent this."""
        self.connection.feed(data, now)

    def taken(self) -> list[tuple[int, bytes]]:
        """(stream, message) of the calls that have come since it was asked last."""
        calls, payloads = self.call_buffer.calls, self.call_buffer.payloads
        self.call_buffer.calls, self.call_buffer.payloads = [], []
        return [(call.handle[1], payload) for call, payload in zip(calls, payloads, strict=True)]

    def sent(self) -> list[Frame]:
        """What it has said since it was asked last."""
        data = b"".join(self.connection.send_buffer.frames)
        self.connection.send_buffer.frames.clear()
        return frames_in(data)

    def status(self, frame: Frame) -> dict[str, str]:
        """The fields of a HEADERS frame."""
        assert frame.kind == Kind.HEADERS
        return {str(name): str(value) for name, value in self._decoder.decode(frame.payload)}

    def _open(self, connection: Connection, stream_id: int, headers: RequestHeaders) -> RecordedStream:
        stream = RecordedStream(stream_id, headers)
        self.opened.append(stream)
        return stream


def _anyone(_: str | None) -> Grant:
    return ANYONE


SETTINGS_ACK: Final = frames.frame(Kind.SETTINGS, ACK, 0)
