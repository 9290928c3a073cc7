"""Bytes of PredictRequest → blocks for the engine.

A caller sends the same form over and over: the same model, tensor, type and shape, other numbers. So the first request
of a form is read by the generated code, and leaves a template: the bytes before and after the numbers. A later payload
with the same length, beginning and end can only mean the same form with other numbers, since the length of every field
stands before it; its numbers are cut out and nothing is parsed. Requests of one form that arrive together become one
block. Whatever fits no template is read by the generated code, one by one. docs/adr/0003-request-templates.md.
"""

from collections.abc import Sequence

import numpy as np
from google.protobuf.message import DecodeError

from server import binding
from server.block import Ask, Block
from server.errors import BadRequest, InputMismatch, ServingError
from server.transport.skylane_v1 import wire
from server.transport.skylane_v1.blocks import ArraysBlock, NumbersBlock, NumbersPlan
from server.transport.skylane_v1.inputs import read_columns, read_tensors
from server.transport.skylane_v1.records import RecordAsk, RecordTemplate, bind_apart, learn_record
from server.transport.skylane_v1.replies import reply_form, request_id_field
from server.types import Array, Call, Interface, Route, Sink
from skylane.dtypes import FROM_PROTO, NUMPY
from skylane.v1.prediction_pb2 import PredictRequest, Tensor

REQUEST_ID_BYTES_MAX = 256
TEMPLATES_MAX = 4096
"""Forms remembered; beyond it all are forgotten and learned anew. One takes about 1 KiB."""
ALIKE_MAX = 8
"""Forms of one length remembered, since they are tried in turn; the oldest gives way."""
LEARN_BYTES_MAX = 2048
"""A form with more bytes around its numbers is not remembered."""


class Template:
    """One form of request: everything but the numbers of its only tensor."""

    __slots__ = ("bound", "outputs", "prefix", "route", "shape", "start", "stop", "suffix", "tensor", "type")

    def __init__(self, payload: bytes, start: int, stop: int, request: PredictRequest) -> None:
        """Remember a request whose only tensor has its data at payload[start:stop]."""
        self.prefix, self.suffix = payload[:start], payload[stop:]
        self.start, self.stop = start, stop
        self.route, self.outputs = _route(request), tuple(request.outputs)
        tensor = request.tensors[0]
        self.tensor, self.type, self.shape = tensor.name, FROM_PROTO[tensor.dtype], tuple(tensor.shape)
        self.bound: tuple[Interface, NumbersPlan] | None = None
        """The model that answered this form last, and what follows from it."""

    def matches(self, payload: bytes) -> bool:
        """Whether a payload of the right length has this form."""
        return payload.startswith(self.prefix) and payload.endswith(self.suffix)

    def ask(self, sink: Sink) -> "TemplateAsk":
        """For calls of this form, none yet."""
        return TemplateAsk(self, sink)


class TemplateAsk(Ask):
    """Calls of one form, as the bytes of their numbers."""

    __slots__ = ("_numbers", "_template")

    def __init__(self, template: Template, sink: Sink) -> None:
        super().__init__(template.route, [], sink)
        self._template, self._numbers = template, list[bytes]()

    def add(self, call: Call, payload: bytes) -> None:
        """Take a payload that matches the template."""
        self.calls.append(call)
        self._numbers.append(payload[self._template.start : self._template.stop])

    def bind(self, interface: Interface) -> Block:
        """See Ask. A form is checked once for each model that it meets."""
        template, bound = self._template, self._template.bound
        if bound is None or bound[0] is not interface:
            if binding.are_columns(interface, [template.tensor]):
                return self._bind_apart(interface)
            array = np.broadcast_to(np.zeros((), NUMPY[template.type]), template.shape)  # a shape without memory
            binding.bind(interface, {template.tensor: array})
            try:
                form = reply_form(interface, template.outputs)
            except InputMismatch:  # wrong for all, but a call whose values are wrong as well hears of those first
                return self._bind_apart(interface)
            plan = NumbersPlan(form, template.shape, NUMPY[template.type])
            template.bound = bound = interface, plan
        block = NumbersBlock(self.calls, bound[1], self._numbers)
        if interface.limits and not interface.limits.hold(block.arrays()):  # else it is stacked only if it must run
            return self._bind_apart(interface)
        return block

    def _bind_apart(self, interface: Interface) -> ArraysBlock:
        """Where numbers are cast as a column's, or a value is refused, one call may be wrong alone."""
        name, dtype, shape = self._template.tensor, NUMPY[self._template.type], self._template.shape

        def read(sent: bytes) -> dict[str, Array]:
            return {name: np.frombuffer(sent, dtype).reshape(shape)}

        return bind_apart(self, interface, self._numbers, read, self._template.outputs)


