"""Who is let in over grpcio: every method but health asks for a good token where tokens are set."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final, NoReturn, TypeAlias

import grpc

from server.credentials import Grant
from server.errors import NotHere, ServingError, Unauthenticated
from server.guard import Guard
from server.transport.status import status_of
from server.wording import quoted

OPEN_TO_ALL: Final = (
    "/grpc.health.v1.Health/",
    "/inference.GRPCInferenceService/ServerLive",
    "/inference.GRPCInferenceService/ServerReady",
)
"""Balancers ask for health, and hold no tokens; it tells nothing else."""

REFUSED_S: Final = 1.0
"""How long a call that is to be refused may take to send its first message."""

Context = grpc.aio.ServicerContext[Any, Any]
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"


class Permission(grpc.aio.ServerInterceptor):
    """Refuses callers without a good token before any method sees them, and tells methods what the others may do."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard

    def grant(self, context: Context) -> Grant:
        """What the caller may do. Raises Unauthenticated."""
        return self._guard.grant(_authorization(context.invocation_metadata()))

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], "Awaitable[Handler | None]"],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> "Handler | None":
        """See grpc.aio.ServerInterceptor."""
        details = handler_call_details
        if self._guard.asks and not details.method.startswith(OPEN_TO_ALL):
            try:
                self._guard.grant(_authorization(details.invocation_metadata))
            except Unauthenticated as error:
                return _refusing(error)
        handler = await continuation(details)
        return handler or _refusing(NotHere(f"there is no method {quoted(details.method)}"))


async def refuse(context: Context, error: ServingError) -> NoReturn:
    """End a call with the error's status."""
    status = status_of(error)
    await context.abort(status.code, status.message, status.trailing)
    raise AssertionError("abort does not return")


def _refusing(error: ServingError) -> Handler:
    """A method that refuses. It takes streams, which fits a client of any kind.

    It reads a message before: grpcio forgets the status of a call that ends while its client still writes one, and
    behind our own front the tunnel is such a client.
    """

    async def method(requests: AsyncIterator[bytes], context: Context) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(anext(aiter(requests), b""), REFUSED_S)
        await refuse(context, error)

    return grpc.stream_stream_rpc_method_handler(method)


def _authorization(metadata: Any) -> str | None:
    return next((value for key, value in metadata or () if key == "authorization" and isinstance(value, str)), None)
