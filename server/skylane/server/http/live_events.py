"""The live page: its files, the stream of figures that it shows, and the manifest of one version.

The figures are sent as server-sent events if the token allows `metrics`. A stream ends when the server drains.
"""

import asyncio
import html
import importlib.resources
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Any, Final

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse
from starlette.routing import Route as HttpRoute
from starlette.types import Receive, Scope, Send

from skylane.server.http.handler_context import Context, with_errors

EVERY_S: Final = 2.0
DRAIN_POLL_S: Final = 0.2
"""How often a stream checks whether the server drains."""
STREAMS_MAX: Final = 32
"""Streams at a time; each takes a snapshot of the statistics every two seconds."""

_FILES: Final = importlib.resources.files("skylane.server.http").joinpath("page")
_TYPES: Final = {"live.css": "text/css", "live.js": "text/javascript", "figures.js": "text/javascript",
                 "about.js": "text/javascript", "document.js": "text/javascript"}  # fmt: skip
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_MONITOR_TAB: Final = b"<!-- monitor -->"
"""Where the page's header has the tab for the monitor, if its URL is configured."""


def routes(context: Context) -> list[HttpRoute]:
    """Every path of the page."""
    streams = _Streams()
    handlers: tuple[tuple[str, Callable[[Context, Request], Awaitable[Response]]], ...] = (
        ("/", _page),
        ("/live/events", streams.answer),
        ("/live/models/{model}/{version}", _version),
        ("/live/{file}", _file),
    )
    return [HttpRoute(path, with_errors(partial(handler, context)), methods=["GET"]) for path, handler in handlers]


async def _page(context: Context, _: Request) -> Response:
    if context.live is None:
        return RedirectResponse("/docs", 307)
    tab = "" if context.monitor_url is None else f' <a href="{html.escape(context.monitor_url)}">Monitor</a>'
    return _asset(_FILES.joinpath("live.html").read_bytes().replace(_MONITOR_TAB, tab.encode()), "text/html")


async def _file(_: Context, request: Request) -> Response:
    name = request.path_params["file"]
    if name not in _TYPES:
        raise HTTPException(404)
    return _asset(_FILES.joinpath(name).read_bytes(), _TYPES[name])


def _asset(content: bytes, media_type: str) -> Response:
    headers = {"content-security-policy": _POLICY, "cache-control": "no-cache"}
    return Response(content, headers=headers, media_type=media_type)


async def _version(context: Context, request: Request) -> Response:
    """The manifest without the profile of the training data, which the page does not show."""
    served_version = context.routes().served_version(context.route(request))
    manifest = msgspec.json.decode(served_version.model.manifest_json or b"{}", type=dict[str, msgspec.Raw])
    manifest.pop("profile", None)
    return Response(msgspec.json.encode(manifest), media_type="application/json")


class _Streams:
    """The open streams."""

    def __init__(self) -> None:
        self._open = 0

    async def answer(self, context: Context, request: Request) -> Response:
        """A stream of figures, or 503 beyond the limit."""
        context.grant(request).check("metrics")
        if context.live is None:
            raise HTTPException(404, "this server has no live metrics")
        if self._open >= STREAMS_MAX:
            raise HTTPException(503, f"{STREAMS_MAX} live pages are open already, which is the limit")
        self._open += 1  # now, not when the first figures are sent
        headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
        return _Stream(self._left, _events(context), headers=headers, media_type="text/event-stream")

    def _left(self) -> None:
        self._open -= 1


class _Stream(StreamingResponse):
    """A stream that calls `ended` when it ends, even if it never began."""

    def __init__(self, ended: Callable[[], None], content: AsyncIterator[bytes], **options: Any) -> None:
        super().__init__(content, **options)
        self._ended = ended

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._ended()


async def _events(context: Context) -> AsyncIterator[bytes]:
    assert context.live is not None
    polls = round(EVERY_S / DRAIN_POLL_S)
    for turn in itertools.count():
        if context.readiness.draining:
            break
        if turn % polls == 0:
            yield b"data: " + await context.live() + b"\n\n"
        await asyncio.sleep(DRAIN_POLL_S)
