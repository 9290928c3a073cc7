"""Rows → the bytes of a request, and a reply → whether it is an error, for each protocol. Pure."""

import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from google.protobuf.message import DecodeError
from grpc import StatusCode

from skylane.bench.workload.payloads import PREDICT, Array, grpc_exchange
from skylane.client import Model
from skylane.dtypes import dtype_of
from skylane.server.codecs.oip.messages import INFER, ModelInferRequest
from skylane.v1.prediction_pb2 import PredictStreamResponse

PREDICT_STREAM: Final = "/skylane.v1.PredictionService/PredictStream"
_OIP: Final = {
    "bool": "BOOL", "int8": "INT8", "int16": "INT16", "int32": "INT32", "int64": "INT64", "uint8": "UINT8",
    "uint16": "UINT16", "uint32": "UINT32", "uint64": "UINT64", "float32": "FP32", "float64": "FP64", "string": "BYTES",
}  # fmt: skip

Tensors = Mapping[str, Array]
"""Name → (rows, …)."""
Encode = Callable[[Model, str, Tensors], bytes]
"""(schema, name that is asked for, rows) → a request."""


@dataclass(frozen=True)
class Way:
    """One way to ask."""

    name: str
    path: str
    """Of the method; of REST, with {} for the model."""
    encode: Encode
    http: bool = False


class Refused(Exception):
    """The answer is an error; `code` is gRPC's."""

    def __init__(self, code: StatusCode, detail: str) -> None:
        super().__init__(f"{code.name}: {detail}")
        self.code = code


def _predict(_schema: Model, name: str, rows: Tensors) -> bytes:
    return grpc_exchange(name, rows, {}).body[5:]


def _infer(_schema: Model, name: str, rows: Tensors) -> bytes:
    request = ModelInferRequest(model_name=name)
    for tensor, array in rows.items():
        dtype = dtype_of(array)
        request.inputs.add(name=tensor, datatype=_OIP[dtype], shape=array.shape)
        raw = _counted(array) if dtype == "string" else array.tobytes()
        request.raw_input_contents.append(raw)
    data: bytes = request.SerializeToString()
    return data


def _counted(texts: Array) -> bytes:
    """Strings as the protocol packs them: each after its length in four bytes."""
    encoded = [str(text).encode() for text in texts.flat]
    return b"".join(len(text).to_bytes(4, "little") + text for text in encoded)


def _rest(schema: Model, _name: str, rows: Tensors) -> bytes:
    widths = {name: array.shape[1] for name, array in rows.items()}
    count = len(next(iter(rows.values())))
    has_all = all(column.index < widths.get(column.tensor, 0) for column in schema.columns)
    if schema.columns and has_all and sum(widths.values()) == len(schema.columns):
        return _json_rows(
            {column.name: _json(rows[column.tensor][row, column.index]) for column in schema.columns}
            for row in range(count)
        )
    return _json_rows(
        {name: [_json(value) for value in array[row]] for name, array in rows.items()} for row in range(count)
    )


def _json_rows(rows: Iterable[Mapping[str, Any]]) -> bytes:
    return json.dumps({"rows": list(rows)}).encode()


def _rest_infer(_schema: Model, _name: str, rows: Tensors) -> bytes:
    inputs = [
        {
            "name": tensor,
            "shape": array.shape,
            "datatype": _OIP[dtype_of(array)],
            "data": [_json(value) for value in array.flat],
        }
        for tensor, array in rows.items()
    ]
    return json.dumps({"inputs": inputs}).encode()


def _json(value: Any) -> Any:
    plain = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(plain, float) and math.isnan(plain) else plain


WAYS: Final[Mapping[str, Way]] = {
    way.name: way
    for way in (
        Way("predict", PREDICT, _predict),
        Way("stream", PREDICT_STREAM, _predict),
        Way("infer", INFER, _infer),
        Way("rest", "/v1/models/{}:predict", _rest, http=True),
        Way("rest-infer", "/v2/models/{}/infer", _rest_infer, http=True),
    )
}
"""Predict and PredictStream of Skylane, ModelInfer of the Open Inference Protocol, and JSON over HTTP of both."""

_CODE_OF: Final[Mapping[int, StatusCode]] = {code.value[0]: code for code in StatusCode}
_OF_HTTP: Final[Mapping[int, StatusCode]] = {
    400: StatusCode.INVALID_ARGUMENT,
    404: StatusCode.NOT_FOUND,
    413: StatusCode.RESOURCE_EXHAUSTED,
    429: StatusCode.RESOURCE_EXHAUSTED,
    503: StatusCode.RESOURCE_EXHAUSTED,
    504: StatusCode.DEADLINE_EXCEEDED,
}


def check_streamed(reply: bytes) -> None:
    """Raises Refused if this message of a stream is an error."""
    try:
        response = PredictStreamResponse.FromString(reply)
    except DecodeError as error:
        raise Refused(StatusCode.INTERNAL, f"the reply is no PredictStreamResponse: {error}") from error
    if response.HasField("error"):
        raise Refused(_CODE_OF.get(response.error.code, StatusCode.UNKNOWN), response.error.message)


def check_http(status: int, body: bytes) -> None:
    """Raises Refused if this status of HTTP is an error."""
    if status != 200:
        raise Refused(_OF_HTTP.get(status, StatusCode.UNKNOWN), f"HTTP {status}: {body[:200].decode(errors='replace')}")
