"""Traces HTTP requests for inference, from their first byte to the last of the response."""

import re
from contextvars import ContextVar
from typing import Final

from starlette.types import Message, Receive, Scope, Send

from skylane.server.core.types import Call
from skylane.server.http.listener import Application
from skylane.server.observability.tracing.records import TracedHttp, TracedRequest
from skylane.server.observability.tracing.tracer import Tracer

_inference: Final = re.compile(
    r"(/v[12]/models/)[^/]+?((?:/versions|/labels)(?=/))?(?(2)/[^/]+?)(:predict|/infer)"
).fullmatch

_record: Final[ContextVar[TracedRequest | None]] = ContextVar("_record", default=None)


class TracedApplication:
    """An application whose requests for inference are traced."""

    def __init__(self, application: Application, tracer: Tracer) -> None:
        self._application, self._tracer = application, tracer

    @property
    def open(self) -> int:
        return self._application.open

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        record = self._begin(scope)
        if record is None:
            await self._application(scope, receive, send)
            return
        status, token = 0, _record.set(record)

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._application(scope, receive, sending)
        finally:
            _record.reset(token)
            self._tracer.end_http(record, status)

    def _begin(self, scope: Scope) -> TracedRequest | None:
        route = route_of(scope["path"]) if scope["type"] == "http" and scope["method"] == "POST" else None
        if route is None:
            return None
        fields = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]]
        return self._tracer.arrive_by_http(fields, TracedHttp(scope["method"], scope["path"], route, scope["scheme"]))

    def join(self, call: Call) -> None:
        """Attach a call to the trace of the current request."""
        if record := _record.get():
            self._tracer.join(call, record)


def route_of(path: str) -> str | None:
    """The path of an inference with names in braces for what differs from model to model; None for any other."""
    match = _inference(path)
    if match is None:
        return None
    base, which, groups = match.groups()
    narrower = f"{which}/{{{which[1:-1]}}}" if which else ""
    return f"{base}{{model}}{narrower}{groups}"
