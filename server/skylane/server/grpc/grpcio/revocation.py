"""Ends streams over grpcio when their token is revoked, as Streams.end_revoked does in the native transport."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final, TypeAlias

import grpc

from skylane.server.core.errors import ServingError, Unauthenticated

CHECK_S: Final = 1.0
"""How often the token of an open stream is checked."""

Context = grpc.aio.ServicerContext[Any, Any]
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
Check = Callable[[], None]
"""Raises Unauthenticated once the token does not allow any more what it did."""
Refuse = Callable[[Context, ServingError], Awaitable[object]]


def revocable(handler: Handler, check: Check, refuse: Refuse) -> Handler:
    """The same method of streams; its calls end with `refuse` when `check` raises."""
    inner: Any = handler.stream_stream

    async def method(requests: AsyncIterator[Any], context: Context) -> AsyncIterator[Any]:
        task = asyncio.current_task()
        assert task is not None
        revoked: list[Unauthenticated] = []
        watching = asyncio.create_task(_watch(check, task, revoked))
        try:
            async for message in inner(requests, context):
                yield message
        except asyncio.CancelledError:
            if not revoked:
                raise
            task.uncancel()
        finally:
            watching.cancel()
        if revoked:
            await refuse(context, revoked[0])

    made: Handler = grpc.stream_stream_rpc_method_handler(
        method, handler.request_deserializer, handler.response_serializer
    )
    return made


async def _watch(check: Check, stream: "asyncio.Task[Any]", revoked: list[Unauthenticated]) -> None:
    while True:
        await asyncio.sleep(CHECK_S)
        try:
            check()
        except Unauthenticated as error:
            revoked.append(error)
            stream.cancel()
            return
