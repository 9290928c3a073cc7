"""A client over a socket that keeps the bytes of every reply: many requests at once on one connection."""

import socket
from typing import Final

from hpack import Decoder

from skylane.bench.workload.http2 import greeting, whole_call
from skylane.server.grpc.http2 import frames
from skylane.server.grpc.http2.frames import ACK, END_STREAM, HEAD_BYTES, Kind

TIMEOUT_S: Final = 60.0
"""Without a byte from the server."""
STREAMS_MAX: Final = 20_000
"""On one connection; then another is opened."""


class Caller:
    """One connection of an honest client. Its requests are small: windows never hold them up."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._decoder = Decoder()
        self._statuses: dict[bytes, bytes | None] = {}
        self.open()

    def open(self) -> None:
        """Begin a connection; what was under way on another is forgotten."""
        self._socket = socket.create_connection(("127.0.0.1", self._port), timeout=TIMEOUT_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._next_stream, self._rest, self._waiting = 1, b"", dict[int, int]()
        self._socket.sendall(greeting())

    def close(self) -> None:
        """End the connection."""
        self._socket.close()

    def send(self, bodies: list[bytes]) -> None:
        """Send one request for each body, which is a message with gRPC's prefix."""
        if self._next_stream > 2 * STREAMS_MAX:
            self.close()
            self.open()
        written = bytearray()
        for place, body in enumerate(bodies):
            written += whole_call(self._next_stream, body)
            self._waiting[self._next_stream] = place
            self._next_stream += 2
        self._socket.sendall(written)

    def receive(self) -> list[bytes]:
        """The messages that answer what was sent last, in its order. Raises AssertionError for anything but answers."""
        bodies = dict.fromkeys(sorted(self._waiting.values()), b"")
        statuses = dict[int, bytes]()
        while self._waiting:
            received = self._socket.recv(2**18)
            assert received, "the server closed an honest client's connection"
            self._feed(self._rest + received, bodies, statuses)
        assert all(status == b"0" for status in statuses.values()), f"grpc-status of the answers: {statuses}"
        return [body[5:] for body in bodies.values()]

    def _feed(self, data: bytes, bodies: dict[int, bytes], statuses: dict[int, bytes]) -> None:
        position = 0
        while len(data) - position >= HEAD_BYTES:
            high, low, kind, flags, stream_id = frames.read_head(data, position)
            start, end = position + HEAD_BYTES, position + HEAD_BYTES + (high << 8 | low)
            if end > len(data):
                break
            position = end
            if kind == Kind.DATA:
                bodies[self._waiting[stream_id]] += data[start:end]
            elif kind == Kind.HEADERS:
                if (status := self._status(data[start:end])) is not None:
                    statuses[self._waiting[stream_id]] = status
                if flags & END_STREAM:
                    del self._waiting[stream_id]
            elif kind == Kind.SETTINGS and not flags & ACK:
                self._socket.sendall(frames.frame(Kind.SETTINGS, ACK, 0))
            elif kind == Kind.PING and not flags & ACK:
                self._socket.sendall(frames.frame(Kind.PING, ACK, 0, data[start:end]))
            else:
                assert kind not in (Kind.GOAWAY, Kind.RST_STREAM), f"{Kind(kind).name}: {data[start:end]!r}"
        self._rest = data[position:]

    def _status(self, block: bytes) -> bytes | None:
        if block not in self._statuses:  # without a table of fields, equal bytes mean the same
            self._statuses[block] = dict(self._decoder.decode(block, raw=True)).get(b"grpc-status")
        return self._statuses[block]
