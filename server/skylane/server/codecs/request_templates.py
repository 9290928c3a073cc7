"""Recognises requests by templates instead of parsing them.

Callers send the same form over and over: the same model, tensor, type and shape with other numbers. So the first
request of a form is parsed by the generated code, and a template is made: the bytes before and after the numbers. A
later payload with the same length, beginning and end must have the same form, because the length of every field comes
before its content; its numbers are sliced out and nothing is parsed. Requests of one form that arrive together become
one task. Requests that match no template are parsed one by one. See docs/adr/0003-request-templates.md.
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
"""Largest number of templates; beyond that, all are dropped and learned again. One takes about 1 KiB."""
ALIKE_MAX: Final = 8
"""Largest number of templates for one length, because they are tried in turn; the oldest is dropped."""
LEARN_BYTES_MAX: Final = 2048
"""Forms with more bytes around the numbers get no template."""

FIELDS_MAX: Final = 8192
"""Fields of one message: tensors, columns, names of outputs. The generated code makes an object of each, which is a
hundred times larger than the two bytes on the wire."""
_TOO_MANY_FIELDS: Final = f"expected at most {FIELDS_MAX} tensors, columns, outputs and parameters together"

Span = tuple[int, int]
ReplyFormOf = Callable[[Interface], ReplyForm]
"""Interface of the model that answers → the form of the replies. Raises InputMismatch if an output is unknown."""


class OnlyTensor(NamedTuple):
    """The only tensor of a form."""

    name: str
    dtype: DType
    shape: tuple[int, ...]


class AnyTemplate(Protocol):
    """One form of request: everything except its values."""

    def matches(self, payload: bytes) -> bool:
        """Whether a payload of the same length has this form."""
        ...

    def group(self, sink: Sink) -> "GrowingGroup":
        """An empty group for calls of this form."""
        ...


class GrowingGroup(RequestGroup):
    """Calls of one form."""

    @abstractmethod
    def add(self, call: Call, payload: bytes) -> None:
        """Add a call whose payload matches the template."""


class Template:
    """One form of request: everything except the numbers of its only tensor."""

    __slots__ = ("bound", "prefix", "reply", "route", "start", "stop", "suffix", "tensor")

    def __init__(self, payload: bytes, span: Span, route: Route, tensor: OnlyTensor, reply: ReplyFormOf) -> None:
        """The template of a request whose only tensor has its data at payload[slice(*span)]."""
        self.start, self.stop = span
        self.prefix, self.suffix = payload[: self.start], payload[self.stop :]
        self.route, self.tensor, self.reply = route, tensor, reply
        self.bound: tuple[Interface, NumbersPlan] | None = None
        """The model that answered this form last, and the form bound to it."""

    def matches(self, payload: bytes) -> bool:
        """Whether a payload of the same length has this form."""
        return payload.startswith(self.prefix) and payload.endswith(self.suffix)

    def group(self, sink: Sink) -> "TemplateAsk":
        """An empty group for calls of this form."""
        return TemplateAsk(self, sink)


class TemplateAsk(GrowingGroup):
    """Calls of one form, with the bytes of their numbers."""

    __slots__ = ("_numbers", "_template")

    def __init__(self, template: Template, sink: Sink) -> None:
        super().__init__(template.route, [], sink)
        self._template, self._numbers = template, list[bytes]()

    def add(self, call: Call, payload: bytes) -> None:
        """Add a call whose payload matches the template."""
        self.calls.append(call)
        self._numbers.append(payload[self._template.start : self._template.stop])

    def bind(self, interface: Interface) -> Bound:
        """See RequestGroup. A form is checked once for each model."""
        template, bound = self._template, self._template.bound
        if bound is None or bound[0] is not interface:
            name, dtype, shape = template.tensor
            if input_binding.are_columns(interface, [name]):
                return self._bind_each(interface)
            array = np.broadcast_to(np.zeros((), NUMPY[dtype]), shape)  # an array of this shape that takes no memory
            input_binding.bind(interface, {name: array})
            try:
                form = template.reply(interface)
            except InputMismatch:  # wrong for all calls, but errors in a call's values are reported first
                return self._bind_each(interface)
            plan = NumbersPlan(form, shape, NUMPY[dtype])
            template.bound = bound = interface, plan
        task = NumbersTask(self.calls, bound[1], self._numbers)
        if interface.limits and not interface.limits.hold(task.arrays()):  # otherwise stacked only if the model runs
            return self._bind_each(interface)
        return task, ()

    def _bind_each(self, interface: Interface) -> Bound:
        """If numbers are cast to a column's type, or values have limits, single calls can be invalid."""
        name, dtype, shape = self._template.tensor

        def read(sent: bytes) -> dict[str, Array]:
            return {name: np.frombuffer(sent, NUMPY[dtype]).reshape(shape)}

        return bind_each(self.calls, interface, self._numbers, read, self._template.reply)


