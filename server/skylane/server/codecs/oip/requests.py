"""Bytes of ModelInferRequest → batch tasks for the engine. Repeated forms of requests are recognised: see
skylane.server.codecs.request_templates.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final

import numpy as np
from google.protobuf.message import DecodeError

from skylane.dtypes import NUMPY, DType
from skylane.server.codecs import protobuf_wire
from skylane.server.codecs.element_limits import LENGTH_PREFIXED_WEIGHT, check_elements, lengths_of_lists
from skylane.server.codecs.grpc_status import status_of
from skylane.server.codecs.oip.inputs import check_parameters, read_inputs
from skylane.server.codecs.oip.messages import (
    CONTENTS_OF,
    InferTensorContents,
    ModelInferRequest,
    ModelInferResponse,
    ModelStreamInferResponse,
)
from skylane.server.codecs.oip.replies import id_field, reply_form
from skylane.server.codecs.payload_tasks import ArraysTask
from skylane.server.codecs.request_templates import AnyTemplate, Named, OnlyTensor, TemplatingDecoder, learn_numbers
from skylane.server.codecs.tensor_bytes import DTYPE_OF, LENGTH_PREFIX_BYTES
from skylane.server.core import input_binding
from skylane.server.core.batch_task import Bound, RequestGroup
from skylane.server.core.errors import BadRequest, ServingError
from skylane.server.core.rejection_counter import RejectionCounter
from skylane.server.core.text import quoted
from skylane.server.core.types import Call, Interface, Route

ID_BYTES_MAX: Final = 256
_TO_RAW: Final[tuple[int, ...]] = (ModelInferRequest.RAW_INPUT_CONTENTS_FIELD_NUMBER,)
_TO_CONTENTS: Final = (
    ModelInferRequest.INPUTS_FIELD_NUMBER,
    ModelInferRequest.InferInputTensor.CONTENTS_FIELD_NUMBER,
)
_TO_LIST: Final[dict[DType, tuple[int, ...]]] = {
    "float32": (*_TO_CONTENTS, InferTensorContents.FP32_CONTENTS_FIELD_NUMBER),
    "float64": (*_TO_CONTENTS, InferTensorContents.FP64_CONTENTS_FIELD_NUMBER),
}
"""Paths to the lists whose elements have the same bytes on the wire as in memory."""

_FINAL: Final[bytes] = ModelInferResponse(
    parameters={"triton_final_response": {"bool_param": True}}
).SerializeToString()
"""Clients read answers of a stream until one has this parameter; here each request has a single answer."""


class InferAsk(RequestGroup):
    """One call, as parsed by protobuf."""

    __slots__ = ("_inputs", "_outputs", "_raw")

    def __init__(self, call: Call, request: Any) -> None:
        """Raises BadRequest or InputMismatch for errors that do not depend on the model."""
        super().__init__(_route(request), [call], call.sink)
        self._outputs = _wanted(request)
        self._inputs = read_inputs(request)
        self._raw = bool(request.raw_input_contents)

    def bind(self, interface: Interface) -> Bound:
        arrays = input_binding.bind(interface, self._inputs)
        return ArraysTask(self.calls, reply_form(interface, self._outputs, raw=self._raw), arrays, len(arrays[0])), ()


class InferDecoder(TemplatingDecoder):
    """Reads ModelInferRequests."""

    def __init__(self, clock: Callable[[], float], rejections: RejectionCounter) -> None:
        """`clock`: the engine's clock, to which deadlines refer. `rejections`: see TemplatingDecoder."""
        super().__init__(rejections)
        self._clock = clock

    def read(self, call: Call, payload: bytes) -> tuple[RequestGroup, AnyTemplate | None]:
        try:
            request = ModelInferRequest.FromString(payload)
        except DecodeError as error:
            raise BadRequest(f"the message is not an inference.ModelInferRequest: {error}") from error
        check_elements(payload, request, _lengths)
        if len(request.id.encode()) > ID_BYTES_MAX:
            raise BadRequest(f"id: expected at most {ID_BYTES_MAX} bytes")
        if request.id:
            call.tail = id_field(request.id.encode())
        timeout_s = _timeout_s(request)
        if timeout_s is not None:
            call.deadline = min(call.deadline, self._clock() + timeout_s)
        return InferAsk(call, request), _learn(payload, request)


def _lengths(request: Any) -> Iterator[int]:
    """See check_elements."""
    for tensor in request.inputs:
        yield from lengths_of_lists(tensor)
        yield from lengths_of_lists(tensor.contents)
    for tensor, raw in zip(request.inputs, request.raw_input_contents, strict=False):
        if tensor.datatype == "BYTES":
            yield LENGTH_PREFIXED_WEIGHT * (len(raw) // LENGTH_PREFIX_BYTES)


def stream_message(call: Call, result: bytes | ServingError) -> bytes:
    """The message of a ModelStreamInfer for a request: its reply, or the error with the request's id."""
    if isinstance(result, bytes):
        return protobuf_wire.field(ModelStreamInferResponse.INFER_RESPONSE_FIELD_NUMBER, result + _FINAL)
    written: bytes = ModelStreamInferResponse(
        error_message=status_of(result).message, infer_response=ModelInferResponse.FromString(call.tail)
    ).SerializeToString()
    return written


def _route(request: Any) -> Route:
    if not request.model_name:
        raise BadRequest("model_name: expected the name of a model, received nothing")
    return route_of(request.model_name, request.model_version)


def route_of(model: str, version: str) -> Route:
    """The route for a name and a version, given as text. Raises BadRequest."""
    if not version:
        return Route(model)
    number = int(version) if version.isdecimal() and len(version) < 19 else None
    if number is None or number < 1:
        received = quoted(version) if number is None else number
        raise BadRequest(f"model_version: expected 1 or more, received {received}")
    return Route(model, number)


def _wanted(request: Any) -> tuple[str, ...]:
    names = tuple(output.name for output in request.outputs)
    if len(set(names)) < len(names):
        raise BadRequest("outputs: a name appears twice")
    for output in request.outputs:
        check_parameters("output", output)
    return names


def _timeout_s(request: Any) -> float | None:
    """The parameter `timeout`, which is in microseconds; 0 for none."""
    if "timeout" not in request.parameters:
        return None
    parameter = request.parameters["timeout"]
    kind = parameter.WhichOneof("parameter_choice")
    value = getattr(parameter, kind) if kind in ("int64_param", "uint64_param") else -1
    if value < 0:
        raise BadRequest("parameters: timeout: expected microseconds from 0, as int64_param")
    return value / 1e6 if value else None


def _learn(payload: bytes, request: Any) -> AnyTemplate | None:
    """The template of a request with one numeric tensor, raw or listed. Ids may change from call to call."""
    if len(request.inputs) != 1 or "timeout" in request.parameters:  # each call has its own deadline
        return None
    (tensor,), path = request.inputs, _TO_RAW
    only_tensor = OnlyTensor(tensor.name, DTYPE_OF[tensor.datatype], tuple(tensor.shape))
    if raw := bool(request.raw_input_contents):
        data = request.raw_input_contents[0]
    elif only_tensor.dtype in _TO_LIST:
        path = _TO_LIST[only_tensor.dtype]
        data = np.array(getattr(tensor.contents, CONTENTS_OF[only_tensor.dtype]), NUMPY[only_tensor.dtype]).tobytes()
    else:
        return None
    reply = partial(reply_form, wanted=_wanted(request), raw=raw)
    named = Named(ModelInferRequest.ID_FIELD_NUMBER, id_field) if request.id else None
    return learn_numbers(payload, path, data, _route(request), only_tensor, reply, named)
