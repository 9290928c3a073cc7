"""Bytes of PredictRequest → blocks for the engine.

A caller sends the same form over and over: the same model, tensor, type and shape, other numbers. So the first request
of a form is read by the generated code, and leaves a template: the bytes before and after the numbers. A later payload
with the same length, beginning and end can only mean the same form with other numbers, since the length of every field
stands before it; its numbers are cut out and nothing is parsed. Requests of one form that arrive together become one
block. Whatever fits no template is read by the generated code, one by one. docs/adr/0003-request-templates.md.
"""

import sys
from collections.abc import Hashable, Sequence
from typing import Self

import numpy as np
from google.protobuf.message import DecodeError

from server import binding
from server.block import Ask, Block
from server.errors import BadRequest, InputMismatch, ServingError
from server.transport.skylane_v1 import wire
from server.transport.skylane_v1.inputs import read_columns, read_tensors
from server.transport.skylane_v1.replies import CACHED, ReplyForm, reply_form, request_id_field
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

Shape = tuple[int, ...]


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
        self.bound: tuple[Interface, Plan] | None = None
        """The model that answered this form last, and what follows from it."""

    def matches(self, payload: bytes) -> bool:
        """Whether a payload of the right length has this form."""
        return payload.startswith(self.prefix) and payload.endswith(self.suffix)


class Plan:
    """A form of request bound to a model: how its numbers become rows, and rows replies."""

    __slots__ = ("dtype", "key", "reply", "shape")

    def __init__(self, reply: ReplyForm, shape: Shape, dtype: "np.dtype[np.generic]") -> None:
        self.reply, self.shape, self.dtype = reply, shape, dtype
        self.key = ((shape,), reply.outputs)


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

    def bind(self, interface: Interface) -> "NumbersBlock":
        """See Ask. A form is checked once for each model that it meets."""
        template, bound = self._template, self._template.bound
        if bound is None or bound[0] is not interface:
            if template.tensor not in interface.tensors_by_name and template.tensor in interface.columns_by_name:
                return self._bind_column(interface)
            array = np.broadcast_to(np.zeros((), NUMPY[template.type]), template.shape)  # a shape without memory
            binding.bind(interface, {template.tensor: array})
            plan = Plan(reply_form(interface, template.outputs), template.shape, NUMPY[template.type])
            template.bound = bound = interface, plan
        return NumbersBlock(self.calls, bound[1], self._numbers)

    def _bind_column(self, interface: Interface) -> "NumbersBlock":
        """Under the name of the model's only column, numbers are cast and checked: one call may be wrong alone."""
        template, calls, numbers, arrays = self._template, list[Call](), list[bytes](), list[Array]()
        last = len(self.calls) - 1
        for place, (call, sent) in enumerate(zip(self.calls, self._numbers, strict=True)):
            values = np.frombuffer(sent, NUMPY[template.type]).reshape(template.shape)
            try:
                arrays += binding.bind(interface, {template.tensor: values})
            except InputMismatch as error:
                if place == last and not calls:
                    self.calls = [call]
                    raise  # for the engine to refuse, as if nobody else had been here
                self.sink.refuse([call], error)
            else:
                calls.append(call)
                numbers.append(sent)
        self.calls, self._numbers = calls, numbers
        plan = Plan(reply_form(interface, template.outputs), arrays[0].shape, arrays[0].dtype)
        return NumbersBlock(calls, plan, [array.tobytes() for array in arrays])


