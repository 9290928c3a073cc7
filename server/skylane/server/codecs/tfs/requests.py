"""Bytes of TensorFlow Serving's PredictRequest → batch tasks for the engine, and outputs → bytes of its response."""

from collections.abc import Hashable, Iterable, Iterator, Sequence
from functools import lru_cache, partial
from itertools import repeat
from typing import Any, Final

from google.protobuf.message import DecodeError

from skylane.server.codecs.element_limits import check_elements, lengths_of_lists
from skylane.server.codecs.payload_tasks import ArraysTask
from skylane.server.codecs.request_templates import AnyTemplate, OnlyTensor, TemplatingDecoder, learn_numbers
from skylane.server.codecs.tfs import tensors
from skylane.server.codecs.tfs.messages import SIGNATURE, PredictRequest, PredictResponse
from skylane.server.core import input_binding
from skylane.server.core.batch_task import Bound, RequestGroup
from skylane.server.core.errors import BadRequest
from skylane.server.core.text import quoted
from skylane.server.core.types import Array, Call, Interface, Route

_TO_TENSOR: Final = (PredictRequest.INPUTS_FIELD_NUMBER, 2)  # a map's entry has its value in field 2


class PredictAsk(RequestGroup):
    """One call, as parsed by protobuf."""

    __slots__ = ("_inputs", "_outputs")

    def __init__(self, call: Call, request: Any) -> None:
        """Raises BadRequest or InputMismatch for errors that do not depend on the model."""
        super().__init__(route_of(request.model_spec), [call], call.sink)
        self._outputs = tuple(request.output_filter)
        if len(set(self._outputs)) < len(self._outputs):
            raise BadRequest("output_filter: a name appears twice")
        self._inputs = tensors.read_inputs(request.inputs)

    def bind(self, interface: Interface) -> Bound:
        arrays = input_binding.bind(interface, self._inputs)
        return ArraysTask(self.calls, reply_form(interface, self._outputs), arrays, len(arrays[0])), ()


class PredictDecoder(TemplatingDecoder):
    """Reads TensorFlow Serving's PredictRequests."""

    def read(self, call: Call, payload: bytes) -> tuple[RequestGroup, AnyTemplate | None]:
        try:
            request = PredictRequest.FromString(payload)
        except DecodeError as error:
            raise BadRequest(f"the message is not a tensorflow.serving.PredictRequest: {error}") from error
        check_elements(payload, request, _lengths)
        return PredictAsk(call, request), _learn(payload, request)


def _lengths(request: Any) -> Iterator[int]:
    """See check_elements."""
    for tensor in request.inputs.values():
        yield from lengths_of_lists(tensor)


def route_of(spec: Any) -> Route:
    """The route that a ModelSpec names. Raises BadRequest."""
    if not spec.name:
        raise BadRequest("model_spec: name: expected the name of a model, received nothing")
    if spec.signature_name not in ("", SIGNATURE):
        raise BadRequest(
            f"model_spec: signature_name: expected {SIGNATURE} or nothing, received {quoted(spec.signature_name)}"
        )
    which = spec.WhichOneof("version_choice")
    if which == "version_label":
        return Route(spec.name, None, spec.version_label)
    if which == "version" and spec.version.value < 1:
        raise BadRequest(f"model_spec: version: expected 1 or more, received {spec.version.value}")
    return Route(spec.name, spec.version.value if which == "version" else None)


class _Form:
    """The form of one model's replies with these outputs. See ReplyForm."""

    cached = b""
    """The protocol has no field for it."""

    def id_head(self, size: int) -> bytes | None:  # noqa: ARG002
        """See ReplyForm. The protocol has no field for it."""
        return None

    def __init__(self, interface: Interface, wanted: Sequence[str]) -> None:
        self.outputs: Hashable = ("tensorflow", tuple(wanted))
        places = input_binding.output_places(interface, wanted)
        self._lists = [(place, tensors.listed_output(interface.outputs[place])) for place in places]
        head = PredictResponse()
        head.model_spec.name, head.model_spec.signature_name = interface.model, SIGNATURE
        head.model_spec.version.value = interface.version
        self._head: bytes = head.SerializeToString()

    def encode(self, outputs: Sequence[Array], calls: int, rows_each: int) -> list[bytes]:
        parts: list[Iterable[bytes]] = [repeat(self._head, calls)]
        for place, listed in self._lists:
            parts += listed.parts(outputs[place], calls, rows_each)
        return list(map(b"".join, zip(*parts, strict=True)))


@lru_cache(maxsize=256)
def reply_form(interface: Interface, wanted: tuple[str, ...]) -> _Form:
    """The form for these outputs of this model, made once. Raises InputMismatch if an output is not known."""
    return _Form(interface, wanted)


def _learn(payload: bytes, request: Any) -> AnyTemplate | None:
    """The template of a request with one numeric tensor, raw or listed."""
    if len(request.inputs) != 1:
        return None
    ((name, tensor),) = request.inputs.items()
    plain = tensors.plain_data(tensor)
    if plain is None:
        return None
    field, dtype, shape, data = plain
    only_tensor, reply = OnlyTensor(name, dtype, shape), partial(reply_form, wanted=tuple(request.output_filter))
    return learn_numbers(payload, (*_TO_TENSOR, field), data, route_of(request.model_spec), only_tensor, reply)
