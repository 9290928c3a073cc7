"""A client's end of gRPC over HTTP/2, as cheap as Python allows: what `skylane.bench.client` sends and receives with.

grpcio's client costs several times what the server under test costs, so that it could neither overload one nor keep one
busy. This one sends bytes made once, asks for no table of header fields, and decodes each different answer's fields
once. It knows no sockets and no clock. Not for services: it trusts its server.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Final

from hpack import Decoder

from skylane.bench.workload.http2 import greeting, request_headers
from skylane.server.grpc.http2 import frames
from skylane.server.grpc.http2.frames import ACK, END_HEADERS, END_STREAM, FRAME_BYTES_MAX, HEAD_BYTES, Kind, Setting
from skylane.server.grpc.http2.response_headers import field

CANCELLED: Final = 1
UNKNOWN: Final = 2
"""grpc-status of an answer without one."""


@dataclass(slots=True)
class Reply:
    """The answer to one request."""

    tag: int
    """As it was given to `send`."""
    status: int = UNKNOWN
    """grpc-status: 0 is OK."""
    body_bytes: int = 0
    """Of DATA, gRPC's five bytes in front included."""


def new_traces(recorded: float, rng: Random) -> Iterator[bytes]:
    """A `traceparent` for each request, each of a trace of its own. `recorded`: the share whose parent is recorded."""
    while True:
        yield b"00-%032x-%016x-%02x" % (rng.getrandbits(128), rng.getrandbits(64), rng.random() < recorded)


class Connection:
    """One connection. Bytes for the peer gather in `out`."""

    def __init__(
        self,
        authority: str,
        path: str,
        timeout_s: float | None = None,
        *,
        token: str = "",
        tls: bool = False,
        traces: Iterator[bytes] | None = None,
    ) -> None:
        """`timeout_s`, a bearer `token` and the next `traceparent` of `traces` are sent with each request."""
        self._head = request_headers(path, authority=authority, https=tls)
        if timeout_s is not None:
            self._head += field("grpc-timeout", b"%dm" % round(timeout_s * 1000))
        if token:
            self._head += field("authorization", f"Bearer {token}".encode())
        self._traces = traces
        self.out = bytearray(greeting())
        self.in_flight: dict[int, Reply] = {}
        self.greeted = False
        """Whether the server has sent its settings; to send before is allowed, but its windows are small."""
        self.closing = False
        """Whether the server wants no more requests here."""
        self._next_stream = 1
        self._rest = b""
        self._window, self._window_of_streams = frames.WINDOW_DEFAULT, frames.WINDOW_DEFAULT
        self._windows: dict[int, int] = {}
        """Stream → what may still be sent on it, of those whose body is not out."""
        self._unsent: deque[tuple[int, bytes]] = deque()
        self._decoder = Decoder()
        self._statuses: dict[bytes, int | None] = {}
        """Header block → the grpc-status in it."""
        self._received = 0
        """Bytes of DATA since the connection's window was refilled."""

    def send(self, tag: int, body: bytes) -> None:
        """One request: a message with gRPC's prefix."""
        stream_id = self._next_stream
        self._next_stream += 2
        self.in_flight[stream_id] = Reply(tag)
        head = self._head if self._traces is None else self._head + field("traceparent", next(self._traces))
        self.out += frames.frame(Kind.HEADERS, END_HEADERS, stream_id, head)
        size = len(body)
        if not self._unsent and size <= FRAME_BYTES_MAX and size <= self._window and size <= self._window_of_streams:
            self._window -= size
            self.out += frames.frame(Kind.DATA, END_STREAM, stream_id, body)
        else:
            self._windows[stream_id] = self._window_of_streams
            self._unsent.append((stream_id, body))
            self._send_on()

    def feed(self, data: bytes) -> list[Reply]:
        """What these bytes complete."""
        if self._rest:
            data = self._rest + data
        done, position, size = list[Reply](), 0, len(data)
        while size - position >= HEAD_BYTES:
            high, low, kind, flags, stream_id = frames.read_head(data, position)
            start = position + HEAD_BYTES
            end = start + (high << 8 | low)
            if end > size:
                break
            if kind == Kind.DATA:
                self._received += end - start
                if (reply := self.in_flight.get(stream_id)) is not None:
                    reply.body_bytes += end - start
            elif kind == Kind.HEADERS:
                status = self._status_in(frames.without_padding(flags, data[start:end]))
                if status is not None and (reply := self.in_flight.get(stream_id)) is not None:
                    reply.status = status
            else:
                self._on_control(kind, flags, stream_id, data[start:end])
                if kind == Kind.RST_STREAM:
                    flags = END_STREAM
            ends = flags & END_STREAM and kind in (Kind.DATA, Kind.HEADERS, Kind.RST_STREAM)
            if ends and (reply := self.in_flight.pop(stream_id, None)) is not None:
                done.append(reply)
            position = end
        self._rest = data[position:]
        if self._received >= 2**29:
            self.out += frames.window_update(0, self._received)
            self._received = 0
        return done

    def _status_in(self, block: bytes) -> int | None:
        if block not in self._statuses:
            fields = dict(self._decoder.decode(block, raw=True))
            status = fields.get(b"grpc-status")
            found = None if status is None else int(status)
            if self._decoder.header_table.dynamic_entries:  # equal bytes may mean something else the next time
                return found
            self._statuses[block] = found
        return self._statuses[block]

    def _on_control(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        if kind == Kind.WINDOW_UPDATE:
            increment = frames.u32_in(payload)
            if not stream_id:
                self._window += increment
            elif stream_id in self._windows:
                self._windows[stream_id] += increment
            self._send_on()
        elif kind == Kind.SETTINGS and not flags & ACK:
            self.greeted = True
            for setting, value in frames.settings_in(payload):
                if setting == Setting.INITIAL_WINDOW_SIZE:
                    grown, self._window_of_streams = value - self._window_of_streams, value
                    self._windows = {stream: left + grown for stream, left in self._windows.items()}
            self.out += frames.frame(Kind.SETTINGS, ACK, 0)
            self._send_on()
        elif kind == Kind.PING and not flags & ACK:
            self.out += frames.frame(Kind.PING, ACK, 0, payload)
        elif kind == Kind.GOAWAY:
            self.closing = True
        elif kind == Kind.RST_STREAM and (reply := self.in_flight.get(stream_id)) is not None:
            reply.status = CANCELLED if reply.status == UNKNOWN else reply.status
            self._windows.pop(stream_id, None)

    def _send_on(self) -> None:
        """Send of the bodies what the windows allow, in order: one that must wait holds up the others."""
        while self._unsent:
            stream_id, body = self._unsent.popleft()
            if stream_id not in self._windows:  # it was reset
                continue
            room = min(self._window, self._windows[stream_id])
            part, rest = body[:room], body[room:]
            self._window -= len(part)
            self._windows[stream_id] -= len(part)
            for start in range(0, len(part), FRAME_BYTES_MAX):
                piece = part[start : start + FRAME_BYTES_MAX]
                last = not rest and start + FRAME_BYTES_MAX >= len(part)
                self.out += frames.frame(Kind.DATA, END_STREAM * last, stream_id, piece)
            if rest:
                self._unsent.appendleft((stream_id, rest))
                return
            del self._windows[stream_id]
