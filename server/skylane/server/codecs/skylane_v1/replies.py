"""Outputs → bytes of PredictResponse.

Only the numbers differ between a model's replies. The bytes around them are made once for each (model, outputs, rows)
by the generated code, and a batch's replies are assembled from these pieces.
"""

import math
from collections.abc import Hashable, Iterable, Sequence
from functools import cache, lru_cache
from itertools import repeat
from typing import Final

from skylane.dtypes import NUMPY, TO_PROTO
from skylane.manifest import OutputSpec
from skylane.server.codecs import protobuf_wire
from skylane.server.codecs.grpc_status import status_of
from skylane.server.core import input_binding
from skylane.server.core.errors import ServingError
from skylane.server.core.types import Array, Call, Interface
from skylane.v1.prediction_pb2 import PredictError, PredictResponse, PredictStreamResponse, Tensor

CACHED: Final = PredictResponse(cached=True).SerializeToString()
"""The field `cached` alone: appended to a message it sets the field, since later fields win."""

KEPT_MAX: Final = 256
"""Frames (one for each number of rows) or encoded strings cached for each output; beyond that the cache is cleared."""


def request_id_field(request_id: bytes) -> bytes:
    """The field `request_id` alone, to append to a reply."""
    return protobuf_wire.field(PredictResponse.REQUEST_ID_FIELD_NUMBER, request_id)


@cache
def _id_head(size: int) -> bytes:
    return protobuf_wire.field_head(PredictResponse.PREDICTION_ID_FIELD_NUMBER, size)


class ReplyForm:
    """The form of one model's replies with these outputs."""

    def __init__(self, interface: Interface, wanted: Sequence[str]) -> None:
        """Raises InputMismatch if an output is unknown; without names, all outputs are returned."""
        self.outputs = tuple(wanted)
        self.cached = CACHED
        places = input_binding.output_places(interface, wanted)
        self._fields = [(place, _field_of(interface.outputs[place])) for place in places]
        self._head = PredictResponse(model=interface.model, version=interface.version).SerializeToString()

    def id_head(self, size: int) -> bytes | None:
        """See ReplyForm."""
        return _id_head(size)

    def encode(self, outputs: Sequence[Array], calls: int, rows_each: int) -> list[bytes]:
        """Replies for `calls` calls of `rows_each` rows, from all of the model's outputs for their rows."""
        parts: list[Iterable[bytes]] = [repeat(self._head, calls)]
        for place, field in self._fields:
            parts += field.parts(outputs[place], calls, rows_each)
        return list(map(b"".join, zip(*parts, strict=True)))


class _NumberField:
    """A numeric output as the field `outputs` of a reply: a frame that depends only on the shape, then the data."""

    def __init__(self, spec: OutputSpec) -> None:
        self._spec = spec
        self._one_width = None not in spec.shape[1:]
        self._frames: dict[Hashable, bytes] = {}

    def parts(self, output: Array, calls: int, rows_each: int) -> tuple[Iterable[bytes], Iterable[bytes]]:
        """The parts of each call's reply: the frame, and its own rows. The type was checked when the model loaded."""
        raw = output.tobytes()
        size = len(raw) // calls
        rows = [raw[start : start + size] for start in range(0, size * calls, size)] if size else [b""] * calls
        return repeat(self._frame(rows_each, output), calls), rows

    def _frame(self, rows_each: int, output: Array) -> bytes:
        key = rows_each if self._one_width else (rows_each, output.shape[1:])
        frame = self._frames.get(key)
        if frame is None:
            shape = (rows_each, *output.shape[1:])
            size = math.prod(shape) * NUMPY[self._spec.dtype].itemsize
            head = _tensor_head(self._spec, shape) + protobuf_wire.field_head(Tensor.DATA_FIELD_NUMBER, size)
            frame = protobuf_wire.field_head(PredictResponse.OUTPUTS_FIELD_NUMBER, len(head) + size) + head
            if len(self._frames) >= KEPT_MAX:
                self._frames.clear()
            self._frames[key] = frame
        return frame


class _StringField:
    """An output of strings as the field `outputs` of a reply. There are few labels, so their bytes are cached."""

    def __init__(self, spec: OutputSpec) -> None:
        self._spec = spec
        self._encoded: dict[str, bytes] = {}

    def parts(self, output: Array, calls: int, rows_each: int) -> tuple[Iterable[bytes]]:
        """The part of each call's reply: the whole field, because its length depends on the strings."""
        shape = (rows_each, *output.shape[1:])
        head, size = _tensor_head(self._spec, shape), math.prod(shape)
        strings = [self._encoded.get(text) or self._encode(text) for text in output.ravel().tolist()]
        contents = (b"".join(strings[start : start + size]) for start in range(0, size * calls, size or 1))
        return (
            [protobuf_wire.field(PredictResponse.OUTPUTS_FIELD_NUMBER, head + content) for content in contents]
            or [protobuf_wire.field(PredictResponse.OUTPUTS_FIELD_NUMBER, head)] * calls,
        )

    def _encode(self, text: str) -> bytes:
        field = protobuf_wire.field(Tensor.STRINGS_FIELD_NUMBER, text.encode())
        if len(self._encoded) >= KEPT_MAX:
            self._encoded.clear()
        self._encoded[text] = field
        return field


def _field_of(spec: OutputSpec) -> _NumberField | _StringField:
    return _StringField(spec) if spec.dtype == "string" else _NumberField(spec)


def _tensor_head(spec: OutputSpec, shape: tuple[int, ...]) -> bytes:
    return Tensor(name=spec.name, dtype=TO_PROTO[spec.dtype], shape=shape).SerializeToString()


@lru_cache(maxsize=256)
def reply_form(interface: Interface, wanted: tuple[str, ...]) -> ReplyForm:
    """The form for these outputs of this model, made once. Raises InputMismatch if an output is not known."""
    return ReplyForm(interface, wanted)


def message_of(call: Call, result: bytes | ServingError) -> bytes:
    """The message of a stream for a call: its reply, or the error."""
    request_id = PredictResponse.FromString(call.tail).request_id
    if isinstance(result, bytes):
        head = PredictStreamResponse(request_id=request_id).SerializeToString()
        return head + protobuf_wire.field(PredictStreamResponse.RESPONSE_FIELD_NUMBER, result)
    status = status_of(result)
    error = PredictError(code=status.number, message=status.message, retry_pushback_ms=status.retry_pushback_ms)
    return PredictStreamResponse(request_id=request_id, error=error).SerializeToString()
