"""Streams of requests to a hot method: each message is a call like any other, and batches with all of them.

They stay on the reactor's thread. A stream has so many calls open at once; what comes beyond waits, and when the
window is full the client waits.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol

from grpc import StatusCode

from skylane.server.codecs.grpc_status import Status, status_of
from skylane.server.core.errors import ServingError, ShuttingDown
from skylane.server.core.types import Call
from skylane.server.grpc.http2.call_buffer import CallBuffer
from skylane.server.grpc.http2.connection import Connection
from skylane.server.grpc.http2.request_headers import RequestHeaders
from skylane.server.grpc.http2.request_receiver import KEPT_BYTES

UNSENT_BYTES_MAX: Final = 2**20
"""Of one stream's replies that its client has no room for; then no more calls are made."""
OPEN_MAX: Final = 256
"""Calls of one stream that are under way, or whose replies the client has no room for."""

Wrap = Callable[[Call, bytes | ServingError], bytes]
"""(call, its reply or error) → the stream's message with the result."""


class Thread(Protocol):
    """The part of the reactor that streams need."""

    def clock(self) -> float:
        """The engine's time in seconds."""
        ...

    def do(self, job: Callable[[], object]) -> None:
        """Call this on the reactor's thread: now, if this is it."""

    def touch(self, connection: Connection) -> None:
        """Write what this connection has ready."""


@dataclass(frozen=True)
class StreamMethod:
    """A method whose messages are calls, and what its replies look like."""

    call_buffer: CallBuffer
    wrap: Wrap


class CallStreams:
    """All open streams. A Sink of their calls, see skylane.server.core.types; the rest belongs to the reactor's
    thread.
    """

    def __init__(self, thread: Thread) -> None:
        self._thread = thread
        self._open: set[CallStream] = set()

    def open(
        self, method: StreamMethod, connection: Connection, stream_id: int, headers: RequestHeaders
    ) -> "CallStream":
        """A new one."""
        stream = CallStream(self, self._thread, method, connection, stream_id, headers)
        self._open.add(stream)
        return stream

    def closed(self, stream: "CallStream") -> None:
        """This one has ended."""
        self._open.discard(stream)

    def drain(self) -> None:
        """Let every stream answer what it has read, and end."""
        for stream in list(self._open):
            stream.drain()

    def answer(self, calls: Sequence[Call], replies: Sequence[bytes], ids: Sequence[bytes] = ()) -> None:  # noqa: ARG002
        self._deliver(calls, replies)

    def refuse(self, calls: Sequence[Call], error: ServingError) -> None:
        self._deliver(calls, [error] * len(calls))

    def _deliver(self, calls: Sequence[Call], results: Sequence[bytes | ServingError]) -> None:
        for call in calls:
            call.done = True
        self._thread.do(partial(_hand_over, calls, results))


def _hand_over(calls: Sequence[Call], results: Sequence[bytes | ServingError]) -> None:
    for call, result in zip(calls, results, strict=True):
        call.handle.answered(call, result)


class CallStream:
    """One stream. See receiving_stream.StreamHandler for the connection's side."""

    def __init__(
        self,
        streams: CallStreams,
        thread: Thread,
        method: StreamMethod,
        connection: Connection,
        stream_id: int,
        headers: RequestHeaders,
    ) -> None:
        self._streams, self._thread, self._method = streams, thread, method
        self._connection, self._stream_id, self._headers = connection, stream_id, headers
        self._deadline = thread.clock() + headers.timeout_s
        self._waiting: deque[bytes] = deque()
        self._calls: set[Call] = set()
        self._open = self._unsent = 0
        self._begun = self._ended = self._drains = False

    @property
    def busy(self) -> bool:
        """See StreamHandler. It ends when the server drains."""
        return True

    # --- From the connection ----------------------------------------------------------------------------------------

    def message(self, message: bytes) -> None:
        self._waiting.append(message)
        self._take()

    def half_close(self) -> None:
        self._ended = True
        self._close_if_done()

    def cancel(self) -> None:
        for call in self._calls:
            call.cancelled = True
        self._waiting.clear()
        self._streams.closed(self)

    # --- From the engine --------------------------------------------------------------------------------------------

    def answered(self, call: Call, result: bytes | ServingError) -> None:
        """One call has its reply."""
        self._calls.discard(call)
        if call.cancelled:
            return
        if not self._begun:
            self._begun = True
            self._connection.streams.open_response(self._stream_id, b"")
        message = self._method.wrap(call, result)
        self._unsent += len(message)
        self._connection.streams.send_message(self._stream_id, message, partial(self._sent, len(message)))
        self._thread.touch(self._connection)
        self._close_if_done()

    def drain(self) -> None:
        """Take no more; answer what was taken, and end."""
        self._drains = True
        self._waiting.clear()
        self._close_if_done()
        self._thread.touch(self._connection)

    # ----------------------------------------------------------------------------------------------------------------

    def _take(self) -> None:
        """Make calls of what waits, as many as may be open."""
        call_buffer = self._method.call_buffer
        while self._waiting and self._open < OPEN_MAX and self._unsent <= UNSENT_BYTES_MAX and not self._drains:
            message = self._waiting.popleft()
            headers = self._headers
            call = Call(self, self._streams, self._deadline, b"", headers.grant, headers.trace, headers.request_id)
            self._open += 1
            self._calls.add(call)
            call_buffer.calls.append(call)
            call_buffer.payloads.append(message)
            self._connection.streams.message_consumed(self._stream_id, len(message))
            if len(message) >= KEPT_BYTES:
                self._connection.keep(call_buffer, len(message))

    def _sent(self, size: int) -> None:
        """A reply of so many bytes is on its way to the client."""
        self._open -= 1
        self._unsent -= size
        self._take()

    def _close_if_done(self) -> None:
        if self._calls or self._waiting or not (self._ended or self._drains):
            return
        status = Status(StatusCode.OK, "")
        if self._drains:
            status = status_of(ShuttingDown("the server is shutting down; the stream has ended"))
        self._connection.streams.close_response(self._stream_id, status, b"")
        self._streams.closed(self)
