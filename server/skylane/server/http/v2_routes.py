"""The Open Inference Protocol over HTTP: `/v2/…`."""

from collections.abc import Sequence
from functools import partial
from typing import Any, Final, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route as HttpRoute

from skylane.server.admin.oip_views import EXTENSIONS, model_config, model_metadata, served_versions_of
from skylane.server.core.errors import BadRequest
from skylane.server.core.text import quoted
from skylane.server.engine.served_version import ServedVersion
from skylane.server.http.body_limits import SMALL
from skylane.server.http.handler_context import Context, Handler, json_response, reply_headers, with_errors
from skylane.server.http.json_inference import Inference, InferenceGroup, json_of
from skylane.server.observability.http_request_log import OTHERS
from skylane.version import __version__

JSON_SIZE_HEADER: Final = "inference-header-content-length"


class _IndexBody(msgspec.Struct):
    ready: bool = False


class _ChangeBody(msgspec.Struct):
    parameters: dict[str, Any] = {}


Body = TypeVar("Body", _IndexBody, _ChangeBody)


def routes(context: Context) -> list[HttpRoute]:
    """Every path of the protocol that this server answers."""

    def at(path: str, handler: Any, method: str = "GET", protocol: str = OTHERS) -> HttpRoute:
        bound: Handler = partial(handler, context)
        return HttpRoute(path, with_errors(bound, protocol), methods=[method])

    model, version = "/v2/models/{model}", "/v2/models/{model}/versions/{version}"
    return [
        at("/v2", _server),
        at("/v2/", _server),
        at("/v2/models", _models),
        at("/v2/health/live", _live),
        at("/v2/health/ready", _ready),
        at("/v2/repository/index", _index, "POST"),
        at("/v2/repository/models/{model}/load", _load, "POST"),
        at("/v2/repository/models/{model}/unload", _unload, "POST"),
        at("/v2/models/stats", _all_statistics),
        *(
            at(f"{base}{path}", handler, method, protocol)
            for base in (model, version)
            for path, handler, method, protocol in (
                ("", _model, "GET", OTHERS),
                ("/ready", _model_ready, "GET", OTHERS),
                ("/config", _config, "GET", OTHERS),
                ("/stats", _statistics, "GET", OTHERS),
                ("/infer", _infer, "POST", "oip_http"),
            )
        ),
    ]


async def _live(_: Context, __: Request) -> Response:
    return json_response({"live": True})


async def _ready(context: Context, _: Request) -> Response:
    return ready_response(context.readiness.whole, context.readiness.reason)


def ready_response(ready: bool, reason: str = "") -> Response:
    """Balancers read the status alone; `reason` is for people."""
    response = json_response({"ready": ready} | ({"reason": reason} if reason else {}))
    response.status_code = 200 if ready else 503
    return response


async def _server(context: Context, request: Request) -> Response:
    context.grant(request)
    return json_response({"name": "skylane", "version": __version__, "extensions": EXTENSIONS})


async def _models(context: Context, request: Request) -> Response:
    """KServe's list: the models that answer, of those that the caller may use."""
    grant = context.grant(request)
    return json_response({"models": [name for name in context.routes().models if grant.may("predict", name)]})


async def _model_ready(context: Context, request: Request) -> Response:
    """404 for a model that is not known, 503 for one that is and has nothing that answers."""
    return ready_response(context.directory.is_ready(context.route(request)))


async def _model(context: Context, request: Request) -> Response:
    interface = context.routes().served_version(context.route(request)).model.interface
    versions = context.routes().models[interface.model].versions
    return json_response(model_metadata(interface, versions))


async def _config(context: Context, request: Request) -> Response:
    served_version = context.routes().served_version(context.route(request))
    return json_response(model_config(served_version.model.interface, served_version.policy))


async def _statistics(context: Context, request: Request) -> Response:
    return await _told(context, served_versions_of(context.routes(), context.route(request)))


async def _all_statistics(context: Context, request: Request) -> Response:
    """Of the models that the caller may use."""
    grant = context.grant(request)
    served_versions = served_versions_of(context.routes(), None)
    return await _told(
        context,
        [
            served_version
            for served_version in served_versions
            if grant.may("predict", served_version.model.interface.model)
        ],
    )


async def _told(context: Context, served_versions: Sequence[ServedVersion]) -> Response:
    return json_response({"model_stats": await context.directory.statistics(served_versions)})


async def _load(context: Context, request: Request) -> Response:
    await context.directory.load(
        context.grant(request), request.path_params["model"], await _parameters(context, request)
    )
    return json_response({})


async def _unload(context: Context, request: Request) -> Response:
    await context.directory.unload(
        context.grant(request), request.path_params["model"], await _parameters(context, request)
    )
    return json_response({})


async def _parameters(context: Context, request: Request) -> dict[str, Any]:
    context.grant(request)  # who is not known is not read
    with context.bodies.room() as room:
        body = await context.bodies.read(request, room, SMALL)
    return _decoded(body, _ChangeBody, "load or unload").parameters


async def _index(context: Context, request: Request) -> Response:
    """The models that the caller may use, with the state of each version."""
    grant = context.grant(request)
    with context.bodies.room() as room:
        body = await context.bodies.read(request, room, SMALL)
    ready_only = _decoded(body, _IndexBody, "the index").ready
    return json_response(context.directory.index(grant, ready_only=ready_only))


def _decoded(body: bytes, kind: type[Body], what: str) -> Body:
    try:
        return msgspec.json.decode(body or b"{}", type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest(f"the body is not a request for {what}: {error}") from error


def _json_size(request: Request) -> int | None:
    text = request.headers.get(JSON_SIZE_HEADER)
    if text is None:
        return None
    if not text.isdecimal() or len(text) > 15:
        raise BadRequest(f"{JSON_SIZE_HEADER}: expected a number of bytes, received {quoted(text)}")
    return int(text)


async def _infer(context: Context, request: Request) -> Response:
    route, arrived_at, deadline = context.route(request), context.exchange.clock(), context.deadline(request)
    served_version, json_size = await context.served_version(request, route, deadline), _json_size(request)
    with context.bodies.room() as room:
        limits = context.bodies.limits(served_version)
        body = await context.bodies.read(request, room, limits, json_size)
        inference = await context.parse(
            lambda body: Inference(body, json_size, limits.values_max), body, served_version
        )
        if inference.timeout_s is not None:
            deadline = min(deadline, arrived_at + inference.timeout_s)
        reply = await context.group(request, lambda call: InferenceGroup(route, call, inference), deadline)
    json, headers = json_of(reply, inference.id), reply_headers(reply)
    if not reply.binary and inference.binary is False:
        return Response(json, headers=headers, media_type="application/json")
    headers[JSON_SIZE_HEADER] = str(len(json))
    return Response(json + reply.binary, headers=headers, media_type="application/octet-stream")
