"""Checks the token of every call over grpcio, except those of open methods such as health checks."""

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
from skylane.server.grpc.grpcio.call_ending import with_outcome
from skylane.server.grpc.grpcio.metadata import request_id_of, value_of
from skylane.server.grpc.grpcio.revocation import revocable

OPEN_TO_ALL: Final = (
    "/grpc.health.v1.Health/",
    "/inference.GRPCInferenceService/ServerLive",
    "/inference.GRPCInferenceService/ServerReady",
)
"""Load balancers check health, and have no tokens. These methods reveal nothing else."""

PROXY_KEY: Final = "x-skylane-proxy"
"""Metadata of calls that the native transport forwards."""


def is_open(path: str) -> bool:
    """Whether this method needs no token."""
    return path.startswith(OPEN_TO_ALL)


REFUSED_S: Final = 1.0
"""How long a refused call may take to send its first message."""

Context = grpc.aio.ServicerContext[Any, Any]
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"


class AuthInterceptor(grpc.aio.ServerInterceptor):
    """Refuses calls without a valid token before they reach a method, and gives methods the grant of the others."""

    def __init__(self, authenticator: Authenticator, ended: CallEnded | None = None, secret: str = "") -> None:
        """`secret`: the value of PROXY_KEY that calls must have, if only the native transport may call.

        `ended` is called for requests that nothing else counts: those refused here, and those of methods that are not
        batched. None behind the native transport, which counts them itself.
        """
        self._authenticator, self._ended, self._secret = authenticator, ended, secret

    def grant(self, context: Context) -> Grant:
        """The grant of a call's token. Raises Unauthenticated."""
        return self._authenticator.grant(value_of(context.invocation_metadata(), "authorization"))

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], "Awaitable[Handler | None]"],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> "Handler | None":
        details = handler_call_details
        if self._secret and not self._is_proxied(details):
            return _refusing(PermissionDenied("this socket is for the server itself: call its gRPC port"))
        if self._authenticator.required and not is_open(details.method):
            authorization = value_of(details.invocation_metadata, "authorization")
            try:
                grant = self._authenticator.grant(authorization)
            except Unauthenticated as error:
                return self._reported(details, _refusing(error))
            handler = await continuation(details)
            if handler is not None and handler.stream_stream is not None and self._ended is not None:
                handler = revocable(handler, partial(self._check, authorization, grant), refuse)
        else:
            handler = await continuation(details)
        return self._counted(details, handler)

    def _check(self, authorization: str | None, before: Grant) -> None:
        """Raise Unauthenticated if the token no longer allows what it allowed when the call began."""
        if self._authenticator.grant(authorization) != before:
            raise Unauthenticated("what the token allows has changed: send the request again")

    def _counted(self, details: grpc.HandlerCallDetails, handler: "Handler | None") -> Handler:
        if handler is None:
            handler = _refusing(NotHere(f"there is no method {quoted(details.method)}"))
        elif details.method in PROTOCOLS:
            return handler  # its calls are counted by their model
        return self._reported(details, handler)

    def _is_proxied(self, details: grpc.HandlerCallDetails) -> bool:
        sent = value_of(details.invocation_metadata, PROXY_KEY) or ""
        return hmac.compare_digest(sent.encode(), self._secret.encode())

    def _reported(self, details: grpc.HandlerCallDetails, handler: Handler) -> Handler:
        """The same method, whose calls are reported when they end."""
        if self._ended is None:
            return handler
        return with_outcome(handler, partial(self._ended, details.method))


async def refuse(context: Context, error: ServingError, request_id: str = "") -> NoReturn:
    """End a call with the error's status, and the request's id if it has one."""
    status = status_of(error)
    request_id = request_id or request_id_of(context.invocation_metadata())
    id_field = ((request_ids.FIELD, request_id),) if request_id else ()
    await context.abort(status.code, status.message, (*status.trailing, *id_field))
    raise AssertionError("abort does not return")


def _refusing(error: ServingError) -> Handler:
    """A method that refuses its calls. It is a bidirectional stream, which fits clients of every kind.

    It reads a message first: grpcio loses the status of a call that ends while its client is still writing one, as the
    proxy of the native transport may be.
    """

    async def method(requests: AsyncIterator[bytes], context: Context) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(anext(aiter(requests), b""), REFUSED_S)
        await refuse(context, error)

    return grpc.stream_stream_rpc_method_handler(method)
