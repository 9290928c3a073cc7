"""The asynchronous grpcio server: runs everywhere and serves every method; behind the native transport it serves the
methods that are not batched.

Calls that the event loop hands over in one turn go to the engine as one list.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import grpc

from skylane.server.core import request_ids
from skylane.server.core.errors import ServingError, ShuttingDown
from skylane.server.core.types import NO_DEADLINE, Call
from skylane.server.grpc.base.method_table import BatchedMethod, BatchedMethods, StreamMethod
from skylane.server.grpc.grpcio.auth_interceptor import AuthInterceptor, refuse
from skylane.server.grpc.grpcio.metadata import request_id_of
from skylane.server.grpc.grpcio.request_stream import Stream
from skylane.server.grpc.http2.direct_methods import DirectMethods

MESSAGE_SLACK: Final = 2**20
"""grpcio's own limit stands this much above ours, so that messages a little too large get our words, not its."""

Context = grpc.aio.ServicerContext[bytes, bytes]


def make_server(
    message_bytes_max: int, auth: AuthInterceptor, *, share_port: bool = False, connection_age_s: float = 0.0
) -> grpc.aio.Server:
    """A server with limits that suit tensors, not yet bound. With `share_port` other processes may bind it as well.

    `connection_age_s`: after which clients are asked to connect anew, give or take a tenth; 0 for never.
    """
    age = [("grpc.max_connection_age_ms", round(1000 * connection_age_s))] if connection_age_s else []
    return grpc.aio.server(
        interceptors=[auth],
        options=[
            ("grpc.max_receive_message_length", message_bytes_max + MESSAGE_SLACK),
            ("grpc.max_send_message_length", -1),
            ("grpc.max_concurrent_streams", 1024),
            ("grpc.so_reuseport", int(share_port)),  # else a second server is a mistake to hear of at once
            ("grpc.keepalive_permit_without_calls", 1),
            ("grpc.http2.min_ping_interval_without_data_ms", 5_000),  # clients that keep idle connections alive
            *age,
        ],
    )


