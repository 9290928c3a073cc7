"""All streams of one connection, each in one state at a time, and how each ends: answered, refused, reset, abandoned.

States: *opened* (its headers are here, and no part of its message), *receiving* (its message comes in parts, or it is a
stream of messages), *running* (its call was handed over and is not answered), *closed* (ended by us while the client
may still send). What a peer may send, and which state a stream enters, is decided in connection.py.
"""

from grpc import StatusCode

from skylane.server.codecs.grpc_status import Status, status_of
from skylane.server.core.errors import Unauthenticated
from skylane.server.core.token_scope import Grant
from skylane.server.core.types import Call
from skylane.server.grpc.http2 import frames, response_headers
from skylane.server.grpc.http2.flood_guard import ABANDONED, ClosedStreams, FloodGuard
from skylane.server.grpc.http2.frames import Code
from skylane.server.grpc.http2.limits import Places, Share
from skylane.server.grpc.http2.messages import Assembler
from skylane.server.grpc.http2.receiving_stream import Discarded, ReceivingStream
from skylane.server.grpc.http2.request_headers import RequestHeaders
from skylane.server.grpc.http2.send_buffer import SendBuffer, Sent
from skylane.server.grpc.http2.services import Services


class Streams:
    """The streams of one connection. Belongs to the reactor's thread."""

    def __init__(self, services: Services, send_buffer: SendBuffer, flood_guard: FloodGuard) -> None:
        self._services, self._send_buffer, self._flood_guard = services, send_buffer, flood_guard
        self.opened: dict[int, RequestHeaders] = {}
        """Stream → the headers of a unary request of which nothing else has come."""
        self.receiving: dict[int, ReceivingStream] = {}
        """Stream → what has come of a request in parts, or of a stream of messages."""
        self.running: dict[int, Call] = {}
        """Stream → the call that was handed over and is not yet answered."""
        self.closed = ClosedStreams(services.limits.streams)
        self.share = Share(services.budget)
        self._places_taken = 0
        """Streams that hold places."""
        self._abandoned = FloodGuard(services.limits.abandoned, ABANDONED)

    def __bool__(self) -> bool:
        """Whether any stream is opened, receiving or running."""
        return bool(self.running or self.opened or self.receiving)

    def __contains__(self, stream_id: int) -> bool:
        """Whether the client's part of this stream has not ended."""
        return stream_id in self.opened or stream_id in self.receiving

    @property
    def busy(self) -> bool:
        """Whether a request is coming or running. A stream that only waits does not count. From any thread."""
        receiving = list(self.receiving.values())  # at once: another thread may change it
        return bool(self.running or self.opened) or any(stream.busy for stream in receiving)

    @property
    def is_strained(self) -> bool:
        """Whether a tenth of the abandoned calls that end the connection has come."""
        return self._abandoned.is_strained

    # --- From one state to the next -----------------------------------------------------------------------------------

    def receive(
        self, stream_id: int, headers: RequestHeaders, assembler: Assembler | Discarded, now: float
    ) -> ReceivingStream:
        """Begin to receive a request in parts, or a stream of messages."""
        stream = self.receiving[stream_id] = ReceivingStream(headers, assembler, self.share, now)
        return stream

    def receive_parts(self, stream_id: int, now: float) -> ReceivingStream:
        """Begin to receive the message of an opened stream in parts."""
        headers = self.opened.pop(stream_id)
        assert headers.call_buffer is not None
        too_large = headers.call_buffer.method.too_large
        assembler = Assembler(headers.encoding, self._services.limits.message_bytes, too_large)
        return self.receive(stream_id, headers, assembler, now)

    def take_place(self, place: Places) -> str:
        """Take one of the places for streams of this kind. Returns why there is none, or nothing."""
        each_max = self._services.limits.passed_on_each
        if self._places_taken >= each_max:
            return f"this connection has {each_max} calls open beside predictions, as many as it may: end some of them"
        if not place.take():
            return place.full
        self._places_taken += 1
        return ""

    def forget(self, stream_id: int) -> None:
        """The client's part of a stream has ended: give back what it held."""
        if self.opened.pop(stream_id, None) is None and (stream := self.receiving.pop(stream_id, None)) is not None:
            self._places_taken -= stream.place is not None
            stream.forget()

    # --- Ends of requests ---------------------------------------------------------------------------------------------

    def refuse(self, stream_id: int, block: bytes, *, ended: bool) -> None:
        """End a request with these trailers and nothing else. `ended`: the client sends no more."""
        self.forget(stream_id)
        self._send_buffer.refuse(stream_id, block)
        if not ended:
            self.reset(stream_id, Code.NO_ERROR)  # what still arrives of it is ignored

    def explain(self, stream_id: int, stream: ReceivingStream) -> None:
        """End a request that is not gRPC with its refusal, and text for people."""
        headers = stream.headers
        assert headers.refusal is not None
        self.forget(stream_id)
        block = headers.refusal + id_field(headers)
        self._send_buffer.explain(stream_id, block, headers.explanation, resets=not stream.ended)
        if not stream.ended:
            self.closed.add(stream_id, stream.window)
        self.report(headers, headers.refused)

    def fail(self, stream_id: int, stream: ReceivingStream, status: Status) -> None:
        """End a request for a fault in its messages, possibly after a part of its response."""
        self.report(stream.headers, status.code)
        stream.cancel()
        self._close(stream_id, stream, response_headers.closing(status) + id_field(stream.headers))

    def cancel(self, stream_id: int, code: Code) -> None:
        """Reset a stream in whatever state it is."""
        if (call := self.running.pop(stream_id, None)) is not None:
            call.cancelled = True
        self.drop(stream_id, code)

    def drop(self, stream_id: int, code: Code) -> None:
        """Reset a stream that is opened or receiving."""
        stream = self.receiving.get(stream_id)
        headers = self.opened.get(stream_id) if stream is None else stream.headers
        self.forget(stream_id)
        if stream is not None:
            stream.cancel()
        self.reset(stream_id, code)
        if headers is not None:
            self.report(headers, StatusCode.CANCELLED if code is Code.CANCEL else StatusCode.INTERNAL)

    def fault(self, stream_id: int, code: Code, now: float) -> None:
        """The peer broke the protocol on a stream that is opened or receiving: reset it, and count it."""
        stream = self.receiving.get(stream_id)
        self.drop(stream_id, code)
        self.count_fault(stream, now)

    def count_fault(self, stream: ReceivingStream | None, now: float) -> None:
        """Count a request that its client's own fault has ended. Raises ConnectionFault if there are too many."""
        self._flood_guard.lose(now)
        if stream is not None and stream.handler is not None and not stream.answered:
            self._abandoned.lose(now)

    def abandon(self, stream_id: int, now: float) -> None:
        """The client has reset the stream. Raises ConnectionFault if it does so too often."""
        if (call := self.running.pop(stream_id, None)) is not None:
            call.cancelled = True
        stream = self.receiving.get(stream_id)
        self.forget(stream_id)
        if stream is not None:
            stream.cancel()
            if stream.handler is not None and not stream.answered:
                self._abandoned.lose(now)

    def reset(self, stream_id: int, code: Code) -> None:
        """Send RST_STREAM, and drop what the stream still had to send."""
        self._send_buffer.forget(stream_id)
        self._send_buffer.frames.append(frames.reset(stream_id, code))
        self.closed.add(stream_id, ReceivingStream.WINDOW)

    def refill(self, stream_id: int, stream: ReceivingStream) -> None:
        """Let the client send more of this request, if it may."""
        if increment := stream.refill():
            self._send_buffer.frames.append(frames.window_update(stream_id, increment))

    def report(self, headers: RequestHeaders | None, code: StatusCode) -> None:
        """Report how a request ended that reached no method. None: its headers could not be read."""
        if self._services.ended is not None:
            path, request_id = (headers.path, headers.request_id) if headers else ("", "")
            self._services.ended(path, code.name, request_id)

    def _close(self, stream_id: int, stream: ReceivingStream, closing: bytes) -> None:
        """End a request with these trailers, after what was sent of its response."""
        if not stream.answered:
            self.refuse(stream_id, response_headers.OPENING + closing, ended=stream.ended)
            return
        self.forget(stream_id)
        self._send_buffer.close(stream_id, closing, resets=not stream.ended)
        if not stream.ended:
            self.closed.add(stream_id, stream.window)

    # --- Responses to calls -------------------------------------------------------------------------------------------

    def answer(self, stream_id: int, message: bytes, closing: bytes = response_headers.OK) -> None:
        """Send the reply to a running call, with these trailers; nothing if its client has gone."""
        if self.running.pop(stream_id, None) is not None:
            self._send_buffer.reply(stream_id, message, closing)

    def refuse_call(self, stream_id: int, block: bytes) -> None:
        """End a running call with these trailers and no reply; nothing if its client has gone."""
        if self.running.pop(stream_id, None) is not None:
            self._send_buffer.refuse(stream_id, block)

    # --- Responses of stream handlers ---------------------------------------------------------------------------------

    def message_consumed(self, stream_id: int, size: int) -> None:
        """The handler has processed a message of so many bytes."""
        if (stream := self.receiving.get(stream_id)) is not None:
            stream.consumed(size)
            self.refill(stream_id, stream)

    def open_response(self, stream_id: int, metadata: bytes) -> None:
        """Send the response's headers, with these fields of the service."""
        if (stream := self.receiving.get(stream_id)) is not None:
            stream.answered = True
            self._send_buffer.open(stream_id, metadata)

    def send_message(self, stream_id: int, message: bytes, sent: Sent) -> None:
        """Send one message of the response. `sent` is called when the peer's windows had room for it."""
        if stream_id in self.receiving:
            self._send_buffer.send(stream_id, message, sent)

    def close_response(self, stream_id: int, status: Status, trailing: bytes) -> None:
        """End the response."""
        stream = self.receiving.get(stream_id)
        if stream is None:
            return
        if not self._services.is_ours(stream.headers.path):  # else each of its messages is counted as a request
            self.report(stream.headers, status.code)
        self._close(stream_id, stream, response_headers.closing(status) + trailing)

    def cancel_response(self, stream_id: int) -> None:
        """End the stream without a response."""
        if stream_id in self.receiving:
            self.drop(stream_id, Code.CANCEL)

    # --- Ends of many streams -----------------------------------------------------------------------------------------

    def end_revoked(self) -> None:
        """End the streams whose token is no longer valid, or now allows something else."""
        grants: dict[str | None, Grant | Status] = {}
        for stream_id, headers in list(self.opened.items()):
            if (status := self._revoked(headers, grants)) is not None:
                self.report(headers, status.code)
                self.refuse(stream_id, response_headers.refusal(status) + id_field(headers), ended=False)
        for stream_id, stream in list(self.receiving.items()):
            if (status := self._revoked(stream.headers, grants)) is not None:
                self.fail(stream_id, stream, status)

    def _revoked(self, headers: RequestHeaders, grants: dict[str | None, Grant | Status]) -> Status | None:
        """The status with which a request ends whose token was revoked; None if it still allows the same. `grants`:
        those already looked up."""
        if headers.refusal is not None or self._services.is_open(headers.path):
            return None
        if headers.authorization not in grants:
            grants[headers.authorization] = self._current_grant(headers.authorization)
        grant = grants[headers.authorization]
        if isinstance(grant, Status) or grant == headers.grant:
            return grant if isinstance(grant, Status) else None
        return status_of(Unauthenticated("what the token allows has changed: send the request again"))

    def _current_grant(self, authorization: str | None) -> Grant | Status:
        try:
            return self._services.grant_of(authorization)
        except Unauthenticated as error:
            return status_of(error)

    def cancel_all(self) -> None:
        """The peer has gone: cancel every call and handler."""
        for call in self.running.values():
            call.cancelled = True
        self.running.clear()
        self.opened.clear()
        for stream_id, stream in list(self.receiving.items()):
            self.forget(stream_id)
            stream.cancel()


def id_field(headers: RequestHeaders) -> bytes:
    """The request's id as a field of its response; nothing if it has none."""
    return response_headers.request_id(headers.request_id) if headers.request_id else b""
