"""Requests put together by hand, and a plain channel to send them: what a client in any language does."""

from collections.abc import Sequence
from typing import Any

import grpc
import numpy as np

from skylane.dtypes import TO_PROTO, dtype_of
from skylane.v1.prediction_pb2 import PredictRequest, PredictResponse, PredictStreamResponse, Tensor

PREDICT = "/skylane.v1.PredictionService/Predict"
STREAM = "/skylane.v1.PredictionService/PredictStream"

Array = np.ndarray[Any, Any]


def tensor(name: str, array: Array) -> Tensor:
    """A tensor message."""
    if array.dtype == object:
        strings = [str(text).encode() for text in array.ravel()]
        return Tensor(name=name, dtype=TO_PROTO["string"], shape=array.shape, strings=strings)
    return Tensor(name=name, dtype=TO_PROTO[dtype_of(array)], shape=array.shape, data=array.tobytes())


def ask(model: str, request_id: str = "", outputs: Sequence[str] = (), **tensors: Array) -> PredictRequest:
    """A request with tensors."""
    return PredictRequest(
        model=model,
        tensors=[tensor(name, array) for name, array in tensors.items()],
        outputs=outputs,
        request_id=request_id,
    )


def features(rows: int, width: int = 20, seed: int = 0) -> Array:
    """Rows for the model `linear`."""
    return np.random.default_rng(seed).normal(size=(rows, width)).astype(np.float32)


def open_channel(address: str) -> grpc.Channel:
    """A channel that takes replies of any size, on a connection of its own."""
    return grpc.insecure_channel(
        address,
        options=[
            ("grpc.max_receive_message_length", -1),
            ("grpc.max_send_message_length", -1),
            ("grpc.use_local_subchannel_pool", 1),
        ],
    )


def predict(channel: grpc.Channel) -> "grpc.UnaryUnaryMultiCallable[PredictRequest, PredictResponse]":
    """The method, typed."""
    return channel.unary_unary(
        PREDICT, request_serializer=PredictRequest.SerializeToString, response_deserializer=PredictResponse.FromString
    )


def predict_stream(channel: grpc.Channel) -> "grpc.StreamStreamMultiCallable[PredictRequest, PredictStreamResponse]":
    """The streaming method, typed."""
    return channel.stream_stream(
        STREAM,
        request_serializer=PredictRequest.SerializeToString,
        response_deserializer=PredictStreamResponse.FromString,
    )


def raw(channel: grpc.Channel, method: str) -> "grpc.UnaryUnaryMultiCallable[bytes, bytes]":
    """A method that takes and gives bytes as they are."""
    return channel.unary_unary(method, request_serializer=bytes, response_deserializer=bytes)


def array_of(reply: PredictResponse, name: str) -> Array:
    """One output of a reply."""
    (found,) = (output for output in reply.outputs if output.name == name)
    dtype = next(key for key, value in TO_PROTO.items() if value == found.dtype)
    if dtype == "string":
        return np.array([text.decode() for text in found.strings], object).reshape(found.shape)
    return np.frombuffer(found.data, dtype).reshape(found.shape)
