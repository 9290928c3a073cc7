"""`/v1/models/…`: rows as JSON for everybody, and TensorFlow Serving's paths for its clients."""

from collections.abc import Callable
from functools import partial
from typing import Any, Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route as HttpRoute

from skylane.dtypes import DType
from skylane.server.core.types import Call, Interface, Route
from skylane.server.http.error_responses import wrong_method
from skylane.server.http.handler_context import Context, json_response, reply_headers, with_errors
from skylane.server.http.json_prediction import SIGNATURE, Prediction, PredictionGroup, with_id
from skylane.server.observability.http_request_log import OTHERS
from skylane.server.repository.repository import State, VersionStatus

_STATES: Final = {
    State.LOADING: "LOADING",
    State.READY: "AVAILABLE",
    State.FAILED: "END",
    State.RETIRING: "UNLOADING",
}

_OTHER_METHODS: Final = ("GET", "PUT", "PATCH", "DELETE")
_NOT_HERE: Final = (":classify", ":regress")
"""What TensorFlow Serving answers besides."""

_TENSORFLOW: Final[dict[DType, str]] = {
    "bool": "DT_BOOL",
    "uint8": "DT_UINT8",
    "uint16": "DT_UINT16",
    "uint32": "DT_UINT32",
    "uint64": "DT_UINT64",
    "int8": "DT_INT8",
    "int16": "DT_INT16",
    "int32": "DT_INT32",
    "int64": "DT_INT64",
    "float16": "DT_HALF",
    "float32": "DT_FLOAT",
    "float64": "DT_DOUBLE",
    "string": "DT_STRING",
}


def routes(context: Context) -> list[HttpRoute]:
    """Every path below `/v1` that this server answers."""
    bases = ("/v1/models/{model}", "/v1/models/{model}/versions/{version}", "/v1/models/{model}/labels/{label}")
    return [
        HttpRoute("/v1/models", with_errors(partial(_index, context)), methods=["GET"]),
        *(
            HttpRoute(f"{base}{path}", with_errors(partial(handler, context), protocol), methods=[method])
            for base in bases
            for path, handler, method, protocol in (
                (":predict", _predict, "POST", "v1_http"),
                *((":predict", _post_alone, method, OTHERS) for method in _OTHER_METHODS),
                *((verb, _not_here, method, OTHERS) for verb in _NOT_HERE for method in ("POST", *_OTHER_METHODS)),
                ("/metadata", _metadata, "GET", OTHERS),
                ("", _status, "GET", OTHERS),
            )
        ),
    ]


async def _post_alone(_: Context, request: Request) -> Response:
    raise wrong_method(request.method, "POST")


async def _not_here(_: Context, request: Request) -> Response:
    asked = request.url.path.rpartition(":")[2]
    raise HTTPException(501, f"this server has no :{asked}: send rows to :predict")


async def _predict(context: Context, request: Request) -> Response:
    route, deadline = context.route(request), context.deadline(request)
    served_version = await context.served_version(request, route, deadline)
    with context.bodies.room() as room:
        body = await context.bodies.read(request, room, context.bodies.limits(served_version))
        prediction = await context.parse(Prediction, body, served_version)
        del body
        reply = await context.group(request, _asking(route, prediction), deadline)
    json = with_id(reply) if prediction.form == "rows" else reply.json
    return Response(json, headers=reply_headers(reply), media_type="application/json")


def _asking(route: Route, prediction: Prediction) -> Callable[[Call], PredictionGroup]:
    return lambda call: PredictionGroup(route, call, prediction)


async def _index(context: Context, request: Request) -> Response:
    """The models that have a version which answers, of those that the caller may use."""
    grant = context.grant(request)
    return json_response({"models": [name for name in context.routes().models if grant.may("predict", name)]})


async def _status(context: Context, request: Request) -> Response:
    """TensorFlow Serving's: the state of every version, or of the one that the path names."""
    route = context.route(request)
    status = context.status().get(route.model)
    has_version = status is not None and (route.version is None or route.version in status.versions)
    if status is None or route.label is not None or not has_version:
        served_version = context.routes().served_version(route)  # raises if it does not exist
        versions = {served_version.model.interface.version: VersionStatus(State.READY)}
    else:
        versions = {v: each for v, each in status.versions.items() if route.version in (None, v)}
    entries = [_version_status(version, each) for version, each in versions.items()]
    return json_response({"model_version_status": entries})


def _version_status(version: int, status: VersionStatus) -> dict[str, Any]:
    failed = status.state is State.FAILED
    return {
        "version": str(version),
        "state": _STATES[status.state],
        "status": {"error_code": "FAILED_PRECONDITION" if failed else "OK", "error_message": status.reason},
    }


async def _metadata(context: Context, request: Request) -> Response:
    """TensorFlow Serving's: the tensors, as the one signature that there is."""
    interface = context.routes().served_version(context.route(request)).model.interface
    signature = {
        "inputs": {spec.name: _described(spec.name, spec.dtype, spec.shape) for spec in interface.tensors},
        "outputs": {spec.name: _described(spec.name, spec.dtype, spec.shape) for spec in interface.outputs},
        "method_name": "tensorflow/serving/predict",
    }
    return json_response({"model_spec": _spec(interface), "metadata": _signatures(signature)})


def _spec(interface: Interface) -> dict[str, str]:
    return {"name": interface.model, "signature_name": "", "version": str(interface.version)}


def _signatures(signature: dict[str, Any]) -> dict[str, Any]:
    return {"signature_def": {"signature_def": {SIGNATURE: signature}}}


def _described(name: str, dtype: DType, shape: tuple[int | None, ...]) -> dict[str, Any]:
    sizes = [{"size": str(-1 if size is None else size), "name": ""} for size in shape]
    return {
        "dtype": _TENSORFLOW[dtype],
        "tensor_shape": {"dim": sizes, "unknown_rank": False},
        "name": name,
    }
