"""Methods of grpcio that tell how each of their calls ended."""

import inspect
from collections.abc import AsyncIterator, Callable
from typing import Any, TypeAlias

import grpc

from skylane.server.core import request_ids

Context = grpc.aio.ServicerContext[Any, Any]
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
Told = Callable[[str, str], None]
"""(name of the status, the call's id)"""


def with_outcome(handler: Handler, told: Told) -> Handler:
    """The same method, with word of each call's end."""

    def listen(context: Context) -> None:
        sent = dict(context.invocation_metadata() or ()).get(request_ids.FIELD, "")
        its_id = request_ids.sanitized(sent) if isinstance(sent, str) else ""
        context.add_done_callback(lambda ended: told(_code(ended).name, its_id))  # type: ignore[arg-type]

    inner: Any = handler.unary_unary or handler.unary_stream or handler.stream_unary or handler.stream_stream

    async def one(request: Any, context: Context) -> Any:
        listen(context)
        return await inner(request, context)

    async def many(request: Any, context: Context) -> AsyncIterator[Any]:
        listen(context)
        found = inner(request, context)
        if inspect.isawaitable(found):  # it writes by itself
            await found
            return
        async for message in found:
            yield message

    streams_in, streams_out = handler.request_streaming, handler.response_streaming
    make = {
        (False, False): grpc.unary_unary_rpc_method_handler,
        (False, True): grpc.unary_stream_rpc_method_handler,
        (True, False): grpc.stream_unary_rpc_method_handler,
        (True, True): grpc.stream_stream_rpc_method_handler,
    }[streams_in, streams_out]
    made: Handler = make(
        many if streams_out else one,
        handler.request_deserializer,
        handler.response_serializer,
    )
    return made


def _code(ended: Any) -> grpc.StatusCode:
    if ended.cancelled():
        return grpc.StatusCode.CANCELLED
    code = ended.code()
    return code if isinstance(code, grpc.StatusCode) else _BY_NUMBER.get(code or 0, grpc.StatusCode.UNKNOWN)


_BY_NUMBER = {code.value[0]: code for code in grpc.StatusCode}
