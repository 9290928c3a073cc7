"""Requests that are recognised instead of parsed.

A caller sends the same form over and over: the same model, tensor, type and shape, other numbers. So the first request
of a form is read by the generated code, and leaves a template: the bytes before and after the numbers. A later payload
with the same length, beginning and end can only mean the same form with other numbers, since the length of every field
stands before it; its numbers are cut out and nothing is parsed. Requests of one form that arrive together become one
task. Whatever fits no template is read by the generated code, one by one. docs/adr/0003-request-templates.md.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple, Protocol

import numpy as np

from skylane.dtypes import NUMPY, DType
from skylane.server.codecs import protobuf_wire
from skylane.server.codecs.payload_tasks import ArraysTask, NumbersPlan, NumbersTask, ReplyForm
from skylane.server.core import input_binding
from skylane.server.core.batch_task import Bound, Rejection, RequestGroup
from skylane.server.core.errors import BadRequest, InputMismatch, ServingError
from skylane.server.core.rejection_counter import RejectionCounter
from skylane.server.core.types import Array, Call, Interface, Route, Sink

TEMPLATES_MAX: Final = 4096
"""Forms remembered; beyond it all are forgotten and learned anew. One takes about 1 KiB."""
ALIKE_MAX: Final = 8
"""Forms of one length remembered, since they are tried in turn; the oldest gives way."""
LEARN_BYTES_MAX: Final = 2048
"""A form with more bytes around its numbers is not remembered."""

FIELDS_MAX: Final = 8192
"""Fields of one message: tensors, columns, names of outputs. The generated code makes an object of each, of a hundred
times the two bytes that it takes on the wire."""
_TOO_MANY_FIELDS: Final = f"expected at most {FIELDS_MAX} tensors, columns, outputs and parameters together"

Span = tuple[int, int]
ReplyFormOf = Callable[[Interface], ReplyForm]
"""How replies to a form of request look, for the model that answers. Raises InputMismatch if an output is not known."""


class OnlyTensor(NamedTuple):
    """What a form says of its only tensor."""

    name: str
    dtype: DType
    shape: tuple[int, ...]


class AnyTemplate(Protocol):
    """One form of request: everything but its values."""

    def matches(self, payload: bytes) -> bool:
        """Whether a payload of the right length has this form."""
        ...

    def group(self, sink: Sink) -> "GrowingGroup":
        """For calls of this form, none yet."""
        ...


class GrowingGroup(RequestGroup):
    """Calls of one form."""

    @abstractmethod
    def add(self, call: Call, payload: bytes) -> None:
        """Take a payload that matches the template."""


class Template:
    """One form of request: everything but the numbers of its only tensor."""

    __slots__ = ("bound", "prefix", "reply", "route", "start", "stop", "suffix", "tensor")

    def __init__(self, payload: bytes, span: Span, route: Route, tensor: OnlyTensor, reply: ReplyFormOf) -> None:
        """Remember a request whose only tensor has its data at payload[slice(*span)]."""
        self.start, self.stop = span
        self.prefix, self.suffix = payload[: self.start], payload[self.stop :]
        self.route, self.tensor, self.reply = route, tensor, reply
        self.bound: tuple[Interface, NumbersPlan] | None = None
        """The model that answered this form last, and what follows from it."""

    def matches(self, payload: bytes) -> bool:
        """Whether a payload of the right length has this form."""
        return payload.startswith(self.prefix) and payload.endswith(self.suffix)

    def group(self, sink: Sink) -> "TemplateAsk":
        """For calls of this form, none yet."""
        return TemplateAsk(self, sink)


class TemplateAsk(GrowingGroup):
    """Calls of one form, as the bytes of their numbers."""

    __slots__ = ("_numbers", "_template")

    def __init__(self, template: Template, sink: Sink) -> None:
        super().__init__(template.route, [], sink)
        self._template, self._numbers = template, list[bytes]()

    def add(self, call: Call, payload: bytes) -> None:
        """Take a payload that matches the template."""
        self.calls.append(call)
        self._numbers.append(payload[self._template.start : self._template.stop])

    def bind(self, interface: Interface) -> Bound:
        """See RequestGroup. A form is checked once for each model that it meets."""
        template, bound = self._template, self._template.bound
        if bound is None or bound[0] is not interface:
            name, dtype, shape = template.tensor
            if input_binding.are_columns(interface, [name]):
                return self._bind_each(interface)
            array = np.broadcast_to(np.zeros((), NUMPY[dtype]), shape)  # a shape without memory
            input_binding.bind(interface, {name: array})
            try:
                form = template.reply(interface)
            except InputMismatch:  # wrong for all, but a call whose values are wrong as well hears of those first
                return self._bind_each(interface)
            plan = NumbersPlan(form, shape, NUMPY[dtype])
            template.bound = bound = interface, plan
        task = NumbersTask(self.calls, bound[1], self._numbers)
        if interface.limits and not interface.limits.hold(task.arrays()):  # else it is stacked only if it must run
            return self._bind_each(interface)
        return task, ()

    def _bind_each(self, interface: Interface) -> Bound:
        """Where numbers are cast to a column's type, or values have limits, one call may be wrong alone."""
        name, dtype, shape = self._template.tensor

        def read(sent: bytes) -> dict[str, Array]:
            return {name: np.frombuffer(sent, NUMPY[dtype]).reshape(shape)}

        return bind_each(self.calls, interface, self._numbers, read, self._template.reply)


