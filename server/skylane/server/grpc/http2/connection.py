"""One HTTP/2 connection, without its socket: bytes in, calls out; replies in, frames out.

It holds the frame reader, the receiver of requests, the streams and the send buffer, which together enforce every limit
of limits.py that concerns one connection. HTTP/2 is RFC 9113; how gRPC uses it is in grpc/doc/PROTOCOL-HTTP2.md.
"""

from typing import Final

from skylane.server.grpc.http2 import frames, http1_response
from skylane.server.grpc.http2.call_buffer import CallBuffer
from skylane.server.grpc.http2.flood_guard import FloodGuard, StallGuard
from skylane.server.grpc.http2.frame_reader import FrameReader
from skylane.server.grpc.http2.frames import Code, ConnectionFault
from skylane.server.grpc.http2.request_receiver import RequestReceiver
from skylane.server.grpc.http2.send_buffer import SendBuffer
from skylane.server.grpc.http2.services import Services
from skylane.server.grpc.http2.streams import Streams

HEADERS_CACHED_S: Final = 1.0
"""For so long, cached headers are used without checking their token again: it may expire or be revoked."""

CONNECTION_WINDOW_STEP: Final = 2**29
"""The connection's own window is never the limit (streams and the budget are): it is refilled in large steps."""


class Connection:
    """State of one connection. Belongs to the reactor's thread."""

    def __init__(self, services: Services) -> None:
        self._services, self._limits = services, services.limits
        self.send_buffer = SendBuffer()
        self._flood_guard = FloodGuard(services.limits.idle_frames)
        self._reader = FrameReader(services.limits, self.send_buffer, self._flood_guard)
        self.streams = Streams(services, self.send_buffer, self._flood_guard)
        self._receiver = RequestReceiver(
            self, self._reader, self.streams, self.send_buffer, self._flood_guard, services
        )
        self._headers_cached_until = 0.0
        self._last_accepted: int | None = None
        """The last stream that is processed, once the peer was told by GOAWAY."""
        self._unread_replies = StallGuard()

    @property
    def busy(self) -> bool:
        """Whether a request is coming or running, or its response not yet sent. From any thread."""
        return self.streams.busy or self.send_buffer.busy

    @property
    def is_proven(self) -> bool:
        """Whether the peer has sent requests, and nothing since that they do not make up for."""
        return self._flood_guard.frames < 0 and not self.streams.is_strained

    @property
    def is_flooding(self) -> bool:
        """Whether much has come that brings no request."""
        return self._flood_guard.is_strained or self.streams.is_strained

    def feed(self, data: bytes, now: float) -> None:
        """Process what the peer sent: calls go to their call buffers, protocol replies to the send buffer. Raises
        ConnectionFault, after which nothing more may be fed."""
        if now >= self._headers_cached_until:  # what their tokens allow may have changed
            self._receiver.headers.forget()
            self._headers_cached_until = now + HEADERS_CACHED_S
        receiver = self._receiver
        self._reader.feed(data, now, receiver)
        if receiver.unacknowledged >= CONNECTION_WINDOW_STEP:
            self.send_buffer.frames.append(frames.window_update(0, receiver.unacknowledged))
            receiver.unacknowledged = 0

    def data_to_send(self) -> bytes:
        """Frames that are ready to be written, each once."""
        ready = self.send_buffer.frames
        data = b"".join(ready)
        ready.clear()
        return data

    def pause_writing(self) -> None:
        """The peer reads too slowly: keep messages back, whatever its windows allow."""
        self.send_buffer.hold(True)

    def resume_writing(self) -> None:
        """The peer has read what was written."""
        self.send_buffer.hold(False)

    # --- The end ------------------------------------------------------------------------------------------------------

    def keep(self, call_buffer: CallBuffer, size: int) -> None:
        """See RequestReceiver."""
        self._receiver.keep(call_buffer, size)

    @property
    def greeted(self) -> bool:
        """Whether the peer has shown that it speaks HTTP/2."""
        return self._reader.greeted

    @property
    def ends(self) -> bool:
        """Whether no new stream is accepted any more."""
        return self._last_accepted is not None

    @property
    def is_finished(self) -> bool:
        """Whether no new stream is accepted and none is left, not even one that only waits."""
        return self.ends and not (self.streams or self.send_buffer.busy)

    @property
    def may_stall(self) -> bool:
        """Whether the peer owes something, or is to end soon, so that `stalled` and `ends` must be polled."""
        reader = self._reader
        return bool(
            reader.asked_to_end or not reader.greeted or reader.is_partial
            or self.streams.opened or self.streams.receiving or self.send_buffer.unsent
        )  # fmt: skip

    def fail(self, fault: ConnectionFault) -> None:
        """The peer broke the protocol: report it in the protocol that it speaks. Nothing may be fed afterwards."""
        if self._reader.greeted:
            self.say_goodbye(fault.code, str(fault))
        elif http1_response.is_request(self._reader.rest):
            self.send_buffer.frames.append(http1_response.RESPONSE)

    def announce_end(self) -> None:
        """Ask the peer to begin nothing new. What it begins before it reads this is still answered."""
        self._reader.announce_end()

    def end_by(self, due_at: float, now: float) -> None:
        """Ask the peer to begin nothing new; from `due_at` on refuse it, whether the peer has answered or not."""
        if not self._reader.asked_to_end:
            self.announce_end()
        elif not self.ends and now >= due_at:
            self.say_goodbye()

    def say_goodbye(self, code: Code = Code.NO_ERROR, message: str = "") -> None:
        """Accept no new stream, and send GOAWAY: the peer may safely send later streams again elsewhere."""
        self._receiver.streams_max = 0
        if self._last_accepted is None:
            self._last_accepted = self._receiver.last_stream
        self.send_buffer.frames.append(frames.goaway(self._last_accepted, code, message))

    def lose(self) -> None:
        """The peer has gone: cancel everything. Nothing may be fed afterwards."""
        self.streams.cancel_all()
        self._receiver.close()

    def stalled(self, now: float) -> bool:
        """Whether a message, a frame or a header block began long ago and is not whole, or a reply waits for windows
        that do not grow. To be polled every second or so: for a request of which only headers have come, and for a
        reply, time is counted from the first poll that sees it."""
        limit = self._limits.stalled_s
        self._receiver.poll_opened(now)
        if any(stream.stalled(now, limit) for stream in list(self.streams.receiving.values())):
            return True
        # A client that begins new requests is alive, and may read each response when it likes.
        progress = (self.send_buffer.moved, self._receiver.last_stream) if self.send_buffer.owes_reply else None
        stalled_s = self._unread_replies.lasts_s(progress, now)
        return stalled_s > limit or now - self._reader.unfinished_since(now) > limit
