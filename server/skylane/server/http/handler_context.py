"""What all handlers share, and the wrapper that turns their errors into responses."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from skylane.server.admin.model_control import ModelControl
from skylane.server.admin.outcome_recording import OutcomeRecording
from skylane.server.admin.readiness import Readiness
from skylane.server.auth.authenticator import Authenticator
from skylane.server.core import request_ids
from skylane.server.core.batch_task import Bound, RequestGroup
from skylane.server.core.errors import INTERNAL_ERROR, BadRequest, ModelFailed, ModelNotFound, ServingError
from skylane.server.core.text import quoted
from skylane.server.core.token_scope import Grant
from skylane.server.core.types import NO_DEADLINE, Call, Interface, Route
from skylane.server.engine.routes import Routes
from skylane.server.engine.served_version import ServedVersion
from skylane.server.http.engine_calls import EngineCalls
from skylane.server.http.error_responses import response_to, response_to_misuse
from skylane.server.http.packed_replies import Reply
from skylane.server.http.request_bodies import Bodies
from skylane.server.http.request_inputs import RequestInputs
from skylane.server.observability import http_request_log
from skylane.server.repository.repository import ModelStatus

log = logging.getLogger(__name__)

TIMEOUT_HEADER: Final = "x-request-timeout-ms"
CACHED_HEADER: Final = "x-skylane-cached"

INLINE_BYTES_MAX: Final = 64 * 2**10
"""A body up to this size is parsed on the event loop, in one or two milliseconds; using a thread costs 0.1 ms."""

Parsed = TypeVar("Parsed", bound=RequestInputs)

Metrics = Callable[[str], Awaitable[tuple[bytes, str]]]
"""An Accept field → the page of metrics and its media type."""

Live = Callable[[], Awaitable[bytes]]
"""The figures of all processes as JSON in one line, for the live page."""

Handler = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True, kw_only=True)
class Context:
    """The parts of the server that handlers use."""

    exchange: EngineCalls
    bodies: Bodies
    authenticator: Authenticator
    directory: ModelControl
    outcomes: OutcomeRecording
    metrics: Metrics | None = None
    """None without a page of metrics."""
    live: Live | None = None
    """None without a live page."""
    monitor_url: str | None = None
    """Where the live page's tab for the monitor leads; None without one."""

    @property
    def readiness(self) -> Readiness:
        """Which models are ready."""
        return self.directory.readiness

    @property
    def routes(self) -> Callable[[], Routes]:
        """The present routes."""
        return self.directory.routes

    @property
    def status(self) -> Callable[[], Mapping[str, ModelStatus]]:
        """The present status of every model by name."""
        return self.directory.status

    def grant(self, request: Request) -> Grant:
        """The grant of the caller's token. Raises Unauthenticated."""
        return self.authenticator.grant(request.headers.get("authorization"))

    def route(self, request: Request) -> Route:
        """The route in the path, if the token's scope allows it. Raises ServingError; the token is checked first."""
        grant = self.grant(request)
        grant.check("predict", request.path_params["model"])
        return _route_of(request.path_params)

    async def served_version(self, request: Request, route: Route, deadline: float) -> ServedVersion:
        """The served version for a route. Without one the engine raises, so that the request is counted and traced."""
        try:
            return self.routes().served_version(route)
        except ModelNotFound as error:
            why = str(error)
        await self.group(request, lambda call: _Unanswerable(route, call, why), deadline)
        raise ModelNotFound(why)

    async def group(self, request: Request, make: Callable[[Call], RequestGroup], deadline: float) -> Reply:
        """The engine's reply. From here on the engine counts the request. Raises ServingError."""
        http_request = http_request_log.of(request.scope)
        http_request.counted = True
        return await self.exchange.group(
            make, deadline, lambda: gone(request), http_request.protocol, http_request.request_id
        )

    async def parse(self, make: Callable[[bytes], Parsed], body: bytes, served_version: ServedVersion) -> Parsed:
        """Parse a body. A large one is parsed on a thread, one at a time. Raises what `make` raises."""
        if len(body) <= INLINE_BYTES_MAX:
            return make(body)

        def prepared() -> Parsed:
            parsed = make(body)
            parsed.prepare(served_version.model.interface)
            return parsed

        async with self.bodies.parsing:
            return await asyncio.to_thread(prepared)

    def deadline(self, request: Request) -> float:
        """The deadline that the header sets. Raises BadRequest."""
        text = request.headers.get(TIMEOUT_HEADER)
        return NO_DEADLINE if text is None else self.exchange.clock() + _milliseconds(text) / 1000


class _Unanswerable(RequestGroup):
    """A request for a model that does not exist, so that its body need not be parsed."""

    __slots__ = ("_why",)

    def __init__(self, route: Route, call: Call, why: str) -> None:
        super().__init__(route, [call], call.sink)
        self._why = why

    def bind(self, interface: Interface) -> Bound:  # noqa: ARG002
        """See RequestGroup. The model has been loaded meanwhile."""
        raise ModelNotFound(self._why)


def _milliseconds(text: str) -> float:
    try:
        milliseconds = float(text)
    except ValueError:
        milliseconds = -1
    if not 0 <= milliseconds < 1e12:
        raise BadRequest(f"{TIMEOUT_HEADER}: expected milliseconds from 0, received {quoted(text)}")
    return milliseconds


def _route_of(path: Mapping[str, str]) -> Route:
    version = path.get("version")
    if version is None:
        return Route(path["model"], None, path.get("label"))
    number = int(version) if version.isdecimal() and len(version) < 19 else None
    if number is None or number < 1:
        raise BadRequest(f"version: expected 1 or more, received {quoted(version) if number is None else number}")
    return Route(path["model"], number)


async def gone(request: Request) -> None:
    """Wait until the caller has disconnected."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def json_response(content: Any, headers: Mapping[str, str] | None = None) -> Response:
    """A response with this content as JSON."""
    return Response(msgspec.json.encode(content), headers=headers, media_type="application/json")


def reply_headers(reply: Reply) -> dict[str, str]:
    """The header fields that mark a reply from the cache, and name the id under which the answer is recorded."""
    headers = {CACHED_HEADER: "true"} if reply.cached else {}
    return headers | {request_ids.PREDICTION_FIELD: reply.prediction_id} if reply.prediction_id else headers


def with_errors(handler: Handler, protocol: str = http_request_log.OTHERS) -> Handler:
    """The handler with its errors turned into responses. `protocol`: the name under which its requests are counted."""

    async def enter(request: Request) -> Response:
        http_request = http_request_log.of(request.scope)
        http_request.protocol = protocol
        try:
            return await handler(request)
        except HTTPException as error:
            return response_to_misuse(error, http_request.request_id)
        except ServingError as error:
            http_request.error = type(error).__name__
            return response_to(error, http_request.request_id)
        except Exception:
            extra = {"request_id": http_request.request_id}
            log.exception("%s %s failed with an internal error", request.method, quoted(request.url.path), extra=extra)
            http_request.error = ModelFailed.__name__
            return response_to(ModelFailed(INTERNAL_ERROR), http_request.request_id)

    return enter