class NamedTemplate(Template):
    """One form of request: everything but the numbers, and the id that the caller gave it, on either side of them."""

    __slots__ = ("id_of", "id_start", "id_stop", "middle", "middle_start", "middle_stop")

    def __init__(
        self,
        payload: bytes,
        spans: tuple[Span, Span],
        route: Route,
        tensor: OnlyTensor,
        reply: ReplyFormOf,
        id_of: Callable[[bytes], bytes],
    ) -> None:
        """Spans of the id and of the numbers. `id_of`: the id as sent → the tail of its reply."""
        (self.id_start, self.id_stop), numbers = spans
        super().__init__(payload, numbers, route, tensor, reply)
        (first, self.middle_start), (self.middle_stop, last) = sorted(spans)
        self.prefix, self.suffix = payload[:first], payload[last:]
        self.middle = payload[self.middle_start : self.middle_stop]
        self.id_of = id_of

    def matches(self, payload: bytes) -> bool:
        """Whether a payload of the right length has this form. An id beyond ASCII may be no text, so it is read."""
        return (
            super().matches(payload)
            and payload[self.middle_start : self.middle_stop] == self.middle
            and payload[self.id_start : self.id_stop].isascii()
        )

    def group(self, sink: Sink) -> "TemplateAsk":
        """For calls of this form, none yet."""
        return NamedTemplateAsk(self, sink)


class NamedTemplateAsk(TemplateAsk):
    """Calls of one form, each with its id."""

    __slots__ = ("_named",)

    def __init__(self, template: NamedTemplate, sink: Sink) -> None:
        super().__init__(template, sink)
        self._named = template

    def add(self, call: Call, payload: bytes) -> None:
        """Take a payload that matches the template."""
        super().add(call, payload)
        call.tail = self._named.id_of(payload[self._named.id_start : self._named.id_stop])


def bind_each(
    calls: Sequence[Call],
    interface: Interface,
    sent: Sequence[bytes],
    read: Callable[[bytes], Mapping[str, Array]],
    reply: ReplyFormOf,
) -> Bound:
    """Bind calls of one shape whose values decide whether they are right: the wrong ones are rejected one by one.

    `sent`: the values of each call; `read` makes arrays of them.
    """
    right, stacks, rejected = list[Call](), list[list[Array]](), list[Rejection]()
    for call, content in zip(calls, sent, strict=True):
        try:
            stacks.append(input_binding.bind(interface, read(content)))
        except InputMismatch as error:
            rejected.append(([call], error))
        else:
            right.append(call)
    if not right:
        return None, rejected
    try:
        form = reply(interface)
    except InputMismatch as error:  # wrong for all, but the others have a reason of their own
        return None, [*rejected, (right, error)]
    arrays = [np.concatenate(each) for each in zip(*stacks, strict=True)]
    return ArraysTask(right, form, arrays, len(stacks[0][0])), rejected


