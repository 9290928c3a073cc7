"""Outputs → bytes of ModelInferResponse, in the form that the request had.

Raw replies of numbers are put together from pieces made once, as those of skylane.v1; other forms are rarer, and are
written by protobuf.
"""

import math
from collections.abc import Hashable, Iterable, Sequence
from functools import lru_cache
from itertools import repeat
from typing import Any

from server import binding
from server.open_inference import DATATYPE_OF, write_raw
from server.transport import wire
from server.transport.blocks import ReplyForm
from server.transport.oip.messages import CONTENTS_OF, ModelInferResponse
from server.types import Array, Interface
from skylane.dtypes import NUMPY
from skylane.manifest import OutputSpec

KEPT_MAX = 256
"""Frames kept for each output, one for every shape in use; beyond it all are made anew."""


def id_field(request_id: str) -> bytes:
    """The field `id` alone, to append to a reply."""
    written: bytes = ModelInferResponse(id=request_id).SerializeToString()
    return written


@lru_cache(maxsize=256)
def reply_form(interface: Interface, wanted: tuple[str, ...], *, raw: bool) -> ReplyForm:
    """The form for these outputs of this model, made once. Raises InputMismatch if an output is not known."""
    return _RawForm(interface, wanted) if raw else _ContentsForm(interface, wanted)


class _Form:
    """What both forms have in common."""

    cached = b""
    """The protocol has no field for it."""

    def __init__(self, interface: Interface, wanted: Sequence[str]) -> None:
        self.outputs: Hashable = (type(self).__name__, tuple(wanted))
        self._specs = [(place, interface.outputs[place]) for place in binding.output_places(interface, wanted)]
        self._head: bytes = ModelInferResponse(
            model_name=interface.model, model_version=str(interface.version)
        ).SerializeToString()


class _RawForm(_Form):
    """Tensors as bytes: what each is, and its bytes, output for output."""

    def __init__(self, interface: Interface, wanted: Sequence[str]) -> None:
        super().__init__(interface, wanted)
        self._frames: dict[Hashable, bytes] = {}

    def encode(self, outputs: Sequence[Array], calls: int, rows_each: int) -> list[bytes]:
        """See ReplyForm."""
        parts: list[Iterable[bytes]] = [repeat(self._head, calls)]
        for place, spec in self._specs:
            output = outputs[place]
            if spec.dtype == "string":
                contents = [write_raw(rows) for rows in _apart(output, calls, rows_each)]
                head = _described(spec, (rows_each, *output.shape[1:]))
                parts += (repeat(head, calls), [wire.field(_RAW, content) for content in contents])
                continue
            raw = output.tobytes()
            size = len(raw) // calls
            numbers = [raw[start : start + size] for start in range(0, size * calls, size)] if size else [b""] * calls
            parts += (repeat(self._frame(place, spec, (rows_each, *output.shape[1:])), calls), numbers)
        return list(map(b"".join, zip(*parts, strict=True)))

    def _frame(self, place: int, spec: OutputSpec, shape: tuple[int, ...]) -> bytes:
        key = (place, shape)
        frame = self._frames.get(key)
        if frame is None:
            size = math.prod(shape) * NUMPY[spec.dtype].itemsize
            frame = _described(spec, shape) + wire.field_head(_RAW, size)
            if len(self._frames) >= KEPT_MAX:
                self._frames.clear()
            self._frames[key] = frame
        return frame


class _ContentsForm(_Form):
    """Tensors as lists of their type. Half precision, which has no list, is answered in single."""

    def encode(self, outputs: Sequence[Array], calls: int, rows_each: int) -> list[bytes]:
        """See ReplyForm."""
        apart = [(spec, _apart(outputs[place], calls, rows_each)) for place, spec in self._specs]
        return [self._head + self._written([(spec, rows[call]) for spec, rows in apart]) for call in range(calls)]

    def _written(self, tensors: Sequence[tuple[OutputSpec, Array]]) -> bytes:
        response = ModelInferResponse()
        for spec, rows in tensors:
            dtype = "float32" if spec.dtype == "float16" else spec.dtype
            tensor: Any = response.outputs.add(name=spec.name, datatype=DATATYPE_OF[dtype], shape=rows.shape)
            values = rows.ravel().tolist()
            getattr(tensor.contents, CONTENTS_OF[dtype]).extend(
                [text.encode() for text in values] if dtype == "string" else values
            )
        written: bytes = response.SerializeToString()
        return written


_RAW = ModelInferResponse.RAW_OUTPUT_CONTENTS_FIELD_NUMBER


def _described(spec: OutputSpec, shape: tuple[int, ...]) -> bytes:
    response = ModelInferResponse()
    response.outputs.add(name=spec.name, datatype=DATATYPE_OF[spec.dtype], shape=shape)
    written: bytes = response.SerializeToString()
    return written


def _apart(output: Array, calls: int, rows_each: int) -> list[Array]:
    return [output[call * rows_each :][:rows_each] for call in range(calls)]
