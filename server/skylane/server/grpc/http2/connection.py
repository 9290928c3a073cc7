"""One HTTP/2 connection, without its socket: bytes in, calls out; replies in, frames out.

Made for many small requests. One that came in two frames with a head seen before becomes a call in under 2 µs; what is
rarer may take its time, in methods of its own. Every limit of limits.py that concerns one connection is kept here.
RFC 9113 is HTTP/2; gRPC's use of it is in grpc/doc/PROTOCOL-HTTP2.md.
"""

from typing import Final

from grpc import StatusCode

from skylane.server.codecs.grpc_status import Status
from skylane.server.core.types import Call
from skylane.server.grpc.http2 import frames, http1_response, response_headers
from skylane.server.grpc.http2.answering import Answering, id_of
from skylane.server.grpc.http2.call_buffer import CallBuffer
from skylane.server.grpc.http2.flood_guard import EXCESS_BYTES, IDLE_FRAMES_FORGIVEN
from skylane.server.grpc.http2.frames import END_HEADERS, END_STREAM, Code, ConnectionFault
from skylane.server.grpc.http2.limits import Places
from skylane.server.grpc.http2.messages import PREFIX_BYTES, Assembler, MessageFault, message_too_large, read_prefix
from skylane.server.grpc.http2.receiving_stream import Discarded, ReceivingStream
from skylane.server.grpc.http2.request_fields import StreamFault
from skylane.server.grpc.http2.request_headers import RequestHeaders

KNOWN_S: Final = 1.0
"""For so long a head seen before is believed: its token may expire or be withdrawn meanwhile."""

KEPT_BYTES: Final = 2**14
"""A message in pieces of so many bytes or more stays in its connection's share until it is handed over."""
DISCARDED_BYTES: Final = 2**16
"""Of a request that is not gRPC; one that goes on is answered before it ends."""
UPDATES_A_BYTE: Final = 2
"""Windows that a client may widen for each byte that it was sent: the stream's, and the connection's."""