class NumbersBlock(Block):
    """Calls with one numeric tensor of one shape, stacked only when they run."""

    __slots__ = ("_numbers", "_plan")

    def __init__(self, calls: list[Call], plan: Plan, numbers: list[bytes]) -> None:
        super().__init__(calls, plan.shape[0])
        self._plan, self._numbers = plan, numbers

    def keys(self) -> list[Hashable]:
        form = self._plan.key
        return [(form, numbers) for numbers in self._numbers]

    def key_bytes(self) -> int:
        return len(self._numbers[0])

    def arrays(self) -> Sequence[Array]:
        numbers = self._numbers[0] if len(self._numbers) == 1 else b"".join(self._numbers)
        return [np.frombuffer(numbers, self._plan.dtype).reshape(self.rows, *self._plan.shape[1:])]

    def select(self, places: Sequence[int]) -> Self:
        calls, numbers = self.calls, self._numbers
        return type(self)([calls[i] for i in places], self._plan, [numbers[i] for i in places])

    def encode(self, outputs: Sequence[Array]) -> list[bytes]:
        return self._plan.reply.encode(outputs, len(self.calls), self.rows_each)

    def mark_cached(self, reply: bytes) -> bytes:
        return reply + CACHED


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

    def bind(self, interface: Interface) -> "ArraysBlock":
        """See Ask."""
        arrays = binding.bind(interface, self._inputs, only_columns=self._columns)
        return ArraysBlock(self.calls, reply_form(interface, self._outputs), arrays)


class ArraysBlock(Block):
    """One call with its arrays."""

    __slots__ = ("_arrays", "_reply")

    def __init__(self, calls: list[Call], reply: ReplyForm, arrays: list[Array]) -> None:
        super().__init__(calls, len(arrays[0]))
        self._reply, self._arrays = reply, arrays

    def keys(self) -> list[Hashable]:
        form = (tuple(array.shape for array in self._arrays), self._reply.outputs)
        return [(form, *(_content(array) for array in self._arrays))]

    def key_bytes(self) -> int:
        return sum(_ARRAY_BYTES + _content_bytes(array) for array in self._arrays)

    def arrays(self) -> Sequence[Array]:
        return self._arrays

    def select(self, places: Sequence[int]) -> Self:
        return type(self)([self.calls[i] for i in places], self._reply, self._arrays)

    def encode(self, outputs: Sequence[Array]) -> list[bytes]:
        return self._reply.encode(outputs, 1, self.rows_each)

    def mark_cached(self, reply: bytes) -> bytes:
        return reply + CACHED


class RequestDecoder:
    """Reads requests, and remembers their forms. Thread-safe: a lost update only means that a form is learned again."""

    def __init__(self) -> None:
        self._templates: dict[int, list[Template]] = {}
        self._count = 0

    def decode(self, calls: Sequence[Call], payloads: Sequence[bytes], sink: Sink) -> list[Ask]:
        """Group calls that arrived together. A request that cannot be read is refused at once, and is in no group."""
        asks: list[Ask] = []
        groups: dict[Template, TemplateAsk] = {}
        for call, payload in zip(calls, payloads, strict=True):
            template = self._find(payload)
            if template is not None:
                group = groups.get(template)
                if group is None:
                    group = groups[template] = TemplateAsk(template, sink)
                    asks.append(group)
                group.add(call, payload)
                continue
            try:
                asks.append(self._read(call, payload))
            except ServingError as error:
                sink.refuse([call], error)
        return asks

    def _find(self, payload: bytes) -> Template | None:
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
        """Remember the form of a request with one numeric tensor and no id: those change from call to call."""
        if len(request.tensors) != 1 or request.request_id or request.tensors[0].dtype not in _NUMBERS:
            return
        span = _numbers_span(payload, request.tensors[0].data)
        if span is None or len(payload) - (span[1] - span[0]) > LEARN_BYTES_MAX:
            return
        if self._count >= TEMPLATES_MAX:
            self._templates, self._count = {}, 0
        alike = self._templates.get(len(payload), [])
        self._templates[len(payload)] = [*alike[-ALIKE_MAX + 1 :], Template(payload, *span, request)]
        self._count += 1


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


_ARRAY_BYTES = 150
"""What Python's own objects take for one array of a key beside its elements; cache/test_replies.py measures it."""


def _content(array: Array) -> Hashable:
    return tuple(array.ravel().tolist()) if array.dtype == object else array.tobytes()


def _content_bytes(array: Array) -> int:
    if array.dtype == object:
        return sum(sys.getsizeof(text) + 16 for text in array.ravel().tolist())  # a pointer, and what malloc rounds up
    return int(array.nbytes)
