"""Outputs → bytes of ModelInferResponse, in the form of the request: raw or listed.

They are assembled from cached pieces, as for skylane.v1.
"""

import math
from collections.abc import Hashable, Iterable, Sequence
from functools import cache, lru_cache
from itertools import repeat

import numpy as np

from skylane.dtypes import NUMPY
from skylane.manifest import OutputSpec
from skylane.server.codecs import protobuf_wire
from skylane.server.codecs.oip.messages import CONTENTS_OF, InferParameter, InferTensorContents, ModelInferResponse
from skylane.server.codecs.payload_tasks import ReplyForm
from skylane.server.codecs.repeated_outputs import Levels, ListedOutput
from skylane.server.codecs.tensor_bytes import DATATYPE_OF, write_raw
from skylane.server.core import input_binding
from skylane.server.core.types import Array, Interface

PREDICTION_ID = b"prediction_id"
"""The parameter of a reply with its id in the journal."""

KEPT_MAX = 256
"""Frames cached for each output, one for each shape; beyond that the cache is cleared."""


def id_field(request_id: bytes) -> bytes:
    """The field `id` alone, to append to a reply."""
    return protobuf_wire.field(ModelInferResponse.ID_FIELD_NUMBER, request_id)


@cache
def _id_head(size: int) -> bytes:
    """The parameter `prediction_id` up to its value: an entry of a map, whose value is a message with a string."""
    entry = ModelInferResponse.ParametersEntry
    string = InferParameter.DESCRIPTOR.fields_by_name["string_param"].number
    levels = [
        (ModelInferResponse.PARAMETERS_FIELD_NUMBER, protobuf_wire.field(entry.KEY_FIELD_NUMBER, PREDICTION_ID)),
        (entry.VALUE_FIELD_NUMBER, b""),
        (string, b""),
    ]
    return protobuf_wire.nested(levels, size)


@lru_cache(maxsize=256)
def reply_form(interface: Interface, wanted: tuple[str, ...], *, raw: bool) -> ReplyForm:
    """The form for these outputs of this model, made once. Raises InputMismatch if an output is not known."""
    return _RawForm(interface, wanted) if raw else _ContentsForm(interface, wanted)


class _Form:
    """The common part of both forms."""

    cached = b""
    """The protocol has no field for it."""

    def id_head(self, size: int) -> bytes | None:
        """See ReplyForm."""
        return _id_head(size)

    def __init__(self, interface: Interface, wanted: Sequence[str]) -> None:
        self.outputs: Hashable = (type(self).__name__, tuple(wanted))
        self._specs = [(place, interface.outputs[place]) for place in input_binding.output_places(interface, wanted)]
        self._head: bytes = ModelInferResponse(
            model_name=interface.model, model_version=str(interface.version)
        ).SerializeToString()


class _RawForm(_Form):
    """Tensors as bytes: the description of each output, and then its bytes."""

    def __init__(self, interface: Interface, wanted: Sequence[str]) -> None:
        super().__init__(interface, wanted)
        self._frames: dict[Hashable, bytes] = {}

    def encode(self, outputs: Sequence[Array], calls: int, rows_each: int) -> list[bytes]:
        parts: list[Iterable[bytes]] = [repeat(self._head, calls)]
        for place, spec in self._specs:
            output = outputs[place]
            if spec.dtype == "string":
                contents = [write_raw(rows) for rows in _apart(output, calls, rows_each)]
                head = _described(spec, (rows_each, *output.shape[1:]))
                parts += (repeat(head, calls), [protobuf_wire.field(_RAW, content) for content in contents])
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
            frame = _described(spec, shape) + protobuf_wire.field_head(_RAW, size)
            if len(self._frames) >= KEPT_MAX:
                self._frames.clear()
            self._frames[key] = frame
        return frame


class _ContentsForm(_Form):
    """Tensors as lists of their type. float16, for which there is no list, is returned as float32."""

    def __init__(self, interface: Interface, wanted: Sequence[str]) -> None:
        super().__init__(interface, wanted)
        self._lists = [_listed(spec) for _, spec in self._specs]

    def encode(self, outputs: Sequence[Array], calls: int, rows_each: int) -> list[bytes]:
        parts: list[Iterable[bytes]] = [repeat(self._head, calls)]
        for (place, spec), listed in zip(self._specs, self._lists, strict=True):
            output = outputs[place].astype(np.float32) if spec.dtype == "float16" else outputs[place]
            parts += listed.parts(output, calls, rows_each)
        return list(map(b"".join, zip(*parts, strict=True)))


def _listed(spec: OutputSpec) -> ListedOutput:
    dtype = "float32" if spec.dtype == "float16" else spec.dtype
    tensor, datatype = ModelInferResponse.InferOutputTensor, DATATYPE_OF[dtype]

    def levels(shape: tuple[int, ...]) -> Levels:
        described: bytes = tensor(name=spec.name, datatype=datatype, shape=shape).SerializeToString()
        return [(ModelInferResponse.OUTPUTS_FIELD_NUMBER, described), (tensor.CONTENTS_FIELD_NUMBER, b"")]

    return ListedOutput(spec, levels, InferTensorContents.DESCRIPTOR.fields_by_name[CONTENTS_OF[dtype]].number)


_RAW = ModelInferResponse.RAW_OUTPUT_CONTENTS_FIELD_NUMBER


def _described(spec: OutputSpec, shape: tuple[int, ...]) -> bytes:
    response = ModelInferResponse()
    response.outputs.add(name=spec.name, datatype=DATATYPE_OF[spec.dtype], shape=shape)
    written: bytes = response.SerializeToString()
    return written


def _apart(output: Array, calls: int, rows_each: int) -> list[Array]:
    return [output[call * rows_each :][:rows_each] for call in range(calls)]
