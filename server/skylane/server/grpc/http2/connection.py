"""One HTTP/2 connection, without its socket: bytes in, calls out; replies in, frames out.

Made for many small requests. One that came in two frames with a head seen before becomes a call in under 2 µs; what is
rarer may take its time, in methods of its own. Every limit of limits.py that concerns one connection is kept here.
RFC 9113 is HTTP/2; gRPC's use of it is in grpc/doc/PROTOCOL-HTTP2.md.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from grpc import StatusCode

from skylane.server.codecs.grpc_status import Status
from skylane.server.core.grant import Grant
from skylane.server.core.types import Call, Sink
from skylane.server.grpc.base.method_table import CallEnded, TraceOf
from skylane.server.grpc.http2 import frames, response_headers
from skylane.server.grpc.http2.call_buffer import CallBuffer
from skylane.server.grpc.http2.flood_guard import IDLE_FRAMES_FORGIVEN, ClosedStreams, StallGuard
from skylane.server.grpc.http2.frame_reader import FrameReader
from skylane.server.grpc.http2.frames import END_HEADERS, END_STREAM, Code, ConnectionFault
from skylane.server.grpc.http2.limits import Budget, Limits
from skylane.server.grpc.http2.messages import PREFIX_BYTES, Assembler, MessageFault, message_too_large, read_prefix
from skylane.server.grpc.http2.receiving_stream import ReceivingStream, Tunnel
from skylane.server.grpc.http2.request_headers import HeaderCache, RequestHeaders, StreamFault
from skylane.server.grpc.http2.send_buffer import Sent

KNOWN_S: Final = 1.0
"""For so long a head seen before is believed: its token may expire or be withdrawn meanwhile."""

OpenTunnel = Callable[["Connection", int, RequestHeaders], Tunnel]
"""(connection, stream, head) → where its messages go."""


@dataclass(frozen=True)
class Services:
    """What all connections of a front share."""

    call_buffers: dict[str, CallBuffer]
    """Path → where calls of a hot method gather."""
    open_tunnel: OpenTunnel
    is_ours: Callable[[str], bool]
    """Whether the front itself answers this path."""
    grant_of: Callable[[str | None], Grant]
    """Value of an authorization field → what it allows; raises Unauthenticated."""
    sink: Sink
    limits: Limits
    budget: Budget
    trace_of: TraceOf | None = None
    ended: CallEnded | None = None
    """Told of requests that end without an intake or a stream of ours."""


class Connection(FrameReader):
    """State of one connection. Belongs to the front's thread."""

    def __init__(self, services: Services) -> None:
        super().__init__(services.limits)
        self.taken: dict[int, Call] = {}
        """Stream → the call that was handed over and is not yet answered."""
        self._services = services
        self._heads = HeaderCache(
            services.call_buffers.get,
            services.is_ours,
            services.grant_of,
            services.limits.header_bytes,
            services.trace_of,
        )
        self._coming: dict[int, RequestHeaders | ReceivingStream] = {}
        """Stream → what is known of a request that is not whole."""
        self._streams_max = services.limits.streams
        self._last_stream = 0
        self._last_taken: int | None = None
        """The last stream that we look at, once we have told the peer."""
        self._known_until = 0.0
        self._ended = ClosedStreams(services.limits.streams)
        self._owing = StallGuard()

    @property
    def busy(self) -> bool:
        """Whether a request is coming, under way, or its answer not yet out. A stream that only waits is none."""
        coming = list(self._coming.values())  # at once: another thread may ask
        return bool(self.taken or self.send_buffer.busy) or any(
            isinstance(it, RequestHeaders) or it.busy for it in coming
        )

    def feed(self, data: bytes, now: float) -> None:
        """See Reader. Calls go to their inbox, answers of the protocol to the outbox."""
        if now >= self._known_until:  # whom a token lets in may have changed
            self._heads.forget()
            self._known_until = now + KNOWN_S
        super().feed(data, now)

    # --- Requests ---------------------------------------------------------------------------------------------------

    def _on_headers(self, flags: int, stream_id: int, block: bytes, now: float) -> None:
        head = self._heads.known.get(block)
        if head is not None and flags == END_HEADERS and head.call_buffer is not None:
            if self._admit(stream_id, head):
                self._coming[stream_id] = head
            return
        self._gather(flags, stream_id, block, now)

    def _on_block(self, flags: int, stream_id: int, block: bytes, now: float) -> None:
        """A whole header block: a new request, or a client's trailers."""
        if not block:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "an empty header block")
        if stream_id in self._coming or stream_id in self._ended:
            self._on_trailers(flags, stream_id, block, now)
            return
        try:
            head = self._heads.known.get(block) or self._heads.decode(block)
            if not self._admit(stream_id, head):
                return
        except StreamFault:
            self._last_stream = max(stream_id, self._last_stream)
            self._reset(stream_id, Code.PROTOCOL_ERROR)
            self._tell(None, StatusCode.INTERNAL)
            return
        if head.refusal is not None:
            self._refuse(stream_id, head.refusal + _id_of(head), ended=bool(flags & END_STREAM))
            self._tell(head, head.refused)
        elif head.call_buffer is not None:
            self._coming[stream_id] = head
            if flags & END_STREAM:
                self._finish(stream_id, head, now)
        else:
            self._open_tunnel(flags, stream_id, head, now)

    def _on_trailers(self, flags: int, stream_id: int, block: bytes, now: float) -> None:
        self._heads.skip(block)
        known = self._coming.get(stream_id)
        if known is None:  # of a stream that we have ended
            self._flood_guard.lose(now)
        elif not flags & END_STREAM or (isinstance(known, ReceivingStream) and known.ended):
            self._drop(stream_id, Code.PROTOCOL_ERROR)
        else:
            self._finish(stream_id, known, now)

    def _admit(self, stream_id: int, head: RequestHeaders) -> bool:
        """Whether a stream may begin here. Raises ConnectionFault if it cannot be new."""
        if stream_id <= self._last_stream or not stream_id & 1:
            code = Code.STREAM_CLOSED if stream_id & 1 else Code.PROTOCOL_ERROR
            raise ConnectionFault(code, f"stream {stream_id} cannot begin here")
        self._last_stream = stream_id
        send_buffer = self.send_buffer
        if (
            len(self._coming) + len(self.taken) + send_buffer.finishing < self._streams_max
            and send_buffer.unsent <= self._limits.unsent_bytes
        ):
            return True
        self._reset(stream_id, Code.REFUSED_STREAM)
        self._tell(head, StatusCode.UNAVAILABLE)
        return False

    def _on_data(self, flags: int, stream_id: int, data: bytes, start: int, end: int, now: float) -> int:
        head = self._coming.get(stream_id)
        if not flags and head is not None and end < len(data):
            return self._on_data_run(stream_id, head, data, start, end, now)
        self._unacknowledged += end - start
        if flags == END_STREAM and type(head) is RequestHeaders and end - start >= PREFIX_BYTES:
            compressed, length = read_prefix(data, start)
            if not compressed and length == end - start - PREFIX_BYTES:
                del self._coming[stream_id]
                self._take(stream_id, head, data[start + PREFIX_BYTES : end], now)
                return end
        self._on_unusual_data(flags, stream_id, head, data[start:end], now)
        return end

    def _on_data_run(
        self, stream_id: int, known: RequestHeaders | ReceivingStream, data: bytes, start: int, end: int, now: float
    ) -> int:
        """A part of a message, together with what comes right behind it: each frame by itself took 4 µs."""
        parts, flags, end = frames.data_run(data, stream_id, start, end)
        size = sum(map(len, parts))
        self._unacknowledged += size
        if flags == END_STREAM and type(known) is RequestHeaders and len(parts[0]) >= PREFIX_BYTES:
            compressed, length = read_prefix(parts[0], 0)
            if not compressed and length == size - PREFIX_BYTES:
                del self._coming[stream_id]
                parts[0] = parts[0][PREFIX_BYTES:]
                self._take(stream_id, known, b"".join(parts), now)
                return end
        self._on_unusual_data(flags, stream_id, known, b"".join(parts), now)
        return end

    def _take(self, stream_id: int, head: RequestHeaders, message: bytes, now: float) -> None:
        call_buffer = head.call_buffer
        assert call_buffer is not None
        self.taken[stream_id] = call = Call(
            (self, stream_id), self._services.sink, now + head.timeout_s, b"", head.grant, head.trace, head.request_id
        )
        call_buffer.calls.append(call)
        call_buffer.payloads.append(message)
        self._flood_guard.frames -= IDLE_FRAMES_FORGIVEN

    def _on_unusual_data(
        self, flags: int, stream_id: int, known: RequestHeaders | ReceivingStream | None, payload: bytes, now: float
    ) -> None:
        """DATA of a request in pieces, of a tunnel, padded, compressed, or of no stream at all."""
        if known is None:
            if stream_id > self._last_stream or not stream_id:
                raise ConnectionFault(Code.PROTOCOL_ERROR, f"DATA on stream {stream_id}, which has not begun")
            self._on_late_data(flags, stream_id, payload, now)
            return
        if payload:
            self._flood_guard.frames -= 1
        elif not flags & END_STREAM:
            self._flood_guard.lose(now)
        request = known if isinstance(known, ReceivingStream) else self._in_pieces(stream_id, known, now)
        if request.ended or not request.spend(len(payload)):
            self._drop(stream_id, Code.STREAM_CLOSED if request.ended else Code.FLOW_CONTROL_ERROR)
            return
        try:
            request.feed(frames.without_padding(flags & frames.PADDED, payload))
        except MessageFault as fault:
            self._fail(stream_id, request, fault.status)
            return
        if flags & END_STREAM:
            self._finish(stream_id, request, now)
        else:
            self._refill(stream_id, request)

    def _on_late_data(self, flags: int, stream_id: int, payload: bytes, now: float) -> None:
        """DATA of a stream that has ended."""
        if not ((payload or flags & END_STREAM) and self._ended.spend(stream_id, len(payload))):
            self._flood_guard.lose(now)

    def _in_pieces(self, stream_id: int, head: RequestHeaders, now: float) -> ReceivingStream:
        assert head.call_buffer is not None
        limits = self._services.limits
        assembler = Assembler(head.encoding, limits.message_bytes, head.call_buffer.method.too_large)
        request = self._coming[stream_id] = ReceivingStream(head, assembler, self._services.budget, now)
        return request

    def _finish(self, stream_id: int, known: RequestHeaders | ReceivingStream, now: float) -> None:
        """The client sends no more on this stream."""
        if isinstance(known, ReceivingStream):
            known.ended = True
            if known.tunnel is not None and known.between_messages:
                known.tunnel.half_close()
                return
        whole = known.whole if isinstance(known, ReceivingStream) and known.between_messages else None
        if whole is None:
            self._fail(stream_id, known, Status(StatusCode.INTERNAL, "the request ended before its message was whole"))
            return
        self._forget_request(stream_id)
        head = known.head if isinstance(known, ReceivingStream) else known
        self._take(stream_id, head, whole, now)

    def _refuse(self, stream_id: int, block: bytes, *, ended: bool) -> None:
        """End a request with this answer. `ended`: the client has said its last."""
        self._forget_request(stream_id)
        self.send_buffer.refuse(stream_id, block)
        if not ended:
            self._reset(stream_id, Code.NO_ERROR)  # what still comes of it is not looked at

    def _fail(self, stream_id: int, known: RequestHeaders | ReceivingStream, status: Status) -> None:
        """End a request for a fault in its messages, which may come after a part of its answer."""
        head = known.head if isinstance(known, ReceivingStream) else known
        self._tell(head, status.code)
        if isinstance(known, ReceivingStream):
            known.cancel()
            self._close(stream_id, known, response_headers.closing(status) + _id_of(head))
        else:
            self._refuse(stream_id, response_headers.refusal(status) + _id_of(head), ended=True)

    def _close(self, stream_id: int, request: ReceivingStream, closing: bytes) -> None:
        """End a request with these trailers, after what was sent of its answer."""
        if not request.answered:
            self._refuse(stream_id, response_headers.OPENING + closing, ended=request.ended)
            return
        self._forget_request(stream_id)
        self.send_buffer.close(stream_id, closing, resets=not request.ended)
        if not request.ended:
            self._ended.add(stream_id, request.window)

    def _drop(self, stream_id: int, code: Code) -> None:
        """End a request that is still coming without an answer."""
        known = self._coming.get(stream_id)
        self._forget_request(stream_id)
        if isinstance(known, ReceivingStream):
            known.cancel()
        self._reset(stream_id, code)
        if known is not None:
            cancelled = StatusCode.CANCELLED if code is Code.CANCEL else StatusCode.INTERNAL
            self._tell(known.head if isinstance(known, ReceivingStream) else known, cancelled)

    def _forget_request(self, stream_id: int) -> None:
        known = self._coming.pop(stream_id, None)
        if isinstance(known, ReceivingStream):
            known.forget()

    def _tell(self, head: RequestHeaders | None, code: StatusCode) -> None:
        """Whoever counts requests hears how this one ended. None: what came before its message could not be read."""
        if self._services.ended is not None:
            path, request_id = (head.path, head.request_id) if head else ("", "")
            self._services.ended(path, code.name, request_id)

    def _reset(self, stream_id: int, code: Code) -> None:
        self.send_buffer.forget(stream_id)
        self.send_buffer.frames.append(frames.reset(stream_id, code))
        self._ended.add(stream_id, ReceivingStream.WINDOW)

    def _refill(self, stream_id: int, request: ReceivingStream) -> None:
        """Let the client send more of this request, if it may."""
        if increment := request.refill():
            self.send_buffer.frames.append(frames.window_update(stream_id, increment))

    # --- Answers ----------------------------------------------------------------------------------------------------

    def answer(self, stream_id: int, message: bytes) -> None:
        """The reply to a call that was taken; nothing if its caller has gone."""
        if self.taken.pop(stream_id, None) is not None:
            self.send_buffer.reply(stream_id, message)

    def refuse(self, stream_id: int, block: bytes) -> None:
        """The end of a call that was taken, without a reply but this block; nothing if its caller has gone."""
        if self.taken.pop(stream_id, None) is not None:
            self.send_buffer.refuse(stream_id, block)

    # --- Tunnels ----------------------------------------------------------------------------------------------------

    def _open_tunnel(self, flags: int, stream_id: int, head: RequestHeaders, now: float) -> None:
        limits, services = self._services.limits, self._services
        assembler = Assembler(head.encoding, limits.message_bytes, message_too_large)
        request = self._coming[stream_id] = ReceivingStream(head, assembler, services.budget, now)
        request.tunnel = services.open_tunnel(self, stream_id, head)  # after it is known: what is behind begins at once
        if flags & END_STREAM:
            self._finish(stream_id, request, now)

    def tunnel_consumed(self, stream_id: int, size: int) -> None:
        """The service behind took a message of so many bytes."""
        request = self._coming.get(stream_id)
        if isinstance(request, ReceivingStream):
            request.consumed(size)
            self._refill(stream_id, request)

    def tunnel_open(self, stream_id: int, metadata: bytes) -> None:
        """The answer begins, with these fields of the service."""
        request = self._coming.get(stream_id)
        if isinstance(request, ReceivingStream):
            request.answered = True
            self.send_buffer.open(stream_id, metadata)

    def tunnel_send(self, stream_id: int, message: bytes, sent: Sent) -> None:
        """One message of the answer; `sent` is called when the peer's windows had room for it."""
        if stream_id in self._coming:
            self.send_buffer.send(stream_id, message, sent)

    def tunnel_close(self, stream_id: int, status: Status, trailing: bytes) -> None:
        """The answer ends."""
        request = self._coming.get(stream_id)
        if not isinstance(request, ReceivingStream):
            return
        if not self._services.is_ours(request.head.path):  # else each of its messages is a request
            self._tell(request.head, status.code)
        self._close(stream_id, request, response_headers.closing(status) + trailing)

    def tunnel_reset(self, stream_id: int) -> None:
        """There will be no answer."""
        if stream_id in self._coming:
            self._drop(stream_id, Code.CANCEL)

    # --- What the peer says of streams --------------------------------------------------------------------------------

    def _on_window_update(self, stream_id: int, increment: int) -> None:
        if not stream_id:
            self.send_buffer.widen(increment)
        elif stream_id in self.taken or stream_id in self._coming or self.send_buffer.has(stream_id):
            self.send_buffer.widen_stream(stream_id, increment)
        elif stream_id > self._last_stream:
            raise ConnectionFault(Code.PROTOCOL_ERROR, f"a window of stream {stream_id}, which has not begun")

    def _on_reset(self, stream_id: int) -> None:
        if stream_id > self._last_stream or not stream_id:
            raise ConnectionFault(Code.PROTOCOL_ERROR, f"a reset of stream {stream_id}, which has not begun")
        self.send_buffer.forget(stream_id)
        if (call := self.taken.pop(stream_id, None)) is not None:
            call.cancelled = True
        request = self._coming.get(stream_id)
        self._forget_request(stream_id)
        if isinstance(request, ReceivingStream):
            request.cancel()

    # --- The end ----------------------------------------------------------------------------------------------------

    @property
    def ends(self) -> bool:
        """Whether nothing new begins here any more."""
        return self._last_taken is not None

    def say_goodbye(self, code: Code = Code.NO_ERROR, message: str = "") -> None:
        """Take nothing new, and tell the peer: what it began later than the last we saw may safely be sent again
        elsewhere."""
        self._streams_max = 0
        if self._last_taken is None:
            self._last_taken = self._last_stream
        self.send_buffer.frames.append(frames.goaway(self._last_taken, code, message))

    def _on_end_heard(self) -> None:
        self.say_goodbye()

    def lose(self) -> None:
        """The peer has gone: nobody waits any more."""
        for call in self.taken.values():
            call.cancelled = True
        self.taken.clear()
        for stream_id, known in list(self._coming.items()):
            self._forget_request(stream_id)
            if isinstance(known, ReceivingStream):
                known.cancel()

    def stalled(self, now: float) -> bool:
        """Whether a message, a frame or a header block began long ago and is not whole, or a reply waits for windows
        that do not move. To be asked every second or so: of a request that is a head and no more, and of a reply, time
        runs since the first time it is seen here."""
        limit = self._limits.stalled_s
        for stream_id, known in list(self._coming.items()):
            request = known if isinstance(known, ReceivingStream) else self._in_pieces(stream_id, known, now)
            if request.stalled(now, limit):
                return True
        # A client that begins new requests is there, and may read each answer when it likes.
        moves = (self.send_buffer.moved, self._last_stream) if self.send_buffer.owes_reply else None
        return self._owing.lasts_s(moves, now) > limit or now - self.unfinished_since(now) > limit


def _id_of(head: RequestHeaders) -> bytes:
    return response_headers.request_id(head.request_id) if head.request_id else b""
