"""Methods of grpcio that report how each of their calls ended."""

import inspect
from collections.abc import AsyncIterator, Callable
from typing import Any, TypeAlias

import grpc

from skylane.server.grpc.grpcio.metadata import request_id_of

Context = grpc.aio.ServicerContext[Any, Any]
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
Ended = Callable[[str, str], None]
"""(name of the status, request id)"""


def with_outcome(handler: Handler, ended: Ended) -> Handler:
    """The same method; `ended` is called when a call ends."""

    def listen(context: Context) -> None:
        request_id = request_id_of(context.invocation_metadata())
        context.add_done_callback(lambda call: ended(_code(call).name, request_id))  # type: ignore[arg-type]

    inner: Any = handler.unary_unary or handler.unary_stream or handler.stream_unary or handler.stream_stream

    async def one(request: Any, context: Context) -> Any:
        listen(context)
        return await inner(request, context)

    async def many(request: Any, context: Context) -> AsyncIterator[Any]:
        listen(context)
        result = inner(request, context)
        if inspect.isawaitable(result):  # it writes its messages itself
            await result
            return
        async for message in result:
            yield message

    streams_in, streams_out = handler.request_streaming, handler.response_streaming
    make = {
        (False, False): grpc.unary_unary_rpc_method_handler,
        (False, True): grpc.unary_stream_rpc_method_handler,
        (True, False): grpc.stream_unary_rpc_method_handler,
        (True, True): grpc.stream_stream_rpc_method_handler,
    }[streams_in, streams_out]
    wrapped: Handler = make(
        many if streams_out else one,
        handler.request_deserializer,
        handler.response_serializer,
    )
    return wrapped


def _code(call: Any) -> grpc.StatusCode:
    if call.cancelled():
        return grpc.StatusCode.CANCELLED
    code = call.code()
    return code if isinstance(code, grpc.StatusCode) else _BY_NUMBER.get(code or 0, grpc.StatusCode.UNKNOWN)


_BY_NUMBER = {code.value[0]: code for code in grpc.StatusCode}
