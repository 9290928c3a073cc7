"""The bytes of requests, and whether the bytes that came back are the right answer. Pure.

The same rows go to every server: as one `skylane.v1.PredictRequest` in the tensor form, or as JSON.
"""

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from google.protobuf.message import DecodeError

from skylane.dtypes import FROM_PROTO, NUMPY, TO_PROTO, dtype_of
from skylane.v1 import prediction_pb2 as pb

Array = np.ndarray[Any, Any]
Protocol = Literal["grpc", "http"]

PREDICT: Final = "/skylane.v1.PredictionService/Predict"
TOLERANCE: Final = 1e-3
"""Largest difference of a number to the right answer: what the converter's preset `close` allows."""


class WrongAnswer(Exception):
    """A server answered, but not this question. Nothing that was measured with it counts."""


@dataclass(frozen=True)
class Exchange:
    """One request, ready to be sent over and over, and its right answer."""

    protocol: Protocol
    path: str
    body: bytes
    """As it travels: for gRPC with the five bytes in front of the message."""
    expected: Mapping[str, Array]
    """Output name → (rows, …)."""

    def check(self, reply: bytes) -> None:
        """Raises WrongAnswer if the reply, without framing, is not the right answer."""
        outputs = _grpc_outputs(reply) if self.protocol == "grpc" else _json_outputs(reply)
        for name, right in self.expected.items():
            if name not in outputs:
                raise WrongAnswer(f"there is no output {name!r}, only {', '.join(outputs) or 'nothing'}")
            if not _equal(outputs[name], right):
                raise WrongAnswer(f"output {name!r} is {outputs[name]!r:.200}, but {right!r:.200} is right")

    def reply_bytes(self, reply: bytes) -> int:
        """Bytes of body that a load generator sees for this reply."""
        return len(reply) + (5 if self.protocol == "grpc" else 0)


def grpc_exchange(model: str, inputs: Mapping[str, Array], outputs: Mapping[str, Array]) -> Exchange:
    """A Predict request for these tensors."""
    request = pb.PredictRequest(model=model, tensors=[_tensor(name, array) for name, array in inputs.items()])
    return Exchange("grpc", PREDICT, framed(request.SerializeToString()), outputs)


def json_exchange(model: str, rows: Array, outputs: Mapping[str, Array]) -> Exchange:
    """The same rows as JSON."""
    body = json.dumps({"rows": rows.tolist()}).encode()
    return Exchange("http", f"/v1/models/{model}", body, outputs)


def grpc_reply(model: str, outputs: Mapping[str, Array]) -> bytes:
    """The right answer as a server would encode it; for the server that does nothing."""
    tensors = [_tensor(name, array) for name, array in outputs.items()]
    return pb.PredictResponse(model=model, version=1, outputs=tensors).SerializeToString()


def framed(message: bytes) -> bytes:
    """A message of gRPC on the wire: not compressed, its length, itself."""
    return struct.pack(">BI", 0, len(message)) + message


def _tensor(name: str, array: Array) -> pb.Tensor:
    dtype = dtype_of(array)
    if dtype == "string":
        strings = [str(text).encode() for text in array.flat]
        return pb.Tensor(name=name, dtype=TO_PROTO[dtype], shape=array.shape, strings=strings)
    data = array.astype(NUMPY[dtype]).tobytes()
    return pb.Tensor(name=name, dtype=TO_PROTO[dtype], shape=array.shape, data=data)


def _grpc_outputs(reply: bytes) -> dict[str, Array]:
    try:
        response = pb.PredictResponse.FromString(reply)
    except DecodeError as error:
        raise WrongAnswer(f"the reply is no PredictResponse: {error}") from error
    outputs: dict[str, Array] = {}
    for tensor in response.outputs:
        dtype = FROM_PROTO[tensor.dtype]
        flat: Array
        if dtype == "string":
            flat = np.array([text.decode() for text in tensor.strings], object)
        else:
            flat = np.frombuffer(tensor.data, NUMPY[dtype])
        outputs[tensor.name] = flat.reshape(tensor.shape)
    return outputs


def _json_outputs(reply: bytes) -> dict[str, Array]:
    try:
        return {name: np.asarray(value) for name, value in json.loads(reply).items()}
    except (ValueError, AttributeError) as error:
        raise WrongAnswer(f"the reply is no JSON object: {reply[:200]!r}") from error


def _equal(actual: Array, right: Array) -> bool:
    if actual.shape != right.shape:
        return False
    if right.dtype.kind == "f":
        return bool(np.allclose(actual, right, rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True))
    return bool(np.array_equal(actual, right))
