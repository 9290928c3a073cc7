"""The HTTP application: every path, in one Starlette router. Each request gets an id, and is reported when it ends."""

from collections.abc import Iterable, Mapping
from typing import Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from skylane.server.core import request_ids
from skylane.server.http import live_events, pages, v1_outcomes, v1_routes, v2_routes
from skylane.server.http.bounded_protocol import HEALTH, RESERVED
from skylane.server.http.browsers import BrowserRules, Refused
from skylane.server.http.error_responses import response_to_misuse, wrong_method
from skylane.server.http.handler_context import Context
from skylane.server.observability import http_request_log
from skylane.server.observability.http_request_log import HttpRequestListener

_ID_FIELD: Final = request_ids.FIELD.encode()
_NO_SUCH_PATH: Final = "there is nothing at this path: /docs lists what there is"
_NO_ROOM: Final = "the server has as many connections as it may: this one is for health checks alone"
_NOSNIFF: Final = (b"x-content-type-options", b"nosniff")
_CLOSE: Final = (b"connection", b"close")

_CHECKED_FIELDS: Final = frozenset({_ID_FIELD, b"host", b"origin", b"sec-fetch-site", b"access-control-request-method"})

ANYBODY: Final = BrowserRules((), (), loopback=False)
"""Every Host is accepted, and pages of other origins are refused."""


class Application:
    """An ASGI application that knows how many requests are open."""

    def __init__(
        self, context: Context, http_requests: HttpRequestListener | None = None, browsers: BrowserRules = ANYBODY
    ) -> None:
        """`http_requests` is notified of every request that ends. `browsers` decides what web pages may do."""
        self._http_requests, self._browsers = http_requests, browsers
        self._routes = Starlette(
            routes=[
                *v2_routes.routes(context),
                *v1_outcomes.routes(context),
                *v1_routes.routes(context),
                *pages.routes(context),
                *live_events.routes(context),
            ],
            exception_handlers={HTTPException: _misused},
        )
        self._routes.router.redirect_slashes = False
        self.open = 0
        """Requests that have begun and whose response has not been handed to the connection."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "http"
        fields = _fields(scope)
        sent_id = "".join(fields.get(request_ids.FIELD, ())[:1])
        http_request, status = http_request_log.enter(scope, request_ids.sanitized(sent_id) or request_ids.new_id()), 0
        more = [(_ID_FIELD, http_request.request_id.encode()), _NOSNIFF]
        if scope.get(RESERVED):
            more.append(_CLOSE)
        origin = ", ".join(fields.get("origin", ()))
        more += _encoded(self._browsers.cors(origin, scope["path"]))

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], *more]
            await send(message)

        self.open += 1
        try:
            answer = self._early_response(scope, fields, origin) or self._routes
            await answer(scope, receive, sending)
        finally:
            self.open -= 1
            if self._http_requests is not None:
                self._http_requests.left(http_request, status, scope)

    def _early_response(self, scope: Scope, fields: Mapping[str, list[str]], origin: str) -> Response | None:
        """The response to a request that is answered without a route, or None."""
        path, request_id = scope["path"], http_request_log.of(scope).request_id
        if path in HEALTH and scope["method"] in ("GET", "HEAD"):
            return None  # probes are answered for every host name and on every connection
        if scope.get(RESERVED):
            return response_to_misuse(HTTPException(503, _NO_ROOM), request_id)
        refused = self._browsers.refusal(scope["method"], path, scope["http_version"], fields)
        if refused is None and scope["method"] == "OPTIONS" and origin and "access-control-request-method" in fields:
            preflight = self._browsers.preflight(origin, path)
            if not isinstance(preflight, Refused):
                return Response(status_code=204, headers=preflight)
            refused = preflight
        if refused is None:
            return None
        return response_to_misuse(HTTPException(refused.status, refused.reason), request_id)


def _fields(scope: Scope) -> Mapping[str, list[str]]:
    """The header fields that are checked for every request: names → values."""
    fields: dict[str, list[str]] = {}
    for name, value in scope["headers"]:
        if name in _CHECKED_FIELDS:
            fields.setdefault(name.decode("latin-1"), []).append(value.decode("latin-1"))
    return fields


def _encoded(fields: Mapping[str, str]) -> Iterable[tuple[bytes, bytes]]:
    return ((name.encode(), value.encode("latin-1")) for name, value in fields.items())


async def _misused(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 404:
        error.detail = _NO_SUCH_PATH
    elif error.status_code == 405:
        error = wrong_method(request.method, (error.headers or {}).get("Allow", ""))
    return response_to_misuse(error, http_request_log.of(request.scope).request_id)