class NamedTemplate(Template):
    """One form of request: everything except the numbers, and the caller's id before or after them."""

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
        """Whether a payload of the same length has this form. A non-ASCII id may be invalid UTF-8, so it is parsed."""
        return (
            super().matches(payload)
            and payload[self.middle_start : self.middle_stop] == self.middle
            and payload[self.id_start : self.id_stop].isascii()
        )

    def group(self, sink: Sink) -> "TemplateAsk":
        """An empty group for calls of this form."""
        return NamedTemplateAsk(self, sink)


class NamedTemplateAsk(TemplateAsk):
    """Calls of one form, each with its id."""

    __slots__ = ("_named",)

    def __init__(self, template: NamedTemplate, sink: Sink) -> None:
        super().__init__(template, sink)
        self._named = template

    def add(self, call: Call, payload: bytes) -> None:
        """Add a call whose payload matches the template."""
        super().add(call, payload)
        call.tail = self._named.id_of(payload[self._named.id_start : self._named.id_stop])


def bind_each(
    calls: Sequence[Call],
    interface: Interface,
    sent: Sequence[bytes],
    read: Callable[[bytes], Mapping[str, Array]],
    reply: ReplyFormOf,
) -> Bound:
    """Bind calls of one shape whose validity depends on their values; invalid ones are rejected one by one.

    `sent`: the values of each call; `read` converts them to arrays.
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
    except InputMismatch as error:  # wrong for all calls, but the others have their own errors
        return None, [*rejected, (right, error)]
    arrays = [np.concatenate(each) for each in zip(*stacks, strict=True)]
    return ArraysTask(right, form, arrays, len(stacks[0][0])), rejected


class TemplatingDecoder(ABC):
    """Parses requests, and keeps templates of them. Thread-safe: after a lost update a form is just learned again."""

    def __init__(self, rejections: RejectionCounter) -> None:
        """`rejections`: counts requests that cannot be read."""
        self._rejections = rejections
        self._templates: dict[int, list[AnyTemplate]] = {}
        self._count = 0

    @abstractmethod
    def read(self, call: Call, payload: bytes) -> tuple[RequestGroup, AnyTemplate | None]:
        """Parse a request with the generated code, and make its template if possible. Raises ServingError."""

    def decode(self, calls: Sequence[Call], payloads: Sequence[bytes], sink: Sink) -> list[RequestGroup]:
        """Group calls that arrived together. A request that cannot be parsed is refused at once, and is in no group."""
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
    """The template of a request with one numeric tensor of any size.

    `path`: numbers of the fields on the path to its data; `named`: its id, if it has one that changes from call to
    call. None unless each of these fields occurs once and every byte sequence of the data is valid.
    """
    if tensor.dtype in ("bool", "string"):  # not every byte is valid, or lengths differ
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
    """The field with a request's id."""

    field: int
    tail: Callable[[bytes], bytes]
    """The id as sent → the tail of its reply."""


def _only(payload: bytes, message: Span, field: int) -> Span | None:
    """The span of a field's content, if the field occurs exactly once in a message."""
    spans = [(start, stop) for number, start, stop in protobuf_wire.spans(payload, *message) or () if number == field]
    return spans[0] if len(spans) == 1 else None
