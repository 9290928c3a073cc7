"""Frames of one connection → its calls: what a peer may send, and which state of its stream each frame leads to.

Optimised for many small requests: one that arrives in two frames, with headers seen before, becomes a call in under 2
µs. Rarer cases have methods of their own.
"""

from typing import TYPE_CHECKING, Final

from grpc import StatusCode

from skylane.server.codecs.grpc_status import Status
from skylane.server.core.types import Call
from skylane.server.grpc.http2 import frames, response_headers
from skylane.server.grpc.http2.call_buffer import CallBuffer
from skylane.server.grpc.http2.flood_guard import EXCESS_BYTES, IDLE_FRAMES_FORGIVEN, FloodGuard
from skylane.server.grpc.http2.frame_reader import FrameReader
from skylane.server.grpc.http2.frames import END_HEADERS, END_STREAM, Code, ConnectionFault
from skylane.server.grpc.http2.messages import PREFIX_BYTES, Assembler, MessageFault, message_too_large, read_prefix
from skylane.server.grpc.http2.receiving_stream import Discarded, ReceivingStream
from skylane.server.grpc.http2.request_fields import StreamFault
from skylane.server.grpc.http2.request_headers import HeaderCache, RequestHeaders
from skylane.server.grpc.http2.send_buffer import SendBuffer
from skylane.server.grpc.http2.services import Services
from skylane.server.grpc.http2.streams import Streams, id_field

if TYPE_CHECKING:
    from skylane.server.grpc.http2.connection import Connection

KEPT_BYTES: Final = 2**14
"""A message in parts of so many bytes or more counts against its connection's share until it is handed over."""
DISCARDED_BYTES: Final = 2**16
"""Of a request that is not gRPC; one that is longer is answered before it ends."""
UPDATES_A_BYTE: Final = 2
"""WINDOW_UPDATE frames that a client may send for each byte it was sent: the stream's, and the connection's."""


