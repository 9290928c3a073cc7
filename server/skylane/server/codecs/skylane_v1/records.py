"""Requests with several inputs, recognised by their form: a data frame's columns, each a tensor of its own.

As in requests.py, payloads of the same length that differ only in the bytes of the values have the same form. Here the
values are in many places, so the payload is compared as one masked integer. The columns of one type are gathered from
all payloads at once, and written into the model's tensors.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from skylane.dtypes import FROM_PROTO, NUMPY, DType
from skylane.server.codecs import protobuf_wire
from skylane.server.codecs.payload_tasks import ArraysTask, Shape
from skylane.server.codecs.request_templates import GrowingGroup, bind_each
from skylane.server.codecs.skylane_v1.inputs import read_tensors
from skylane.server.codecs.skylane_v1.replies import ReplyForm, reply_form
from skylane.server.core import input_binding
from skylane.server.core.batch_task import Bound
from skylane.server.core.errors import InputMismatch
from skylane.server.core.types import Array, Call, Interface, Route, Sink
from skylane.server.core.value_limits import ValueLimits
from skylane.v1.prediction_pb2 import PredictRequest, Tensor

RECORD_BYTES_MAX = 4096
"""Longer payloads get no template: the mask would be as long, and with many rows parsing costs little per row."""

Span = tuple[int, int]


@dataclass(frozen=True)
class Input:
    """One tensor of a form, and the position of its values in the payload."""

    name: str
    dtype: DType
    shape: Shape
    values: tuple[Span, ...]
    """One span for all numbers, or one for each string."""


class RecordTemplate:
    """One form of request with several tensors: everything but their values."""

    __slots__ = ("_fixed", "_mask", "_plan", "inputs", "outputs", "route")

    def __init__(self, payload: bytes, inputs: Sequence[Input], outputs: Sequence[str], route: Route) -> None:
        self.inputs, self.outputs, self.route = inputs, tuple(outputs), route
        mask = bytearray(b"\xff" * len(payload))
        for start, stop in (span for each in inputs for span in each.values):
            mask[start:stop] = bytes(stop - start)
        self._mask = int.from_bytes(mask, "little")
        self._fixed = int.from_bytes(payload, "little") & self._mask
        self._plan: tuple[Interface, RecordPlan | None] | None = None

    def matches(self, payload: bytes) -> bool:
        """Whether a payload of the same length has this form."""
        return int.from_bytes(payload, "little") & self._mask == self._fixed

    def group(self, sink: Sink) -> "RecordAsk":
        """An empty group for calls of this form."""
        return RecordAsk(self, sink)

    def plan(self, interface: Interface) -> "RecordPlan | None":
        """How this form's values become the model's inputs; None if calls must be bound one by one."""
        if self._plan is None or self._plan[0] is not interface:
            self._plan = interface, _plan(self, interface)
        return self._plan[1]


class RecordAsk(GrowingGroup):
    """Calls of one form, in the order of arrival."""

    __slots__ = ("_payloads", "_template")

    def __init__(self, template: RecordTemplate, sink: Sink) -> None:
        super().__init__(template.route, [], sink)
        self._template, self._payloads = template, list[bytes]()

    def add(self, call: Call, payload: bytes) -> None:
        """Add a call whose payload matches the template."""
        self.calls.append(call)
        self._payloads.append(payload)

    def bind(self, interface: Interface) -> Bound:
        plan = self._template.plan(interface)
        arrays = plan.gather(self._payloads) if plan else None
        if plan is None or arrays is None:
            reply = partial(reply_form, wanted=self._template.outputs)
            return bind_each(self.calls, interface, self._payloads, _read, reply)
        return ArraysTask(self.calls, plan.reply, arrays, plan.rows), ()


def _read(payload: bytes) -> Mapping[str, Array]:
    return read_tensors(PredictRequest.FromString(payload).tensors)


@dataclass(frozen=True)
class _Numbers:
    """Columns of one type that go into one tensor."""

    tensor: int
    columns: list[int]
    dtype: "np.dtype[np.generic]"
    places: "np.ndarray[tuple[int], np.dtype[np.intp]]"
    """Positions of the bytes in the payload: row by row, in the order of `columns`."""


@dataclass(frozen=True)
class _Strings:
    """Columns of strings that go into one tensor."""

    tensor: int
    columns: list[int]
    spans: list[Span]
    """Spans row by row, in the order of `columns`."""


@dataclass(frozen=True)
class RecordPlan:
    """A form bound to a model."""

    rows: int
    reply: ReplyForm
    tensors: list[tuple[int, "np.dtype[np.generic]"]]
    """(width, type) of each of the model's inputs."""
    numbers: list[_Numbers]
    strings: list[_Strings]
    limits: ValueLimits

    def gather(self, payloads: Sequence[bytes]) -> list[Array] | None:
        """The model's inputs for all payloads; None if a value is invalid, so that calls must be bound one by one."""
        count = self.rows * len(payloads)
        arrays: list[Array] = [np.empty((count, width), dtype) for width, dtype in self.tensors]
        bytes_of = np.frombuffer(b"".join(payloads), np.uint8).reshape(len(payloads), -1)
        for each in self.numbers:
            values = bytes_of.take(each.places, axis=1).view(each.dtype).reshape(count, len(each.columns))
            with np.errstate(over="ignore", invalid="ignore"):  # overflow gives infinity, as in binding
                arrays[each.tensor][:, each.columns] = values
        for texts in self.strings:
            try:
                decoded = [payload[start:stop].decode() for payload in payloads for start, stop in texts.spans]
            except UnicodeDecodeError:
                return None
            flat = np.empty(len(decoded), object)
            flat[:] = decoded
            arrays[texts.tensor][:, texts.columns] = flat.reshape(count, len(texts.columns))
        return arrays if self.limits.hold(arrays) else None


