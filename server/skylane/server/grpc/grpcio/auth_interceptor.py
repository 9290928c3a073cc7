"""Who is let in over grpcio: every method but health asks for a good token where tokens are set."""

import asyncio
import contextlib
import hmac
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Any, Final, NoReturn, TypeAlias

import grpc

from skylane.server.auth.authenticator import Authenticator
from skylane.server.codecs.grpc_status import status_of
from skylane.server.core import request_ids
from skylane.server.core.errors import NotHere, PermissionDenied, ServingError, Unauthenticated
from skylane.server.core.text import quoted
from skylane.server.core.token_scope import Grant
from skylane.server.grpc.base.method_protocols import PROTOCOLS
from skylane.server.grpc.base.method_table import CallEnded
from skylane.server.grpc.grpcio.outcome import with_outcome
from skylane.server.grpc.grpcio.revocation import revocable

OPEN_TO_ALL: Final = (
    "/grpc.health.v1.Health/",
    "/inference.GRPCInferenceService/ServerLive",
    "/inference.GRPCInferenceService/ServerReady",
)
"""Balancers ask for health, and hold no tokens; it tells nothing else."""

PROXY_KEY: Final = "x-skylane-proxy"
"""Metadata of calls that the native transport forwards."""


def is_open(path: str) -> bool:
    """Whether this method needs no token."""
    return path.startswith(OPEN_TO_ALL)


REFUSED_S: Final = 1.0
"""How long a call that is to be refused may take to send its first message."""

Context = grpc.aio.ServicerContext[Any, Any]
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"


class AuthInterceptor(grpc.aio.ServerInterceptor):
    """Refuses callers without a good token before any method sees them, and tells methods what the others may do."""

    def __init__(self, authenticator: Authenticator, ended: CallEnded | None = None, secret: str = "") -> None:
        """`secret`: what callers must have under PROXY_KEY, if anything: where only our own front may call.

        `ended`: told of requests that nobody else counts: those refused here, and those of methods that are not hot.
        None behind our own front, which hears of them as well.
        """
        self._authenticator, self._ended, self._secret = authenticator, ended, secret

    def grant(self, context: Context) -> Grant:
        """What the caller may do. Raises Unauthenticated."""
        return self._authenticator.grant(_value(context.invocation_metadata(), "authorization"))

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], "Awaitable[Handler | None]"],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> "Handler | None":
        details = handler_call_details
        if self._secret and not self._is_ours(details):
            return _refusing(PermissionDenied("this socket is for the server itself: call its gRPC port"))
        if self._authenticator.required and not is_open(details.method):
            authorization = _value(details.invocation_metadata, "authorization")
            try:
                grant = self._authenticator.grant(authorization)
            except Unauthenticated as error:
                return self._told(details, _refusing(error))
            handler = await continuation(details)
            if handler is not None and handler.stream_stream is not None and self._ended is not None:
                handler = revocable(handler, partial(self._check, authorization, grant), refuse)
        else:
            handler = await continuation(details)
        return self._counted(details, handler)

    def _check(self, authorization: str | None, before: Grant) -> None:
        """Raise Unauthenticated if what this value allowed when the call began is not what it allows now."""
        if self._authenticator.grant(authorization) != before:
            raise Unauthenticated("what the token allows has changed: send the request again")

    def _counted(self, details: grpc.HandlerCallDetails, handler: "Handler | None") -> Handler:
        if handler is None:
            handler = _refusing(NotHere(f"there is no method {quoted(details.method)}"))
        elif details.method in PROTOCOLS:
            return handler  # its calls are counted by the model that they are for
        return self._told(details, handler)

    def _is_ours(self, details: grpc.HandlerCallDetails) -> bool:
        sent = _value(details.invocation_metadata, PROXY_KEY) or ""
        return hmac.compare_digest(sent.encode(), self._secret.encode())

    def _told(self, details: grpc.HandlerCallDetails, handler: Handler) -> Handler:
        """The same method, with word of how its calls end."""
        if self._ended is None:
            return handler
        return with_outcome(handler, partial(self._ended, details.method))


def request_id(context: Context) -> str:
    """By which a caller knows its request."""
    return request_ids.sanitized(_value(context.invocation_metadata(), request_ids.FIELD) or "")


async def refuse(context: Context, error: ServingError, its_id: str = "") -> NoReturn:
    """End a call with the error's status, and its id if it has one."""
    status = status_of(error)
    its_id = its_id or request_id(context)
    told = ((request_ids.FIELD, its_id),) if its_id else ()
    await context.abort(status.code, status.message, (*status.trailing, *told))
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


def _value(metadata: Any, wanted: str) -> str | None:
    return next((value for key, value in metadata or () if key == wanted and isinstance(value, str)), None)
