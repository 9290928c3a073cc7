"""A client's bytes arrive whole, split at random places, or one at a time: the HTTP/2 connection does the same."""

import random
import struct
from collections.abc import Iterable, Sequence
from typing import Final

from hpack import Encoder

from skylane.bench.fuzz.target import pure
from skylane.server.core.errors import MessageTooLarge, ServingError
from skylane.server.core.token_scope import ANYONE, Grant
from skylane.server.core.types import Call, Sink
from skylane.server.grpc.http2 import frames
from skylane.server.grpc.http2.call_buffer import CallBuffer
from skylane.server.grpc.http2.connection import Connection
from skylane.server.grpc.http2.frames import ACK, END_HEADERS, END_STREAM, Code, ConnectionFault, Kind, Setting
from skylane.server.grpc.http2.limits import Budget, Limits
from skylane.server.grpc.http2.request_headers import RequestHeaders
from skylane.server.grpc.http2.services import Services

PREDICT: Final = "/test.Service/Predict"
PASSED_ON: Final = "/test.Service/PassedOn"
CLIENTS: Final = 20
"""In one round."""
STREAMS_MAX: Final = 12


class _Calls:
    """Takes calls and answers nobody: what arrived is all that counts."""

    def take(self, calls: Sequence[Call], payloads: Sequence[bytes], sink: Sink) -> None:
        """See CallBuffer."""

    def too_large(self, size: int) -> MessageTooLarge:
        return MessageTooLarge(f"{size} bytes")

    def answer(self, calls: Sequence[Call], replies: Sequence[bytes], ids: Sequence[bytes] = ()) -> None:
        """See skylane.server.core.types.Sink."""

    def refuse(self, calls: Sequence[Call], error: ServingError) -> None:
        """See skylane.server.core.types.Sink."""


class _PassedOn:
    """A call of a method that is passed on, as events."""

    def __init__(self, events: list[object], stream_id: int) -> None:
        self._events, self._stream_id = events, stream_id
        self.busy = True

    def message(self, message: bytes) -> None:
        self._events.append((self._stream_id, "message", message))

    def half_close(self) -> None:
        self._events.append((self._stream_id, "half-closed"))

    def cancel(self) -> None:
        self._events.append((self._stream_id, "cancelled"))


class _Server:
    """One connection and everything that comes of what it is fed."""

    def __init__(self) -> None:
        self.events: list[object] = []
        calls, limits = _Calls(), Limits(message_bytes=40_000, idle_frames=200)
        self._calls = CallBuffer(calls, calls)
        services = Services(
            {PREDICT: self._calls},
            self._open,
            (PREDICT,).__contains__,
            _anyone,
            calls,
            limits,
            Budget(limits.partial_bytes),
        )
        self._connection = Connection(services)

    def _open(self, _: Connection, stream_id: int, __: RequestHeaders) -> _PassedOn:
        self.events.append((stream_id, "opened"))
        return _PassedOn(self.events, stream_id)

    def outcome(self, pieces: Iterable[bytes]) -> tuple[object, ...]:
        """What these bytes came to: calls, events, the fault that ended it, and the frames that were sent for them.

        WINDOW_UPDATE is left out: how often windows are refilled depends on what arrives together, as it should.
        """
        fault = ""
        try:
            for piece in pieces:
                self._connection.feed(piece, 0.0)
        except ConnectionFault as error:
            fault = f"{error.code!r}: {error}"
        calls = [
            (call.handle[1], call.deadline, call.cancelled, payload)
            for call, payload in zip(self._calls.calls, self._calls.payloads, strict=True)
        ]
        return calls, self.events, fault, _without_windows(b"".join(self._connection.send_buffer.frames))


def _anyone(_: str | None) -> Grant:
    return ANYONE


def _without_windows(data: bytes) -> list[bytes]:
    found, position = list[bytes](), 0
    while position < len(data):
        high, low, kind, _, _ = frames.read_head(data, position)
        end = position + frames.HEAD_BYTES + (high << 8 | low)
        if kind != Kind.WINDOW_UPDATE:
            found.append(data[position:end])
        position = end
    return found


def play(seed: int) -> int:
    """Some clients. Returns the calls that they began, counted once for each way in which their bytes arrived."""
    rng = random.Random(seed)
    return sum(_client(rng) for _ in range(CLIENTS))