class TemplatingDecoder(ABC):
    """Reads requests, and remembers their forms. Thread-safe: a lost update only means that a form is learned again."""

    def __init__(self, rejections: RejectionCounter) -> None:
        """`rejections`: counts requests that cannot be read."""
        self._rejections = rejections
        self._templates: dict[int, list[AnyTemplate]] = {}
        self._count = 0

    @abstractmethod
    def read(self, call: Call, payload: bytes) -> tuple[RequestGroup, AnyTemplate | None]:
        """Read a request by the generated code; and its form, if it is worth remembering. Raises ServingError."""

    def decode(self, calls: Sequence[Call], payloads: Sequence[bytes], sink: Sink) -> list[RequestGroup]:
        """Group calls that arrived together. A request that cannot be read is refused at once, and is in no group."""
        groups: list[RequestGroup] = []
        by_template: dict[AnyTemplate, GrowingGroup] = {}
        for call, payload in zip(calls, payloads, strict=True):
            template = self._find(payload)
            if template is not None:
                growing = by_template.get(template)
                if growing is None:
                    growing = by_template[template] = template.group(sink)
                    groups.append(growing)
                growing.add(call, payload)
                continue
            try:
                if protobuf_wire.has_more_fields(payload, FIELDS_MAX):
                    raise BadRequest(_TOO_MANY_FIELDS)
                group, template = self.read(call, payload)
            except ServingError as error:
                self._rejections.add(call.protocol, type(error).__name__)
                sink.refuse([call], error)
                continue
            groups.append(group)
            if template is not None:
                self._remember(len(payload), template)
        return groups

    def _find(self, payload: bytes) -> AnyTemplate | None:
        for template in self._templates.get(len(payload), ()):
            if template.matches(payload):
                return template
        return None

    def _remember(self, size: int, template: AnyTemplate) -> None:
        if self._count >= TEMPLATES_MAX:
            self._templates, self._count = {}, 0
        alike = self._templates.get(size, [])
        self._templates[size] = [*alike[-ALIKE_MAX + 1 :], template]
        self._count += 1


def learn_numbers(
    payload: bytes,
    path: Sequence[int],
    data: bytes,
    route: Route,
    tensor: OnlyTensor,
    reply: ReplyFormOf,
    named: "Named | None" = None,
) -> Template | None:
    """The form of a request with one numeric tensor of any size.

    `path`: numbers of the fields that lead to its data; `named` where it has an id that changes from call to call. None
    unless the message is written in the plain way, each of these fields once, and all its bytes are values.
    """
    if tensor.dtype in ("bool", "string"):  # some bytes are no value, or lengths differ
        return None
    span: Span | None = (0, len(payload))
    for field in path:
        span = span and _only(payload, span, field)
    if span is None or payload[slice(*span)] != data or len(payload) - len(data) > LEARN_BYTES_MAX:
        return None
    if named is None:
        return Template(payload, span, route, tensor, reply)
    id_span = _only(payload, (0, len(payload)), named.field)
    if id_span is None:
        return None
    return NamedTemplate(payload, (id_span, span), route, tensor, reply, named.tail)


class Named(NamedTuple):
    """Where a request has its id."""

    field: int
    tail: Callable[[bytes], bytes]
    """The id as it was sent → the tail of its reply."""


def _only(payload: bytes, message: Span, field: int) -> Span | None:
    """Where the content of a field lies that stands exactly once in a message."""
    found = [(start, stop) for number, start, stop in protobuf_wire.spans(payload, *message) or () if number == field]
    return found[0] if len(found) == 1 else None
