"""The HTTP application: every path, in one Starlette router. Each request has an id, and is told of when it ends."""

from typing import Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from skylane.server.core import request_ids
from skylane.server.http import live_events, pages, v1_routes, v2_routes
from skylane.server.http.error_responses import response_to_misuse
from skylane.server.http.handler_context import Context
from skylane.server.observability import http_request_log as visits
from skylane.server.observability.http_request_log import HttpRequestListener

_ID_FIELD: Final = request_ids.FIELD.encode()
_NO_SUCH_PATH: Final = "there is nothing at this path: /docs lists what there is"


class Application:
    """An ASGI application that knows how many requests are open."""

    def __init__(self, context: Context, http_requests: HttpRequestListener | None = None) -> None:
        """`http_requests` hears of every request that ends."""
        self._http_requests = http_requests
        self._routes = Starlette(
            routes=[
                *v2_routes.routes(context),
                *v1_routes.routes(context),
                *pages.routes(context),
                *live_events.routes(context),
            ],
            exception_handlers={HTTPException: _misused},
        )
        self._routes.router.redirect_slashes = False
        self.open = 0
        """Requests that have begun and whose answer is not yet with the connection."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        assert scope["type"] == "http"
        http_request, status = visits.enter(scope, _sent_id(scope) or request_ids.made()), 0
        field = (_ID_FIELD, http_request.request_id.encode())

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], field]
            await send(message)

        self.open += 1
        try:
            await self._routes(scope, receive, sending)
        finally:
            self.open -= 1
            if self._http_requests is not None:
                self._http_requests.left(http_request, status, scope)


def _sent_id(scope: Scope) -> str:
    return next(
        (request_ids.told(value.decode("latin-1")) for name, value in scope["headers"] if name == _ID_FIELD), ""
    )


async def _misused(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 404:
        error.detail = _NO_SUCH_PATH
    return response_to_misuse(error, visits.of(request.scope).request_id)
