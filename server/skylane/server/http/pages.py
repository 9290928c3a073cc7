"""Pages for people and probes: health, metrics, the OpenAPI document and its page."""

import asyncio
import base64
import gzip
import hashlib
import importlib.resources
import re
from functools import partial
from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route as HttpRoute

from skylane.server.http import openapi
from skylane.server.http.handler_context import Context, json_response, with_errors
from skylane.server.http.v2_routes import ready_response

GZIP_LEVEL: Final = 5

_PAGE: Final = importlib.resources.files("skylane.server.http").joinpath("page.html").read_text("utf-8")


def routes(context: Context) -> list[HttpRoute]:
    """Every path that belongs to no protocol."""
    return [
        HttpRoute(path, with_errors(partial(handler, context)), methods=["GET"])
        for path, handler in (
            ("/healthz", _alive),
            ("/readyz", _ready),
            ("/metrics", _metrics),
            ("/openapi.json", _openapi),
            ("/docs", _docs),
        )
    ]


async def _alive(_: Context, __: Request) -> Response:
    """Liveness: the process answers."""
    return json_response({"live": True})


async def _ready(context: Context, _: Request) -> Response:
    return ready_response(context.readiness.whole, context.readiness.reason)


async def _metrics(context: Context, request: Request) -> Response:
    context.grant(request).check("metrics")
    if context.metrics is None:
        raise HTTPException(404, "this server has no metrics")
    content, media_type = await context.metrics(request.headers.get("accept", ""))
    headers = {"content-type": media_type, "vary": "accept, accept-encoding"}
    if accepts_gzip(request.headers.get("accept-encoding", "")):
        headers["content-encoding"] = "gzip"
        content = await asyncio.to_thread(gzip.compress, content, GZIP_LEVEL, mtime=0)
    return Response(content, headers=headers)


def accepts_gzip(header: str) -> bool:
    """Whether a client that sends this `accept-encoding` takes gzip."""
    for part in header.lower().split(","):
        coding, _, weight = part.partition(";")
        if coding.strip() == "gzip":
            return not re.fullmatch(r"\s*q=0(\.0*)?\s*", weight)
    return False


async def _openapi(context: Context, request: Request) -> Response:
    """The document, with the models that the caller may use."""
    grant = context.grant(request)
    models = [
        model.versions[model.latest].model
        for name, model in context.routes().models.items()
        if grant.may("predict", name)
    ]
    return json_response(
        openapi.document(
            models,
            asks_for_tokens=context.authenticator.required,
            records_outcomes=context.outcomes.is_configured,
        )
    )


async def _docs(_: Context, __: Request) -> Response:
    """The page, which reads the OpenAPI document in the browser. It loads nothing from other sites."""
    return Response(_PAGE, headers={"content-security-policy": _POLICY}, media_type="text/html")


def _hashes(tag: str) -> str:
    """The hashes by which a browser knows the page's own script or style."""
    elements = re.findall(f"<{tag}>(.*?)</{tag}>", _PAGE, re.DOTALL)
    return " ".join(
        f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" for text in elements
    )


_POLICY: Final = (
    f"default-src 'none'; script-src {_hashes('script')}; style-src {_hashes('style')}; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
