"""The OpenAPI document of this server with the models that it serves now: their columns, and rows to try. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from skylane import manifest as manifests
from skylane.dtypes import NUMPY, DType
from skylane.manifest import Golden
from skylane.server.core.types import Interface
from skylane.server.engine.served_version import LoadedModel
from skylane.server.http import openapi_outcomes
from skylane.server.http.handler_context import TIMEOUT_HEADER
from skylane.version import __version__

EXAMPLE_ROWS: Final = 2

_ABOUT: Final = """\
Rows in, predictions out. Requests are batched with one another and with those over gRPC.
The Open Inference Protocol is at `/v2`; TensorFlow Serving's bodies (`instances`, `inputs`) go to `:predict`."""

_ERROR: Final = {
    "type": "object",
    "properties": {"error": {"type": "string", "description": "The field, what was expected and what was received."}},
}
_ERRORS: Final = {
    "400": "The request is invalid; the text names the field.",
    "401": "A valid token is required.",
    "403": "The token does not allow this.",
    "404": "There is no such model, version or label.",
    "413": "The body exceeds a limit of the server.",
    "503": "The model is busy or the server is stopping; `retry-after` states when to retry.",
    "504": f"The deadline set by `{TIMEOUT_HEADER}` has passed.",
}


def document(models: Sequence[LoadedModel], *, asks_for_tokens: bool, records_outcomes: bool) -> dict[str, Any]:
    """OpenAPI 3.1. The operations of each model, and those that concern the server."""
    paths = {_path(model): {"post": _predict(model)} for model in models}
    if records_outcomes:
        names = [model.interface.model for model in models]
        paths |= {f"/v1/models/{name}:outcomes": {"post": openapi_outcomes.operation(name)} for name in names}
    made: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {"title": "Skylane", "version": __version__, "description": _ABOUT},
        "paths": {**paths, **_FIXED},
        "components": {"schemas": {"Error": _ERROR}},
    }
    if asks_for_tokens:
        made["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        made["security"] = [{"token": []}]
    return made


def _get(summary: str, **answers: str) -> Mapping[str, Any]:
    described = {code.removeprefix("s"): {"description": text} for code, text in answers.items()}
    return {"get": {"summary": summary, "tags": ["server"], "responses": described}}


_FIXED: Final[Mapping[str, Any]] = {
    "/healthz": _get("Liveness", s200="The server is alive."),
    "/readyz": _get("Readiness", s200="The server is ready.", s503="It is loading or stopping."),
    "/metrics": _get("Metrics for Prometheus", s200="The metrics.", s404="This server has none."),
    "/v1/models": _get("The models in service", s200="Their names."),
    "/v2": _get("Server metadata of the Open Inference Protocol", s200="Its name, version and extensions."),
}


def _path(model: LoadedModel) -> str:
    return f"/v1/models/{model.interface.model}:predict"


def _predict(model: LoadedModel) -> dict[str, Any]:
    interface = model.interface
    return {
        "summary": f"Predict with {interface.model}",
        "description": f"Version {interface.version} answers. Others are at "
        f"`/v1/models/{interface.model}/versions/N:predict` and `…/labels/NAME:predict`.",
        "tags": ["models"],
        "parameters": [
            {
                "name": TIMEOUT_HEADER,
                "in": "header",
                "schema": {"type": "number", "minimum": 0},
                "description": "Deadline in milliseconds.",
            }
        ],
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": _rows_schema(interface), "example": _example(model)}},
        },
        "responses": {
            "200": {
                "description": "One prediction for each row.",
                "content": {"application/json": {"schema": _answer_schema(interface)}},
            },
            **{code: openapi_outcomes.refusal(text) for code, text in _ERRORS.items()},
        },
    }


def _rows_schema(interface: Interface) -> dict[str, Any]:
    if interface.columns:
        fields = {column.name: _scalar(column.dtype, gaps=column.missing is not None) for column in interface.columns}
        required = [column.name for column in interface.columns if column.missing is None]
    else:
        fields = {tensor.name: _nested(tensor.dtype, tensor.shape[1:]) for tensor in interface.tensors}
        required = list(fields)
    row = {"type": "object", "properties": fields, "required": required, "additionalProperties": False}
    return {
        "type": "object",
        "required": ["rows"],
        "properties": {
            "rows": {"type": "array", "items": row, "minItems": 1},
            "outputs": {
                "type": "array",
                "items": {"enum": [output.name for output in interface.outputs]},
                "description": "Outputs to return; all if omitted.",
            },
        },
    }


def _answer_schema(interface: Interface) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for output in interface.outputs:
        if output.classes:
            classes = {str(label): _scalar(output.dtype) for label in output.classes}
            fields[output.name] = {"type": "object", "properties": classes}
        else:
            sizes = output.shape[1:]
            fields[output.name] = _nested(output.dtype, () if all(size == 1 for size in sizes) else sizes)
    return {
        "type": "object",
        "properties": {
            "model": {"const": interface.model},
            "version": {"type": "integer"},
            "predictions": {"type": "array", "items": {"type": "object", "properties": fields}},
            "prediction_id": {"type": "string", "description": "Present if the model is journalled."},
        },
    }


def _scalar(dtype: DType, *, gaps: bool = False) -> dict[str, Any]:
    kind = {"b": "boolean", "O": "string", "f": "number"}.get(NUMPY[dtype].kind, "integer")
    return {"type": [kind, "null"] if gaps else kind}


def _nested(dtype: DType, sizes: Sequence[int | None]) -> dict[str, Any]:
    schema = _scalar(dtype)
    for size in reversed(sizes):
        bounds = {} if size is None else {"minItems": size, "maxItems": size}
        schema = {"type": "array", "items": schema, **bounds}
    return schema


def _example(model: LoadedModel) -> dict[str, Any]:
    """Rows that the model was published with, so what the page shows can be sent as it stands."""
    golden = manifests.decode(model.manifest_json).golden
    count = min(EXAMPLE_ROWS, *(len(rows) for rows in golden.inputs.values()))
    return {"rows": [_row(model.interface, golden, row) for row in range(count)]}


def _row(interface: Interface, golden: Golden, row: int) -> dict[str, Any]:
    if not interface.columns:
        return {tensor.name: _short(golden.inputs[tensor.name][row], tensor.dtype) for tensor in interface.tensors}
    made = {}
    for column in interface.columns:
        value = golden.inputs[column.tensor][row][column.index]
        gap = column.missing is not None and value == column.missing
        made[column.name] = None if gap else _short(value, column.dtype)
    return made


def _short(value: Any, dtype: DType) -> Any:
    """Floats with no more digits than their type holds, as people would write them."""
    if isinstance(value, list):
        return [_short(each, dtype) for each in value]
    return float(str(NUMPY[dtype].type(value))) if isinstance(value, float) else value