class RequestReceiver:
    """A FrameHandler. Belongs to the reactor's thread."""

    def __init__(
        self, connection: "Connection", reader: FrameReader, streams: Streams, send_buffer: SendBuffer,
        flood_guard: FloodGuard, services: Services,
    ) -> None:  # fmt: skip
        """`connection`: the handle of its calls and stream handlers."""
        self._connection, self._reader, self._streams = connection, reader, streams
        self._send_buffer, self._flood_guard = send_buffer, flood_guard
        self._services, self._limits = services, services.limits
        # The dicts of `streams`, so that the path of a request looks each up in one step.
        self._opened, self._receiving, self._running = streams.opened, streams.receiving, streams.running
        self.headers = HeaderCache(
            services.call_buffers.get,
            services.is_ours,
            services.grant_of,
            services.limits.header_bytes,
            services.trace_of,
            services.is_open,
        )
        self.streams_max = services.limits.streams
        self.last_stream = 0
        self.unacknowledged = 0
        """Bytes of DATA since the connection's window was refilled."""
        self._updates = 0
        """WINDOW_UPDATE frames of the peer."""

    # --- Header blocks ------------------------------------------------------------------------------------------------

    def on_headers(self, flags: int, stream_id: int, block: bytes, now: float) -> None:
        """See FrameHandler."""
        headers = self.headers.known.get(block)
        if headers is not None and flags == END_HEADERS and headers.call_buffer is not None:
            if self._admit(stream_id, headers, now):
                self._opened[stream_id] = headers
            return
        self._reader.gather(flags, stream_id, block, now, self)

    def on_block(self, flags: int, stream_id: int, block: bytes, now: float) -> None:
        """See FrameHandler."""
        if stream_id in self._streams or stream_id in self._streams.closed:
            self._on_trailers(flags, stream_id, block, now)
            return
        self._check_new(stream_id)
        if not block:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "an empty header block")
        try:
            headers = self.headers.known.get(block) or self.headers.decode(block)
        except StreamFault:
            self.last_stream = stream_id
            self._streams.reset(stream_id, Code.PROTOCOL_ERROR)
            self._streams.report(None, StatusCode.INTERNAL)
            self._flood_guard.lose(now)
            return
        if self._admit(stream_id, headers, now):
            self._open(flags, stream_id, headers, now)

    def _open(self, flags: int, stream_id: int, headers: RequestHeaders, now: float) -> None:
        """Begin a stream, or refuse it for what its headers say."""
        ended = bool(flags & END_STREAM)
        if headers.explanation:
            self._streams.receive(stream_id, headers, Discarded(), now)
            self._flood_guard.lose(now)
        elif headers.refusal is not None:
            self._refuse(stream_id, headers, headers.refusal, headers.refused, now, ended=ended)
            return
        elif headers.call_buffer is not None:
            self._opened[stream_id] = headers
        elif not self._open_handler(stream_id, headers, now, ended=ended):
            return
        if ended and stream_id in self._streams:
            self._finish(stream_id, self._receive(stream_id, now), now)

    def _open_handler(self, stream_id: int, headers: RequestHeaders, now: float, *, ended: bool) -> bool:
        """Open a stream of messages. Returns False if it was refused because there are too many of them."""
        place = self._services.place_of(headers.path)
        if place is not None and (reason := self._streams.take_place(place)):
            status = Status(StatusCode.RESOURCE_EXHAUSTED, reason)
            self._refuse(stream_id, headers, response_headers.refusal(status), status.code, now, ended=ended)
            return False
        assembler = Assembler(headers.encoding, self._limits.message_bytes, message_too_large)
        stream = self._streams.receive(stream_id, headers, assembler, now)
        stream.place = place
        stream.handler = self._services.open_stream(self._connection, stream_id, headers)
        return True

    def _refuse(
        self, stream_id: int, headers: RequestHeaders, block: bytes, code: StatusCode, now: float, *, ended: bool
    ) -> None:
        self._streams.refuse(stream_id, block + id_field(headers), ended=ended)
        self._streams.report(headers, code)
        self._flood_guard.lose(now)

    def _on_trailers(self, flags: int, stream_id: int, block: bytes, now: float) -> None:
        code: Code | None = None if flags & END_STREAM else Code.PROTOCOL_ERROR
        try:
            self.headers.trailers(block)
        except StreamFault:
            code = Code.PROTOCOL_ERROR
        stream = self._receiving.get(stream_id)
        if stream is not None and stream.ended:
            code = Code.STREAM_CLOSED
        if stream_id not in self._streams:  # it was ended by us
            self._flood_guard.lose(now)
        elif code is not None:
            self._streams.fault(stream_id, code, now)
        else:
            self._finish(stream_id, self._receive(stream_id, now), now)

    def _check_new(self, stream_id: int) -> None:
        """Raise ConnectionFault if no stream of this number can begin."""
        if stream_id <= self.last_stream or not stream_id & 1:
            code = Code.STREAM_CLOSED if stream_id & 1 else Code.PROTOCOL_ERROR
            raise ConnectionFault(code, f"stream {stream_id} cannot begin here")

    def _admit(self, stream_id: int, headers: RequestHeaders, now: float) -> bool:
        """Whether a stream may begin here. Raises ConnectionFault if it cannot be new."""
        if stream_id <= self.last_stream or not stream_id & 1:
            self._check_new(stream_id)
        self.last_stream = stream_id
        send_buffer = self._send_buffer
        if (
            len(self._opened) + len(self._receiving) + len(self._running) + send_buffer.finishing < self.streams_max
            and send_buffer.unsent <= self._limits.unsent_bytes
        ):
            return True
        self._streams.reset(stream_id, Code.REFUSED_STREAM)
        self._streams.report(headers, StatusCode.UNAVAILABLE)
        self._flood_guard.lose(now)
        return False

    # --- Messages -----------------------------------------------------------------------------------------------------

    def on_data(self, flags: int, stream_id: int, data: bytes, start: int, end: int, now: float) -> int:
        """See FrameHandler."""
        headers = self._opened.get(stream_id)
        if not flags and end < len(data) and (headers is not None or stream_id in self._receiving):
            return self._on_data_run(stream_id, headers, data, start, end, now)
        self.unacknowledged += end - start
        if flags == END_STREAM and headers is not None and end - start >= PREFIX_BYTES:
            compressed, length = read_prefix(data, start)
            if not compressed and length == end - start - PREFIX_BYTES and headers.may_have(end - start):
                del self._opened[stream_id]
                self._hand_over(stream_id, headers, data[start + PREFIX_BYTES : end], now)
                return end
        self._on_unusual_data(flags, stream_id, data[start:end], now)
        return end

    def _on_data_run(
        self, stream_id: int, headers: RequestHeaders | None, data: bytes, start: int, end: int, now: float
    ) -> int:
        """A part of a message, together with the DATA frames directly after it: each by itself took 4 µs."""
        parts, flags, end = frames.data_run(data, stream_id, start, end)
        size = sum(map(len, parts))
        self.unacknowledged += size
        if flags == END_STREAM and headers is not None and len(parts[0]) >= PREFIX_BYTES:
            compressed, length = read_prefix(parts[0], 0)
            if not compressed and length == size - PREFIX_BYTES and headers.may_have(size):
                del self._opened[stream_id]
                parts[0] = parts[0][PREFIX_BYTES:]
                self._hand_over(stream_id, headers, b"".join(parts), now)
                return end
        self._on_unusual_data(flags, stream_id, b"".join(parts), now, len(parts))
        return end

    def _hand_over(self, stream_id: int, headers: RequestHeaders, message: bytes, now: float) -> None:
        """Put a call into its method's call buffer."""
        call_buffer = headers.call_buffer
        assert call_buffer is not None
        self._running[stream_id] = call = Call(
            (self._connection, stream_id), self._services.sink, now + headers.timeout_s, b"", headers.grant,
            headers.trace, headers.request_id,
        )  # fmt: skip
        call_buffer.calls.append(call)
        call_buffer.payloads.append(message)
        self._flood_guard.frames -= IDLE_FRAMES_FORGIVEN

    def _on_unusual_data(self, flags: int, stream_id: int, payload: bytes, now: float, count: int = 1) -> None:
        """DATA of a message in parts or of a stream of messages; padded or compressed; or of no stream that is open.
        `count`: frames."""
        content = frames.without_padding(flags & frames.PADDED, payload)
        if stream_id not in self._streams:
            if stream_id > self.last_stream or not stream_id:
                raise ConnectionFault(Code.PROTOCOL_ERROR, f"DATA on stream {stream_id}, which has not begun")
            self._on_late_data(flags, stream_id, payload, now)
            return
        if content:
            self._flood_guard.frames -= count
        elif not flags & END_STREAM:
            self._flood_guard.lose(now)
        stream = self._receive(stream_id, now)
        if stream.ended or not stream.spend(len(payload)):
            code = Code.STREAM_CLOSED if stream.ended else Code.FLOW_CONTROL_ERROR
            self._streams.fault(stream_id, code, now)
            return
        try:
            small = stream.feed(content)
        except StreamFault:
            self._streams.fault(stream_id, Code.PROTOCOL_ERROR, now)
            return
        except MessageFault as fault:
            self._streams.fail(stream_id, stream, fault.status)
            self._streams.count_fault(stream, now)
            return
        if (idle := max(small - count, 0) + stream.excess() // EXCESS_BYTES) > 0:
            self._flood_guard.lose(now, idle)
        if flags & END_STREAM:
            self._finish(stream_id, stream, now)
        elif stream.headers.explanation and stream.window < ReceivingStream.WINDOW - DISCARDED_BYTES:
            self._streams.explain(stream_id, stream)
        else:
            self._streams.refill(stream_id, stream)

    def _receive(self, stream_id: int, now: float) -> ReceivingStream:
        """The receiving half of a stream that is opened or receiving."""
        return self._receiving.get(stream_id) or self._streams.receive_parts(stream_id, now)

    def _on_late_data(self, flags: int, stream_id: int, payload: bytes, now: float) -> None:
        """DATA of a stream that has ended, or whose client has said that it sends no more."""
        closed = self._streams.closed
        if (payload or flags & END_STREAM) and closed.spend(stream_id, len(payload)):
            return
        if stream_id not in closed:
            if (call := self._running.pop(stream_id, None)) is not None:
                call.cancelled = True
            self._send_buffer.forget(stream_id)
            self._send_buffer.frames.append(frames.reset(stream_id, Code.STREAM_CLOSED))
        self._flood_guard.lose(now)

    def _finish(self, stream_id: int, stream: ReceivingStream, now: float) -> None:
        """The client sends no more on this stream, which its handler may have ended already."""
        stream.ended = True
        if not stream.is_complete:
            self._streams.fault(stream_id, Code.PROTOCOL_ERROR, now)
            return
        if stream.handler is not None and stream.between_messages:
            stream.handler.half_close()
            return
        if stream.headers.explanation:
            self._streams.explain(stream_id, stream)
            return
        message = stream.whole if stream.between_messages else None
        if message is None:
            status = Status(StatusCode.INTERNAL, "the request ended before its message was whole")
            self._streams.fail(stream_id, stream, status)
            self._streams.count_fault(stream, now)
            return
        self._streams.forget(stream_id)
        self._hand_over(stream_id, stream.headers, message, now)
        if len(message) >= KEPT_BYTES and stream.headers.call_buffer is not None:
            self.keep(stream.headers.call_buffer, len(message))

    def keep(self, call_buffer: CallBuffer, size: int) -> None:
        """Count the last payload of this call buffer against the connection's share until it is handed over, which is
        now if the share has no room."""
        if self._streams.share.take(size):
            call_buffer.hold(self._streams.share, size)
        else:
            call_buffer.hand_over()

    # --- Other frames about streams -----------------------------------------------------------------------------------

    def on_window_update(self, stream_id: int, increment: int, now: float) -> None:
        """See FrameHandler."""
        self._updates += 1
        if self._updates > UPDATES_A_BYTE * self._send_buffer.sent_bytes:
            self._flood_guard.lose(now)
        if not stream_id:
            self._send_buffer.widen(increment)
        elif stream_id in self._running or stream_id in self._streams or self._send_buffer.has(stream_id):
            if not self._send_buffer.widen_stream(stream_id, increment):
                self._streams.cancel(stream_id, Code.FLOW_CONTROL_ERROR)
                self._flood_guard.lose(now)
        elif stream_id > self.last_stream:
            raise ConnectionFault(Code.PROTOCOL_ERROR, f"a window of stream {stream_id}, which has not begun")

    def on_reset(self, stream_id: int, now: float) -> None:
        """See FrameHandler."""
        if stream_id > self.last_stream or not stream_id:
            raise ConnectionFault(Code.PROTOCOL_ERROR, f"a reset of stream {stream_id}, which has not begun")
        self._send_buffer.forget(stream_id)
        self._streams.abandon(stream_id, now)

    def on_drained(self) -> None:
        """See FrameHandler."""
        self._connection.say_goodbye()

    def close(self) -> None:
        """Release the connection, so that both are freed at once and not by the garbage collector."""
        del self._connection

    def poll_opened(self, now: float) -> None:
        """Count the time of requests of which only the headers have come from now on."""
        for stream_id in list(self._opened):
            self._streams.receive_parts(stream_id, now)
