"""Bytes of PredictRequest → batch tasks for the engine. Repeated forms of requests are recognised: see
skylane.server.codecs.request_templates.
"""

from collections.abc import Iterator
from functools import partial
from typing import Final

from google.protobuf.message import DecodeError

from skylane.dtypes import FROM_PROTO
from skylane.server.codecs.element_limits import check_elements, lengths_of_lists
from skylane.server.codecs.payload_tasks import ArraysTask
from skylane.server.codecs.request_templates import AnyTemplate, Named, OnlyTensor, TemplatingDecoder, learn_numbers
from skylane.server.codecs.skylane_v1.inputs import read_columns, read_tensors
from skylane.server.codecs.skylane_v1.records import learn_record
from skylane.server.codecs.skylane_v1.replies import reply_form, request_id_field
from skylane.server.core import input_binding
from skylane.server.core.batch_task import Bound, RequestGroup
from skylane.server.core.errors import BadRequest
from skylane.server.core.types import Call, Interface, Route
from skylane.v1.prediction_pb2 import PredictRequest, Tensor

PREDICTION_SERVICE: Final = "skylane.v1.PredictionService"
PREDICT: Final = f"/{PREDICTION_SERVICE}/Predict"
PREDICT_STREAM: Final = f"/{PREDICTION_SERVICE}/PredictStream"
REQUEST_ID_BYTES_MAX: Final = 256
_TO_DATA: Final = (PredictRequest.TENSORS_FIELD_NUMBER, Tensor.DATA_FIELD_NUMBER)


class MessageAsk(RequestGroup):
    """One call, as parsed by the generated code: tensors of any kind, or columns."""

    __slots__ = ("_columns", "_inputs", "_outputs")

    def __init__(self, call: Call, request: PredictRequest) -> None:
        """Raises BadRequest or InputMismatch for errors that do not depend on the model."""
        super().__init__(_route(request), [call], call.sink)
        if request.tensors and request.columns:
            raise BadRequest("inputs: expected tensors or columns, received both")
        self._columns = bool(request.columns)
        self._inputs = read_columns(request.columns) if request.columns else read_tensors(request.tensors)
        self._outputs = tuple(request.outputs)
        if len(set(self._outputs)) < len(self._outputs):
            raise BadRequest("outputs: a name appears twice")

    def bind(self, interface: Interface) -> Bound:
        arrays = input_binding.bind(interface, self._inputs, only_columns=self._columns)
        return ArraysTask(self.calls, reply_form(interface, self._outputs), arrays, len(arrays[0])), ()


class RequestDecoder(TemplatingDecoder):
    """Reads PredictRequests."""

    def read(self, call: Call, payload: bytes) -> tuple[RequestGroup, AnyTemplate | None]:
        try:
            request = PredictRequest.FromString(payload)
        except DecodeError as error:
            raise BadRequest(f"the message is not a skylane.v1.PredictRequest: {error}") from error
        check_elements(payload, request, _lengths)
        if len(request.request_id.encode()) > REQUEST_ID_BYTES_MAX:
            raise BadRequest(f"request_id: expected at most {REQUEST_ID_BYTES_MAX} bytes")
        if request.request_id:
            call.tail = request_id_field(request.request_id.encode())
        return MessageAsk(call, request), _learn(payload, request)


def _lengths(request: PredictRequest) -> Iterator[int]:
    """See check_elements."""
    for tensor in request.tensors:
        yield from lengths_of_lists(tensor)
    for column in request.columns:
        yield from lengths_of_lists(column)
        if which := column.WhichOneof("values"):
            yield len(getattr(column, which).values)


def _learn(payload: bytes, request: PredictRequest) -> AnyTemplate | None:
    """The template of a request with tensors. If it has an id, only the id and one tensor's numbers may change."""
    if request.columns:
        return None
    numbers = _learn_numbers(payload, request)
    return numbers if numbers or request.request_id else learn_record(payload, request, _route(request))


def _learn_numbers(payload: bytes, request: PredictRequest) -> AnyTemplate | None:
    if len(request.tensors) != 1:
        return None
    (tensor,) = request.tensors
    only_tensor = OnlyTensor(tensor.name, FROM_PROTO[tensor.dtype], tuple(tensor.shape))
    reply = partial(reply_form, wanted=tuple(request.outputs))
    named = Named(PredictRequest.REQUEST_ID_FIELD_NUMBER, request_id_field) if request.request_id else None
    return learn_numbers(payload, _TO_DATA, tensor.data, _route(request), only_tensor, reply, named)


def _route(request: PredictRequest) -> Route:
    if not request.model:
        raise BadRequest("model: expected the name of a model, received nothing")
    which = request.WhichOneof("which")
    if which == "version" and request.version < 1:
        raise BadRequest(f"version: expected 1 or more, received {request.version}")
    return Route(
        request.model,
        request.version if which == "version" else None,
        request.label if which == "label" else None,
    )