def _plan(template: RecordTemplate, interface: Interface) -> RecordPlan | None:
    """The plan for this form; None if `binding` must decide: for wrong forms, and casts that depend on values."""
    dummies = {each.name: np.zeros(each.shape, NUMPY[each.dtype]) for each in template.inputs}
    for dummy in dummies.values():
        if dummy.dtype == object:
            dummy.fill("")
    try:
        input_binding.bind(interface, dummies)
        reply = reply_form(interface, template.outputs)
    except InputMismatch:
        return None
    find = _column_target if input_binding.are_columns(interface, dummies) else _tensor_target
    targets = [find(each, interface) for each in template.inputs]
    groups: dict[tuple[int, DType], list[tuple[Input, list[int]]]] = {}
    for each, target in zip(template.inputs, targets, strict=True):
        if target is None:
            return None
        groups.setdefault((target[0], each.dtype), []).append((each, target[1]))
    rows = template.inputs[0].shape[0]
    numbers = [_numbers(key[0], key[1], group, rows) for key, group in groups.items() if key[1] != "string"]
    strings = [_strings(key[0], group, rows) for key, group in groups.items() if key[1] == "string"]
    tensors = [(spec.shape[1], NUMPY[spec.dtype]) for spec in interface.tensors if len(spec.shape) == 2]
    widths = [(width, dtype) for width, dtype in tensors if width is not None]
    if len(widths) != len(interface.tensors):
        return None
    return RecordPlan(rows, reply, widths, numbers, strings, interface.limits)


def _tensor_target(each: Input, interface: Interface) -> tuple[int, list[int]] | None:
    """The tensor and its columns that a tensor fills; None unless it has two dimensions."""
    if len(each.shape) != 2:
        return None
    return list(interface.tensors_by_name).index(each.name), list(range(each.shape[1]))


def _column_target(each: Input, interface: Interface) -> tuple[int, list[int]] | None:
    """The tensor and its column that a column fills; None if the cast depends on the values."""
    column = interface.columns_by_name[each.name]
    place = list(interface.tensors_by_name).index(column.tensor), [column.index]
    if each.dtype == column.dtype == "string":
        return place
    if NUMPY[column.dtype].kind != "f" or NUMPY[each.dtype].kind not in "iuf":
        return None
    return place if column.missing is None or np.isnan(float(column.missing)) else None


def _numbers(tensor: int, dtype: DType, group: list[tuple[Input, list[int]]], rows: int) -> _Numbers:
    size = NUMPY[dtype].itemsize
    starts = np.concatenate(
        [each.values[0][0] + np.arange(rows * len(columns)).reshape(rows, -1) * size for each, columns in group],
        axis=1,
    )
    return _Numbers(
        tensor,
        [column for _, columns in group for column in columns],
        NUMPY[dtype],
        (starts[:, :, None] + np.arange(size)).ravel(),
    )


def _strings(tensor: int, group: list[tuple[Input, list[int]]], rows: int) -> _Strings:
    spans = [
        each.values[row * len(columns) + place]
        for row in range(rows)
        for each, columns in group
        for place in range(len(columns))
    ]
    return _Strings(tensor, [column for _, columns in group for column in columns], spans)


def learn_record(payload: bytes, request: PredictRequest, route: Route) -> RecordTemplate | None:
    """The template of a request whose tensors all have rows; None if it is too long or not encoded canonically."""
    if not request.tensors or len(payload) > RECORD_BYTES_MAX:
        return None
    fields = protobuf_wire.spans(payload, 0, len(payload)) or []
    spans = [(start, stop) for number, start, stop in fields if number == PredictRequest.TENSORS_FIELD_NUMBER]
    if len(spans) != len(request.tensors):
        return None
    inputs = [_input(payload, span, tensor) for span, tensor in zip(spans, request.tensors, strict=True)]
    plain = [each for each in inputs if each is not None]
    return RecordTemplate(payload, plain, request.outputs, route) if len(plain) == len(inputs) else None


def _input(payload: bytes, span: Span, tensor: Tensor) -> Input | None:
    """The position of one tensor's values. None for booleans, for which not every byte is valid, and without rows."""
    dtype, shape = FROM_PROTO[tensor.dtype], tuple(tensor.shape)
    if dtype == "bool" or 0 in shape:
        return None
    text = dtype == "string"
    field = Tensor.STRINGS_FIELD_NUMBER if text else Tensor.DATA_FIELD_NUMBER
    values = tuple(
        (start, stop) for number, start, stop in protobuf_wire.spans(payload, *span) or [] if number == field
    )
    contents = list(tensor.strings) if text else [tensor.data]
    if [payload[start:stop] for start, stop in values] != contents:
        return None
    return Input(tensor.name, dtype, shape, values)