class HotServices:
    """The hot methods of every protocol on an event loop."""

    def __init__(
        self,
        hot: BatchedMethods,
        auth: AuthInterceptor,
        clock: Callable[[], float],
        trace_of: Callable[[Any], Any] | None = None,
    ) -> None:
        """Belongs to the running event loop. `clock`: the engine's. `trace_of`: metadata of a call → its `trace`; None
        where nobody traces."""
        self._hot, self._auth, self._clock = hot, auth, clock
        self._trace_of = trace_of
        self._loop = asyncio.get_running_loop()
        self._arrived: dict[BatchedMethod, list[tuple[Call, bytes]]] = {}
        self._draining = asyncio.Event()
        self.open = 0
        """Calls that have begun and whose status is not yet sent."""

    @property
    def direct(self) -> DirectMethods:
        """See registry.Service. The native front has method handlers for these."""
        return {}

    def add_to(self, server: grpc.aio.Server) -> None:
        """Register the methods. They take and give bytes: the codecs are ours."""
        handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
            path: grpc.unary_unary_rpc_method_handler(partial(self._answer, method_handler))
            for path, method_handler in self._hot.unary.items()
        }
        for path, method in self._hot.streams.items():
            handlers[path] = grpc.stream_stream_rpc_method_handler(partial(self._answer_stream, method))
        server.add_generic_rpc_handlers((_ByPath(handlers),))

    def drain(self) -> None:
        """End the streams: they read no further, answer what they have read, and close."""
        self._draining.set()

    # --- Calls in ---------------------------------------------------------------------------------------------------

    async def _answer(self, method_handler: BatchedMethod, payload: bytes, context: Context) -> bytes:
        self._count(context)
        reply: asyncio.Future[_Result] = self._loop.create_future()
        grant, trace = self._auth.grant(context), self._trace(context)
        request_id = request_id_of(context.invocation_metadata())
        call = Call(reply, self, self._deadline(context), b"", grant, trace, request_id)
        self._arrive(method_handler, call, payload)
        try:
            result = await reply
        except asyncio.CancelledError:
            call.cancelled = True
            raise
        if isinstance(result, _Named):
            context.set_trailing_metadata(((request_ids.PREDICTION_FIELD, result.prediction_id),))
            return result.reply
        if not isinstance(result, bytes):
            await refuse(context, result, call.request_id)
        return result

    async def _answer_stream(
        self, method: StreamMethod, requests: AsyncIterator[bytes], context: Context
    ) -> AsyncIterator[bytes]:
        self._count(context)
        stream, deadline, grant = Stream(method.wrap), self._deadline(context), self._auth.grant(context)
        trace, its_id = self._trace(context), request_id_of(context.invocation_metadata())

        def arrive(payload: bytes) -> None:
            call = Call(stream, self, deadline, b"", grant, trace, its_id)
            stream.opened(call)
            self._arrive(method.handler, call, payload)

        async for reply in stream.run(requests, arrive, self._draining):
            yield reply
        if self._draining.is_set():
            await refuse(context, ShuttingDown("the server is shutting down; the stream has ended"))

    def _count(self, context: Context) -> None:
        self.open += 1
        context.add_done_callback(self._uncount)  # type: ignore[arg-type]  # the stubs want a class of theirs

    def _uncount(self, _: Context) -> None:
        self.open -= 1

    def _arrive(self, method_handler: BatchedMethod, call: Call, payload: bytes) -> None:
        """Put a call with the others of this turn of the loop."""
        if not self._arrived:
            self._loop.call_soon(self._flush)
        self._arrived.setdefault(method_handler, []).append((call, payload))

    def _flush(self) -> None:
        arrived, self._arrived = self._arrived, {}
        for method_handler, found in arrived.items():
            method_handler.take([call for call, _ in found], [payload for _, payload in found], self)

    def _deadline(self, context: Context) -> float:
        remaining = context.time_remaining()
        return NO_DEADLINE if remaining is None else self._clock() + remaining

    def _trace(self, context: Context) -> Any:
        return self._trace_of(context.invocation_metadata() or ()) if self._trace_of else None

    # --- Replies out: see skylane.server.core.types.Sink --------------------------------------------------------------

    def answer(self, calls: Sequence[Call], replies: Sequence[bytes], ids: Sequence[bytes] = ()) -> None:
        if ids:
            named = [_Named(reply, each.decode()) for reply, each in zip(replies, ids, strict=True)]
            self._deliver(calls, named)
        else:
            self._deliver(calls, replies)

    def refuse(self, calls: Sequence[Call], error: ServingError) -> None:
        self._deliver(calls, [error] * len(calls))

    def _deliver(self, calls: Sequence[Call], results: Sequence["_Result"]) -> None:
        """Hand over on the loop's thread, once for the whole batch."""
        try:
            here = asyncio.get_running_loop() is self._loop
        except RuntimeError:
            here = False
        if here:
            _hand_over(calls, results)
        elif not self._loop.is_closed():
            self._loop.call_soon_threadsafe(_hand_over, calls, results)


class _ByPath(grpc.GenericRpcHandler):
    """Methods by their whole path; others are somebody else's."""

    def __init__(self, handlers: Mapping[str, "grpc.RpcMethodHandler[Any, Any]"]) -> None:
        self._handlers = handlers

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[Any, Any] | None":
        return self._handlers.get(handler_call_details.method)


@dataclass(frozen=True, slots=True)
class _Named:
    """A reply whose prediction id travels in the trailing metadata."""

    reply: bytes
    prediction_id: str


_Result = bytes | ServingError | _Named


def _hand_over(calls: Sequence[Call], results: Sequence[_Result]) -> None:
    for call, result in zip(calls, results, strict=True):
        call.done = True
        if isinstance(call.handle, Stream):  # no protocol that has streams lets ids travel beside its messages
            call.handle.closed(call, result.reply if isinstance(result, _Named) else result)
        elif not call.handle.done():
            call.handle.set_result(result)