def _client(rng: random.Random) -> int:
    stream, calls = _written(rng)
    whole = _Server().outcome([stream])
    ways = {"at random": _split(rng, stream), "after each byte": [stream[at : at + 1] for at in range(len(stream))]}
    for way, pieces in ways.items():
        split = _Server().outcome(pieces)
        assert split == whole, f"split {way}, it came to {split!r:.2000}, whole to {whole!r:.2000}: {stream.hex()}"
    return calls * (len(ways) + 1)


def _split(rng: random.Random, stream: bytes) -> list[bytes]:
    places = sorted(rng.sample(range(1, len(stream)), min(rng.randrange(1, 30), len(stream) - 1)))
    return [stream[start:end] for start, end in zip([0, *places], [*places, len(stream)], strict=True)]


def _written(rng: random.Random) -> tuple[bytes, int]:
    """What a client writes, sometimes damaged, and how many requests are in it."""
    encoder, streams = Encoder(), rng.randrange(1, STREAMS_MAX)
    written = bytearray(frames.PREFACE + frames.settings({}))
    for number in range(streams):
        written += _request(rng, encoder, 2 * number + 1)
        if rng.random() < 0.3:
            written += _control(rng, 2 * rng.randrange(streams) + 1)
    if rng.random() < 0.3:
        written[rng.randrange(len(written))] = rng.randrange(256)
    if rng.random() < 0.1:
        del written[rng.randrange(1, len(written)) :]
    return bytes(written), streams


def _request(rng: random.Random, encoder: Encoder, stream_id: int) -> bytes:
    path = rng.choice((PREDICT, PREDICT, PASSED_ON, "/no.Such/Method"))
    fields = [(":method", "POST"), (":scheme", "http"), (":path", path), (":authority", "here")]
    fields += [("content-type", "application/grpc"), ("te", "trailers")]
    if rng.random() < 0.3:
        fields.append(("grpc-timeout", f"{rng.randrange(100)}{rng.choice('HMSmun')}"))
    block = encoder.encode(fields, huffman=rng.random() < 0.5)
    contents = [rng.randbytes(rng.choice((0, 1, 7, 300, 20_000))) for _ in range(rng.choice((0, 1, 1, 1, 2)))]
    body = b"".join(struct.pack(">BI", rng.random() < 0.02, len(content)) + content for content in contents)
    return _headers(rng, stream_id, block) + _data(rng, stream_id, body)


def _headers(rng: random.Random, stream_id: int, block: bytes) -> bytes:
    """In one frame, or in two."""
    cut = rng.randrange(len(block)) if rng.random() < 0.3 else len(block)
    first, rest = block[:cut], block[cut:]
    if not rest:
        return frames.frame(Kind.HEADERS, END_HEADERS, stream_id, first)
    written = frames.frame(Kind.HEADERS, 0, stream_id, first)
    return written + frames.frame(Kind.CONTINUATION, END_HEADERS, stream_id, rest)


def _data(rng: random.Random, stream_id: int, body: bytes) -> bytes:
    written, position = bytearray(), 0
    while position < len(body):
        size = rng.choice((1, 5, 100, frames.FRAME_BYTES_MAX, frames.FRAME_BYTES_MAX))
        written += frames.frame(Kind.DATA, 0, stream_id, body[position : position + size])
        position += size
        if rng.random() < 0.02:
            return bytes(written) + frames.reset(stream_id, Code.CANCEL)
    return bytes(written) + (frames.frame(Kind.DATA, END_STREAM, stream_id) if rng.random() < 0.95 else b"")


def _control(rng: random.Random, stream_id: int) -> bytes:
    window = rng.choice((0, 1, 1000, 65_535, 2**31 - 1))
    return rng.choice(
        (
            frames.frame(Kind.PING, 0, 0, rng.randbytes(8)),
            frames.frame(Kind.PING, ACK, 0, bytes(8)),
            frames.settings({Setting.INITIAL_WINDOW_SIZE: window}),
            frames.window_update(rng.choice((0, stream_id)), max(window, 1)),
            frames.reset(stream_id, Code.CANCEL),
            frames.frame(Kind.PRIORITY, 0, stream_id, rng.randbytes(5)),
            frames.frame(Kind.DATA, 0, stream_id, b""),
        )
    )


TARGET = pure("connection", "one HTTP/2 connection: the bytes whole, split at random and after each byte", play)
