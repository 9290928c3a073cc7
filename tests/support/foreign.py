"""Requests of other people's protocols, made from ours: the same question in their words."""

import struct
from collections.abc import Callable, Mapping
from typing import Any

import grpc
import numpy as np

from skylane.dtypes import FROM_PROTO, NUMPY, DType, dtype_of
from skylane.server.codecs.descriptor_pool import methods
from skylane.server.codecs.oip.messages import CONTENTS_OF, ModelInferRequest
from skylane.server.codecs.tensor_bytes import DATATYPE_OF
from skylane.server.codecs.tfs.messages import NUMBER_OF, VALUES_OF
from skylane.server.codecs.tfs.messages import PredictRequest as TensorFlowRequest
from skylane.v1.prediction_pb2 import PredictRequest
from support.calls import Array


def arrays_of(request: PredictRequest) -> dict[str, Array]:
    """The tensors of a request that is well formed. Raises ValueError for others."""
    arrays: dict[str, Array] = {}
    for tensor in request.tensors:
        dtype = FROM_PROTO[tensor.dtype]
        flat: Array
        if dtype == "string":
            flat = np.array([text.decode() for text in tensor.strings] + [None], object)[:-1]
        else:
            flat = np.frombuffer(tensor.data, NUMPY[dtype])
        arrays[tensor.name] = flat.reshape(tensor.shape)
    return arrays


def infer_raw(request: PredictRequest) -> Any:
    """As a ModelInferRequest with its tensors raw."""
    made = _infer_head(request)
    for tensor in request.tensors:
        made.inputs.add(name=tensor.name, datatype=DATATYPE_OF[FROM_PROTO[tensor.dtype]], shape=tensor.shape)
        texts = b"".join(struct.pack("<I", len(text)) + text for text in tensor.strings)
        made.raw_input_contents.append(texts or tensor.data)
    return made


def infer_contents(request: PredictRequest, arrays: Mapping[str, Array]) -> Any:
    """As a ModelInferRequest with its tensors as lists."""
    made = _infer_head(request)
    for name, array in arrays.items():
        dtype = dtype_of(array)
        tensor = made.inputs.add(name=name, datatype=DATATYPE_OF[dtype], shape=array.shape)
        values = array.ravel().tolist()
        getattr(tensor.contents, CONTENTS_OF[dtype]).extend(
            [text.encode() for text in values] if dtype == "string" else values
        )
    return made


def tensorflow(request: PredictRequest, arrays: Mapping[str, Array]) -> Any:
    """As TensorFlow Serving's PredictRequest."""
    made = TensorFlowRequest()
    made.model_spec.name = request.model
    which = request.WhichOneof("which")
    if which == "label":
        made.model_spec.version_label = request.label
    elif which == "version":
        made.model_spec.version.value = request.version
    made.output_filter.extend(request.outputs)
    for name, array in arrays.items():
        list_elements(made.inputs[name], dtype_of(array), array)
    return made


def list_elements(tensor: Any, dtype: DType, array: Array) -> None:
    """Fill a TensorProto with the field of its type."""
    tensor.dtype = NUMBER_OF[dtype]
    for size in array.shape:
        tensor.tensor_shape.dim.add(size=size)
    values = (array.view(np.uint16) if dtype == "float16" else array).ravel().tolist()
    getattr(tensor, VALUES_OF[dtype]).extend([text.encode() for text in values] if dtype == "string" else values)


def _infer_head(request: PredictRequest) -> Any:
    version = str(request.version) if request.WhichOneof("which") == "version" else ""
    made = ModelInferRequest(model_name=request.model, model_version=version, id=request.request_id)
    for name in request.outputs:
        made.outputs.add(name=name)
    return made


def call(channel: grpc.Channel, service: str, name: str) -> Callable[..., Any]:
    """A unary method of theirs, typed by their messages."""
    request_type, response_type = methods(service)[name]
    return channel.unary_unary(
        f"/{service}/{name}",
        request_serializer=request_type.SerializeToString,
        response_deserializer=response_type.FromString,
    )
