"""The HTTP application: every path, in one Starlette router."""

from typing import Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from server.http import live, pages, v1, v2
from server.http.context import Context
from server.http.problems import response_to_misuse

_NO_SUCH_PATH: Final = "there is nothing at this path: /docs lists what there is"


class Application:
    """An ASGI application that knows how many requests are open."""

    def __init__(self, context: Context) -> None:
        self._routes = Starlette(
            routes=[*v2.routes(context), *v1.routes(context), *pages.routes(context), *live.routes(context)],
            exception_handlers={HTTPException: _misused},
        )
        self._routes.router.redirect_slashes = False
        self.open = 0
        """Requests that have begun and whose answer is not yet with the connection."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        self.open += 1
        try:
            await self._routes(scope, receive, send)
        finally:
            self.open -= 1


async def _misused(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 404:
        error.detail = _NO_SUCH_PATH
    return response_to_misuse(error)
