"""How requests of one connection end: answered, refused, reset, or given up, by either side.

What a peer may send, and what begins of it, is connection.py's.
"""

from abc import ABC

from grpc import StatusCode

from skylane.server.codecs.grpc_status import Status, status_of
from skylane.server.core.errors import Unauthenticated
from skylane.server.core.grant import Grant
from skylane.server.core.types import Call
from skylane.server.grpc.http2 import frames, response_headers
from skylane.server.grpc.http2.flood_guard import ABANDONED, ClosedStreams, FloodGuard, StallGuard
from skylane.server.grpc.http2.frame_reader import FrameReader
from skylane.server.grpc.http2.frames import Code
from skylane.server.grpc.http2.limits import Share
from skylane.server.grpc.http2.receiving_stream import ReceivingStream
from skylane.server.grpc.http2.request_headers import HeaderCache, RequestHeaders
from skylane.server.grpc.http2.send_buffer import Sent
from skylane.server.grpc.http2.services import Services


class Answering(FrameReader, ABC):
    """The state of one connection, and the ends of its requests. Belongs to the front's thread."""

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
            services.is_open,
        )
        self._share = Share(services.budget)
        self._passed_on = 0
        """Calls that hold places."""
        self._abandoned = FloodGuard(services.limits.abandoned, ABANDONED)
        self._updates = 0
        """Windows that the peer has widened."""
        self._coming: dict[int, RequestHeaders | ReceivingStream] = {}
        """Stream → what is known of a request that is not whole."""
        self._streams_max = services.limits.streams
        self._last_stream = 0
        self._last_taken: int | None = None
        """The last stream that we look at, once we have told the peer."""
        self._known_until = 0.0
        self._ended = ClosedStreams(services.limits.streams)
        self._owing = StallGuard()

    # --- Requests that end --------------------------------------------------------------------------------------------

    def _refuse(self, stream_id: int, block: bytes, *, ended: bool) -> None:
        """End a request with this answer. `ended`: the client has said its last."""
        self._forget_request(stream_id)
        self.send_buffer.refuse(stream_id, block)
        if not ended:
            self._reset(stream_id, Code.NO_ERROR)  # what still comes of it is not looked at

    def _explain(self, stream_id: int, request: ReceivingStream) -> None:
        """End a request that is not gRPC with its refusal, and text for people."""
        head = request.head
        assert head.refusal is not None
        self._forget_request(stream_id)
        self.send_buffer.explain(stream_id, head.refusal + id_of(head), head.explanation, resets=not request.ended)
        if not request.ended:
            self._ended.add(stream_id, request.window)
        self._tell(head, head.refused)

    def _fail(self, stream_id: int, known: RequestHeaders | ReceivingStream, status: Status) -> None:
        """End a request for a fault in its messages, which may come after a part of its answer."""
        head = known.head if isinstance(known, ReceivingStream) else known
        self._tell(head, status.code)
        if isinstance(known, ReceivingStream):
            known.cancel()
            self._close(stream_id, known, response_headers.closing(status) + id_of(head))
        else:
            self._refuse(stream_id, response_headers.refusal(status) + id_of(head), ended=True)

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

    def _cancel(self, stream_id: int, code: Code) -> None:
        """Reset a stream, whatever is under way on it."""
        if (call := self.taken.pop(stream_id, None)) is not None:
            call.cancelled = True
        self._drop(stream_id, code)

    def _fault(self, stream_id: int, code: Code, now: float) -> None:
        """The peer broke the protocol on a stream that is still coming, which ends."""
        known = self._coming.get(stream_id)
        self._drop(stream_id, code)
        self._charge(known, now)

    def _charge(self, known: RequestHeaders | ReceivingStream | None, now: float) -> None:
        """A request ended by its client's own doing. Raises ConnectionFault if too many do."""
        self._flood_guard.lose(now)
        if isinstance(known, ReceivingStream) and known.tunnel is not None and not known.answered:
            self._abandoned.lose(now)

    def _forget_request(self, stream_id: int) -> None:
        known = self._coming.pop(stream_id, None)
        if isinstance(known, ReceivingStream):
            self._passed_on -= known.place is not None
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

    # --- Answers ------------------------------------------------------------------------------------------------------

    def answer(self, stream_id: int, message: bytes, closing: bytes = response_headers.OK) -> None:
        """The reply to a call that was taken; nothing if its caller has gone. `closing`: its trailers."""
        if self.taken.pop(stream_id, None) is not None:
            self.send_buffer.reply(stream_id, message, closing)

    def refuse(self, stream_id: int, block: bytes) -> None:
        """The end of a call that was taken, without a reply but this block; nothing if its caller has gone."""
        if self.taken.pop(stream_id, None) is not None:
            self.send_buffer.refuse(stream_id, block)

    # --- Tunnels ------------------------------------------------------------------------------------------------------

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

    # --- The end ------------------------------------------------------------------------------------------------------

    def end_revoked(self) -> None:
        """End the streams whose callers would not be let in any more, or may now do something else."""
        grants: dict[str | None, Grant | Status] = {}
        for stream_id, request in list(self._coming.items()):
            head = request.head if isinstance(request, ReceivingStream) else request
            if head.refusal is not None or self._services.is_open(head.path):
                continue
            if head.authorization not in grants:
                grants[head.authorization] = self._grant_now(head.authorization)
            grant = grants[head.authorization]
            if isinstance(grant, Status):
                self._fail(stream_id, request, grant)
            elif grant != head.grant:
                changed = Unauthenticated("what the token allows has changed: send the request again")
                self._fail(stream_id, request, status_of(changed))

    def _grant_now(self, authorization: str | None) -> Grant | Status:
        try:
            return self._services.grant_of(authorization)
        except Unauthenticated as error:
            return status_of(error)

    def lose(self) -> None:
        """The peer has gone: nobody waits any more."""
        for call in self.taken.values():
            call.cancelled = True
        self.taken.clear()
        for stream_id, known in list(self._coming.items()):
            self._forget_request(stream_id)
            if isinstance(known, ReceivingStream):
                known.cancel()


def id_of(head: RequestHeaders) -> bytes:
    """The id of a request as a field of its answer; nothing if it has none."""
    return response_headers.request_id(head.request_id) if head.request_id else b""