class MessageAsk(Ask):
    """One call as the generated code read it: tensors of any kind, or columns."""

    __slots__ = ("_columns", "_inputs", "_outputs")

    def __init__(self, call: Call, request: PredictRequest) -> None:
        """Raises BadRequest or InputMismatch for what is wrong whatever the model."""
        super().__init__(_route(request), [call], call.sink)
        if request.tensors and request.columns:
            raise BadRequest("inputs: expected tensors or columns, received both")
        self._columns = bool(request.columns)
        self._inputs = read_columns(request.columns) if request.columns else read_tensors(request.tensors)
        self._outputs = tuple(request.outputs)
        if len(set(self._outputs)) < len(self._outputs):
            raise BadRequest("outputs: a name stands there twice")

    def bind(self, interface: Interface) -> Block:
        """See Ask."""
        arrays = binding.bind(interface, self._inputs, only_columns=self._columns)
        return ArraysBlock(self.calls, reply_form(interface, self._outputs), arrays, len(arrays[0]))


class RequestDecoder:
    """Reads requests, and remembers their forms. Thread-safe: a lost update only means that a form is learned again."""

    def __init__(self) -> None:
        self._templates: dict[int, list[Template | RecordTemplate]] = {}
        self._count = 0

    def decode(self, calls: Sequence[Call], payloads: Sequence[bytes], sink: Sink) -> list[Ask]:
        """Group calls that arrived together. A request that cannot be read is refused at once, and is in no group."""
        asks: list[Ask] = []
        groups: dict[Template | RecordTemplate, TemplateAsk | RecordAsk] = {}
        for call, payload in zip(calls, payloads, strict=True):
            template = self._find(payload)
            if template is not None:
                group = groups.get(template)
                if group is None:
                    group = groups[template] = template.ask(sink)
                    asks.append(group)
                group.add(call, payload)
                continue
            try:
                asks.append(self._read(call, payload))
            except ServingError as error:
                sink.refuse([call], error)
        return asks

    def _find(self, payload: bytes) -> Template | RecordTemplate | None:
        for template in self._templates.get(len(payload), ()):
            if template.matches(payload):
                return template
        return None

    def _read(self, call: Call, payload: bytes) -> MessageAsk:
        try:
            request = PredictRequest.FromString(payload)
        except DecodeError as error:
            raise BadRequest(f"the message is not a skylane.v1.PredictRequest: {error}") from error
        if len(request.request_id.encode()) > REQUEST_ID_BYTES_MAX:
            raise BadRequest(f"request_id: expected at most {REQUEST_ID_BYTES_MAX} bytes")
        if request.request_id:
            call.tail = request_id_field(request.request_id)
        ask = MessageAsk(call, request)
        self._learn(payload, request)
        return ask

    def _learn(self, payload: bytes, request: PredictRequest) -> None:
        """Remember the form of a request without an id, which would change from call to call."""
        if request.request_id or request.columns:
            return
        template = _learn_numbers(payload, request) or learn_record(payload, request, _route(request))
        if template is None:
            return
        if self._count >= TEMPLATES_MAX:
            self._templates, self._count = {}, 0
        alike = self._templates.get(len(payload), [])
        self._templates[len(payload)] = [*alike[-ALIKE_MAX + 1 :], template]
        self._count += 1


def _learn_numbers(payload: bytes, request: PredictRequest) -> Template | None:
    """The form of a request with one numeric tensor of any size."""
    if len(request.tensors) != 1 or request.tensors[0].dtype not in _NUMBERS:
        return None
    span = _numbers_span(payload, request.tensors[0].data)
    if span is None or len(payload) - (span[1] - span[0]) > LEARN_BYTES_MAX:
        return None
    return Template(payload, *span, request)


_NUMBERS = frozenset(number for number, name in FROM_PROTO.items() if name not in ("bool", "string"))
"""Types whose every pattern of bytes is a value."""


def _numbers_span(payload: bytes, data: bytes) -> tuple[int, int] | None:
    """Where the data of the only tensor lies; None unless the message is written in the plain way, each field once."""
    tensor = _only(payload, (0, len(payload)), PredictRequest.TENSORS_FIELD_NUMBER)
    found = tensor and _only(payload, tensor, Tensor.DATA_FIELD_NUMBER)
    return found if found and payload[slice(*found)] == data else None


def _only(payload: bytes, message: tuple[int, int], field: int) -> tuple[int, int] | None:
    """Where the content of a field lies that stands exactly once in a message."""
    found = [(start, stop) for number, start, stop in wire.spans(payload, *message) or () if number == field]
    return found[0] if len(found) == 1 else None


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