class Connection(Answering):
    """State of one connection. Belongs to the front's thread."""

    @property
    def busy(self) -> bool:
        """Whether a request is coming, under way, or its answer not yet out. A stream that only waits is none."""
        coming = list(self._coming.values())  # at once: another thread may ask
        return bool(self.taken or self.send_buffer.busy) or any(
            isinstance(it, RequestHeaders) or it.busy for it in coming
        )

    @property
    def is_proven(self) -> bool:
        """Whether the peer has sent requests, and nothing since that they do not make up for."""
        return self._flood_guard.frames < 0 and not self._abandoned.is_strained

    @property
    def is_flooding(self) -> bool:
        """Whether much has come that brings no request."""
        return self._flood_guard.is_strained or self._abandoned.is_strained

    def feed(self, data: bytes, now: float) -> None:
        """See FrameReader. Calls go to their call buffers, protocol replies to the send buffer."""
        if now >= self._known_until:  # whom a token lets in may have changed
            self._heads.forget()
            self._known_until = now + KNOWN_S
        super().feed(data, now)

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

    # --- Requests ---------------------------------------------------------------------------------------------------

    def _on_headers(self, flags: int, stream_id: int, block: bytes, now: float) -> None:
        head = self._heads.known.get(block)
        if head is not None and flags == END_HEADERS and head.call_buffer is not None:
            if self._admit(stream_id, head, now):
                self._coming[stream_id] = head
            return
        self._gather(flags, stream_id, block, now)

    def _on_block(self, flags: int, stream_id: int, block: bytes, now: float) -> None:
        """A whole header block: a new request, or a client's trailers."""
        if stream_id in self._coming or stream_id in self._ended:
            self._on_trailers(flags, stream_id, block, now)
            return
        self._check_new(stream_id)
        if not block:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "an empty header block")
        try:
            head = self._heads.known.get(block) or self._heads.decode(block)
        except StreamFault:
            self._last_stream = stream_id
            self._reset(stream_id, Code.PROTOCOL_ERROR)
            self._tell(None, StatusCode.INTERNAL)
            self._flood_guard.lose(now)
            return
        if not self._admit(stream_id, head, now):
            return
        if head.explanation:
            request = self._coming[stream_id] = ReceivingStream(head, Discarded(), self._share, now)
            if flags & END_STREAM:
                self._finish(stream_id, request, now)
            self._flood_guard.lose(now)
        elif head.refusal is not None:
            self._refuse(stream_id, head.refusal + id_of(head), ended=bool(flags & END_STREAM))
            self._tell(head, head.refused)
            self._flood_guard.lose(now)
        elif head.call_buffer is not None:
            self._coming[stream_id] = head
            if flags & END_STREAM:
                self._finish(stream_id, head, now)
        else:
            self._open_tunnel(flags, stream_id, head, now)

    def _on_trailers(self, flags: int, stream_id: int, block: bytes, now: float) -> None:
        code: Code | None = None if flags & END_STREAM else Code.PROTOCOL_ERROR
        try:
            self._heads.trailers(block)
        except StreamFault:
            code = Code.PROTOCOL_ERROR
        known = self._coming.get(stream_id)
        if isinstance(known, ReceivingStream) and known.ended:
            code = Code.STREAM_CLOSED
        if known is None:  # of a stream that we have ended
            self._flood_guard.lose(now)
        elif code is not None:
            self._fault(stream_id, code, now)
        else:
            self._finish(stream_id, known, now)

    def _check_new(self, stream_id: int) -> None:
        """Raise ConnectionFault if no stream of this number can begin."""
        if stream_id <= self._last_stream or not stream_id & 1:
            code = Code.STREAM_CLOSED if stream_id & 1 else Code.PROTOCOL_ERROR
            raise ConnectionFault(code, f"stream {stream_id} cannot begin here")

    def _admit(self, stream_id: int, head: RequestHeaders, now: float) -> bool:
        """Whether a stream may begin here. Raises ConnectionFault if it cannot be new."""
        if stream_id <= self._last_stream or not stream_id & 1:
            self._check_new(stream_id)
        self._last_stream = stream_id
        send_buffer = self.send_buffer
        if (
            len(self._coming) + len(self.taken) + send_buffer.finishing < self._streams_max
            and send_buffer.unsent <= self._limits.unsent_bytes
        ):
            return True
        self._reset(stream_id, Code.REFUSED_STREAM)
        self._tell(head, StatusCode.UNAVAILABLE)
        self._flood_guard.lose(now)
        return False

    def _on_data(self, flags: int, stream_id: int, data: bytes, start: int, end: int, now: float) -> int:
        head = self._coming.get(stream_id)
        if not flags and head is not None and end < len(data):
            return self._on_data_run(stream_id, head, data, start, end, now)
        self._unacknowledged += end - start
        if flags == END_STREAM and type(head) is RequestHeaders and end - start >= PREFIX_BYTES:
            compressed, length = read_prefix(data, start)
            if not compressed and length == end - start - PREFIX_BYTES and head.may_have(end - start):
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
            if not compressed and length == size - PREFIX_BYTES and known.may_have(size):
                del self._coming[stream_id]
                parts[0] = parts[0][PREFIX_BYTES:]
                self._take(stream_id, known, b"".join(parts), now)
                return end
        self._on_unusual_data(flags, stream_id, known, b"".join(parts), now, len(parts))
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
        self,
        flags: int,
        stream_id: int,
        known: RequestHeaders | ReceivingStream | None,
        payload: bytes,
        now: float,
        count: int = 1,
    ) -> None:
        """DATA of a request in pieces, of a tunnel, padded, compressed, or of no stream at all. `count`: frames."""
        content = frames.without_padding(flags & frames.PADDED, payload)
        if known is None:
            if stream_id > self._last_stream or not stream_id:
                raise ConnectionFault(Code.PROTOCOL_ERROR, f"DATA on stream {stream_id}, which has not begun")
            self._on_late_data(flags, stream_id, payload, now)
            return
        if content:
            self._flood_guard.frames -= count
        elif not flags & END_STREAM:
            self._flood_guard.lose(now)
        request = known if isinstance(known, ReceivingStream) else self._in_pieces(stream_id, known, now)
        if request.ended or not request.spend(len(payload)):
            self._fault(stream_id, Code.STREAM_CLOSED if request.ended else Code.FLOW_CONTROL_ERROR, now)
            return
        try:
            small = request.feed(content)
        except StreamFault:
            self._fault(stream_id, Code.PROTOCOL_ERROR, now)
            return
        except MessageFault as fault:
            self._fail(stream_id, request, fault.status)
            self._charge(request, now)
            return
        if (idle := max(small - count, 0) + request.excess() // EXCESS_BYTES) > 0:
            self._flood_guard.lose(now, idle)
        if flags & END_STREAM:
            self._finish(stream_id, request, now)
        elif request.head.explanation and request.window < ReceivingStream.WINDOW - DISCARDED_BYTES:
            self._explain(stream_id, request)
        else:
            self._refill(stream_id, request)

    def _on_late_data(self, flags: int, stream_id: int, payload: bytes, now: float) -> None:
        """DATA of a stream that has ended, or whose client has said that it sends no more."""
        if (payload or flags & END_STREAM) and self._ended.spend(stream_id, len(payload)):
            return
        if stream_id not in self._ended:
            if (call := self.taken.pop(stream_id, None)) is not None:
                call.cancelled = True
            self.send_buffer.forget(stream_id)
            self.send_buffer.frames.append(frames.reset(stream_id, Code.STREAM_CLOSED))
        self._flood_guard.lose(now)

    def _in_pieces(self, stream_id: int, head: RequestHeaders, now: float) -> ReceivingStream:
        assert head.call_buffer is not None
        limits = self._services.limits
        assembler = Assembler(head.encoding, limits.message_bytes, head.call_buffer.method.too_large)
        request = self._coming[stream_id] = ReceivingStream(head, assembler, self._share, now)
        return request

    def _finish(self, stream_id: int, known: RequestHeaders | ReceivingStream, now: float) -> None:
        """The client sends no more on this stream."""
        if isinstance(known, RequestHeaders) and not known.may_have(0):
            self._fault(stream_id, Code.PROTOCOL_ERROR, now)
            return
        if isinstance(known, ReceivingStream):
            known.ended = True
            if not known.is_complete:
                self._fault(stream_id, Code.PROTOCOL_ERROR, now)
                return
            if known.tunnel is not None and known.between_messages:
                known.tunnel.half_close()
                return
            if known.head.explanation:
                self._explain(stream_id, known)
                return
        whole = known.whole if isinstance(known, ReceivingStream) and known.between_messages else None
        if whole is None:
            self._fail(stream_id, known, Status(StatusCode.INTERNAL, "the request ended before its message was whole"))
            self._charge(known, now)
            return
        self._forget_request(stream_id)
        head = known.head if isinstance(known, ReceivingStream) else known
        self._take(stream_id, head, whole, now)
        if len(whole) >= KEPT_BYTES and head.call_buffer is not None:
            self.keep(head.call_buffer, len(whole))

    def keep(self, call_buffer: CallBuffer, size: int) -> None:
        """Count the payload that was put into this call buffer last as ours until it is handed over: now, if we hold
        as much
        as we may."""
        if self._share.take(size):
            call_buffer.hold(self._share, size)
        else:
            call_buffer.hand_over()

    # --- Tunnels ----------------------------------------------------------------------------------------------------

    def _open_tunnel(self, flags: int, stream_id: int, head: RequestHeaders, now: float) -> None:
        limits, services = self._services.limits, self._services
        place = services.place_of(head.path)
        if place is not None and (full := self._full(place)):
            status = Status(StatusCode.RESOURCE_EXHAUSTED, full)
            self._refuse(stream_id, response_headers.refusal(status) + id_of(head), ended=bool(flags & END_STREAM))
            self._tell(head, status.code)
            self._flood_guard.lose(now)
            return
        assembler = Assembler(head.encoding, limits.message_bytes, message_too_large)
        request = self._coming[stream_id] = ReceivingStream(head, assembler, self._share, now)
        request.place = place
        request.tunnel = services.open_tunnel(self, stream_id, head)  # after it is known: what is behind begins at once
        if flags & END_STREAM:
            self._finish(stream_id, request, now)

    def _full(self, place: Places) -> str:
        """Take a place for a call; if there is none, why."""
        each_max = self._limits.passed_on_each
        if self._passed_on >= each_max:
            return f"this connection has {each_max} calls open beside predictions, as many as it may: end some of them"
        if not place.take():
            return place.full
        self._passed_on += 1
        return ""

    # --- What the peer says of streams --------------------------------------------------------------------------------

    def _on_window_update(self, stream_id: int, increment: int, now: float) -> None:
        self._updates += 1
        if self._updates > UPDATES_A_BYTE * self.send_buffer.sent_bytes:
            self._flood_guard.lose(now)
        if not stream_id:
            self.send_buffer.widen(increment)
        elif stream_id in self.taken or stream_id in self._coming or self.send_buffer.has(stream_id):
            if not self.send_buffer.widen_stream(stream_id, increment):
                self._cancel(stream_id, Code.FLOW_CONTROL_ERROR)
                self._flood_guard.lose(now)
        elif stream_id > self._last_stream:
            raise ConnectionFault(Code.PROTOCOL_ERROR, f"a window of stream {stream_id}, which has not begun")

    def _on_reset(self, stream_id: int, now: float) -> None:
        if stream_id > self._last_stream or not stream_id:
            raise ConnectionFault(Code.PROTOCOL_ERROR, f"a reset of stream {stream_id}, which has not begun")
        self.send_buffer.forget(stream_id)
        if (call := self.taken.pop(stream_id, None)) is not None:
            call.cancelled = True
        request = self._coming.get(stream_id)
        self._forget_request(stream_id)
        if isinstance(request, ReceivingStream):
            request.cancel()
            if request.tunnel is not None and not request.answered:
                self._abandoned.lose(now)

    # --- The end ----------------------------------------------------------------------------------------------------

    @property
    def ends(self) -> bool:
        """Whether nothing new begins here any more."""
        return self._last_taken is not None

    @property
    def is_finished(self) -> bool:
        """Whether nothing new begins here, and no stream is left: not even one that only waits."""
        return self.ends and not (self.taken or self._coming or self.send_buffer.busy)

    @property
    def may_stall(self) -> bool:
        """Whether the peer owes something, or is to end soon, so that `stalled` and `ends` must be polled."""
        return bool(
            self._asked_to_end or not self.greeted or self._coming or self.send_buffer.unsent
            or self._rest or self._block is not None
        )  # fmt: skip

    def fail(self, fault: ConnectionFault) -> None:
        """The peer broke the protocol: say so, in the protocol that it speaks. Nothing may be fed any more."""
        if self.greeted:
            self.say_goodbye(fault.code, str(fault))
        elif http1_response.is_request(self._rest):
            self.send_buffer.frames.append(http1_response.RESPONSE)

    def end_by(self, due_at: float, now: float) -> None:
        """Ask the peer to begin nothing new; from `due_at` on refuse it, whether the peer has answered or not."""
        if not self._asked_to_end:
            self.announce_end()
        elif not self.ends and now >= due_at:
            self.say_goodbye()

    def say_goodbye(self, code: Code = Code.NO_ERROR, message: str = "") -> None:
        """Take nothing new, and tell the peer: what it began later than the last stream that we saw may safely be sent
        again elsewhere."""
        self._streams_max = 0
        if self._last_taken is None:
            self._last_taken = self._last_stream
        self.send_buffer.frames.append(frames.goaway(self._last_taken, code, message))

    def _on_end_heard(self) -> None:
        self.say_goodbye()

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
