"""Outputs → bytes of PredictResponse.

Of a model's replies only the numbers change. What stands around them is made once for each (model, outputs wanted,
rows), by the generated code, and a batch's replies are put together from those pieces.
"""

import math
from collections.abc import Hashable, Sequence
from functools import lru_cache
from itertools import repeat
from typing import Final

from server.errors import InputMismatch
from server.transport.skylane_v1 import wire
from server.types import Array, Interface
from server.wording import listed, meant, quoted
from skylane.dtypes import NUMPY, TO_PROTO
from skylane.v1.prediction_pb2 import PredictResponse, Tensor

CACHED: Final = PredictResponse(cached=True).SerializeToString()
"""The field `cached` alone: appended to a message it sets the field, since later fields win."""

_FRAMES_MAX: Final = 1024
"""Sets of pieces kept for each form of reply, one for every number of rows in use; beyond it all are made anew."""


def request_id_field(request_id: str) -> bytes:
    """The field `request_id` alone, to append to a reply."""
    return PredictResponse(request_id=request_id).SerializeToString()


class ReplyForm:
    """How one model's replies with these outputs look."""

    def __init__(self, interface: Interface, wanted: Sequence[str]) -> None:
        """Raises InputMismatch if an output is not known; no name means all outputs."""
        self.outputs = tuple(wanted)
        self._places = [_place(interface, name) for name in wanted] or list(range(len(interface.outputs)))
        self._specs = [interface.outputs[place] for place in self._places]
        self._head = PredictResponse(model=interface.model, version=interface.version).SerializeToString()
        self._fixed = all(spec.dtype != "string" for spec in self._specs)
        self._same_widths = all(None not in spec.shape[1:] for spec in self._specs)
        self._frames: dict[Hashable, list[bytes]] = {}

    def encode(self, outputs: Sequence[Array], calls: int, rows_each: int) -> list[bytes]:
        """Replies for `calls` calls of `rows_each` rows, from all of the model's outputs for their rows."""
        chosen = [outputs[place] for place in self._places]
        if not self._fixed:
            return [self._encode_one(chosen, i * rows_each, (i + 1) * rows_each) for i in range(calls)]
        frame = self._frame(chosen, rows_each)
        if calls == 1:
            return [b"".join([part for pair in zip(frame, map(_raw, chosen), strict=True) for part in pair])]
        parts: list[Sequence[bytes] | repeat[bytes]] = []
        for piece, output in zip(frame, chosen, strict=True):
            parts += repeat(piece, calls), _sliced(output, calls)
        return list(map(b"".join, zip(*parts, strict=True)))

    def _frame(self, outputs: Sequence[Array], rows_each: int) -> list[bytes]:
        """What stands before each output's data, for these outputs cut into calls of `rows_each` rows."""
        key = rows_each if self._same_widths else (rows_each, *(output.shape[1:] for output in outputs))
        frame = self._frames.get(key)
        if frame is None:
            if len(self._frames) >= _FRAMES_MAX:
                self._frames.clear()
            frame = self._frames[key] = self._make_frame([(rows_each, *output.shape[1:]) for output in outputs])
        return frame

    def _make_frame(self, shapes: Sequence[tuple[int, ...]]) -> list[bytes]:
        frame, before = [], self._head
        for spec, shape in zip(self._specs, shapes, strict=True):
            size = math.prod(shape) * NUMPY[spec.dtype].itemsize
            head = Tensor(name=spec.name, dtype=TO_PROTO[spec.dtype], shape=shape).SerializeToString()
            head += wire.field_head(Tensor.DATA_FIELD_NUMBER, size)
            frame.append(before + wire.field_head(PredictResponse.OUTPUTS_FIELD_NUMBER, len(head) + size) + head)
            before = b""
        return frame

    def _encode_one(self, outputs: Sequence[Array], start: int, stop: int) -> bytes:
        """One reply by the generated code: for outputs whose elements differ in length."""
        tensors = []
        for spec, output in zip(self._specs, outputs, strict=True):
            rows = output[start:stop]
            tensor = Tensor(name=spec.name, dtype=TO_PROTO[spec.dtype], shape=rows.shape)
            if spec.dtype == "string":
                tensor.strings.extend(str(text).encode() for text in rows.ravel())
            else:
                tensor.data = _raw(rows)
            tensors.append(tensor)
        return self._head + PredictResponse(outputs=tensors).SerializeToString()


@lru_cache(maxsize=1024)
def reply_form(interface: Interface, wanted: tuple[str, ...]) -> ReplyForm:
    """The form for these outputs of this model, made once. Raises InputMismatch if an output is not known."""
    return ReplyForm(interface, wanted)


def _raw(output: Array) -> bytes:
    """The output's bytes, row-major. Its type is the one promised: that was checked when the version was loaded."""
    return output.tobytes()


def _sliced(output: Array, calls: int) -> Sequence[bytes]:
    """The output's bytes in equal parts, one for each call."""
    raw = _raw(output)
    size = len(raw) // calls
    return [raw[start : start + size] for start in range(0, size * calls, size)] if size else [b""] * calls


def _place(interface: Interface, name: str) -> int:
    place = interface.outputs_by_name.get(name)
    if place is None:
        hint = meant(name, interface.outputs_by_name)
        raise InputMismatch(
            f"outputs: {quoted(name)} is not known: {hint}the model has {listed(interface.outputs_by_name)}"
        )
    return place
