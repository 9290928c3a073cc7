"""The HTTP application: every path, in one Starlette router. Each request has an id, and is told of when it ends."""

from typing import Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from server import request_ids
from server import visit as visits
from server.http import live, pages, v1, v2
from server.http.context import Context
from server.http.problems import response_to_misuse
from server.visit import Visitors

_ID_FIELD: Final = request_ids.FIELD.encode()
_NO_SUCH_PATH: Final = "there is nothing at this path: /docs lists what there is"


class Application:
    """An ASGI application that knows how many requests are open."""

    def __init__(self, context: Context, visitors: Visitors | None = None) -> None:
        """`visitors` hears of every request that ends."""
        self._visitors = visitors
        self._routes = Starlette(
            routes=[*v2.routes(context), *v1.routes(context), *pages.routes(context), *live.routes(context)],
            exception_handlers={HTTPException: _misused},
        )
        self._routes.router.redirect_slashes = False
        self.open = 0
        """Requests that have begun and whose answer is not yet with the connection."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        assert scope["type"] == "http"
        visit, status = visits.enter(scope, _sent_id(scope) or request_ids.made()), 0
        field = (_ID_FIELD, visit.request_id.encode())

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
            if self._visitors is not None:
                self._visitors.left(visit, status, scope)


def _sent_id(scope: Scope) -> str:
    return next(
        (request_ids.told(value.decode("latin-1")) for name, value in scope["headers"] if name == _ID_FIELD), ""
    )


async def _misused(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 404:
        error.detail = _NO_SUCH_PATH
    return response_to_misuse(error, visits.of(request.scope).request_id)
