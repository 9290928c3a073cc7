"""The Open Inference Protocol over HTTP: bodies of `infer` → arrays, and answers → bodies. Pure.

With the binary extension a body is JSON, as long as a header says, then the tensors whose `binary_data_size` says so,
in order. Sources: see admin/oip_views.py.
"""

import math
from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from skylane.dtypes import NUMPY
from skylane.server.codecs.tensor_bytes import DATATYPE_OF, read_dtype, read_raw, read_shape, shaped, write_raw
from skylane.server.core import input_binding
from skylane.server.core.batch_task import Bound, RequestGroup
from skylane.server.core.errors import BadRequest, InputMismatch, MessageTooLarge
from skylane.server.core.text import quoted
from skylane.server.core.types import Array, Call, Interface, Route
from skylane.server.http import json_answers, json_text
from skylane.server.http.body_limits import JSON_VALUES_MAX
from skylane.server.http.json_values import read_tensor
from skylane.server.http.packed_replies import JsonTask, Reply, pack
from skylane.server.http.request_inputs import RequestInputs

ID_BYTES_MAX: Final = 256

Parameters = Mapping[str, Any]


class _Tensor(msgspec.Struct):
    name: str
    shape: list[int]
    datatype: str
    parameters: dict[str, Any] = {}
    data: Any = None


class _Wanted(msgspec.Struct):
    name: str
    parameters: dict[str, Any] = {}


class _Body(msgspec.Struct):
    inputs: list[_Tensor]
    id: str = ""
    parameters: dict[str, Any] = {}
    outputs: list[_Wanted] = []


_decoder: Final = msgspec.json.Decoder(_Body)


class Inference(RequestInputs):
    """One request, read as far as it can be without the model."""

    def __init__(self, body: bytes, json_size: int | None, values_max: int = JSON_VALUES_MAX) -> None:
        """`json_size`: what the header says of the length of the JSON; None without one.

        A size of 0 stands for a body that is the bytes of the model's only input. `values_max`: strings that a binary
        tensor may have. Raises BadRequest, InputMismatch or MessageTooLarge.
        """
        self.id = ""
        self.timeout_s: float | None = None
        self.wanted: tuple[str, ...] = ()
        self.binary: bool | tuple[bool, ...] = True
        self._raw, self._inputs = b"", dict[str, Array]()
        if json_size == 0:
            self._raw = body
            return
        if json_size is not None and not 0 < json_size <= len(body):
            raise BadRequest(
                f"Inference-Header-Content-Length: expected 0 to {len(body)}, the length of the body, "
                f"received {json_size}"
            )
        read = json_text.decode(body if json_size is None else body[:json_size], _decoder, "an inference request")
        self._read_head(read)
        self._inputs = _read_inputs(read.inputs, b"" if json_size is None else body[json_size:], values_max)

    def _read_head(self, body: _Body) -> None:
        if len(body.id.encode()) > ID_BYTES_MAX:
            raise BadRequest(f"id: expected at most {ID_BYTES_MAX} bytes")
        self.id = body.id
        timeout = body.parameters.get("timeout", 0)
        if type(timeout) is not int or timeout < 0:
            raise BadRequest(f"parameters: timeout: expected microseconds from 0, received {quoted(str(timeout))}")
        self.timeout_s = timeout / 1e6 if timeout else None
        self.wanted = tuple(output.name for output in body.outputs)
        if len(set(self.wanted)) < len(self.wanted):
            raise BadRequest("outputs: a name appears twice")
        for output in body.outputs:
            _check_parameters("output", output.name, output.parameters)
        everywhere = _flag(body.parameters, "binary_data_output", default=False)
        self.binary = (
            tuple(_flag(output.parameters, "binary_data", default=everywhere) for output in body.outputs) or everywhere
        )

    def inputs(self, interface: Interface) -> Mapping[str, Array]:
        """The inputs by name. Raises InputMismatch."""
        if self._inputs or not self._raw:
            return self._inputs
        if len(interface.tensors) != 1:
            raise InputMismatch(
                "a body without JSON can only be the model's only input: this model has "
                f"{len(interface.tensors)} tensors"
            )
        return {interface.tensors[0].name: _read_bare(interface, self._raw)}


class InferenceGroup(RequestGroup):
    """One inference, for the engine."""

    __slots__ = ("_inference",)

    def __init__(self, route: Route, call: Call, inference: Inference) -> None:
        super().__init__(route, [call], call.sink)
        self._inference = inference

    def bind(self, interface: Interface) -> Bound:
        arrays = self._inference.arrays(interface)
        form = InferenceForm(interface, self._inference.wanted, self._inference.binary)
        return JsonTask(self.calls, form, arrays, len(arrays[0])), ()


class InferenceForm:
    """How one model's answers with these outputs look. See skylane.server.core.array_task.ReplyForm."""

    def __init__(self, interface: Interface, wanted: Sequence[str], binary: bool | tuple[bool, ...]) -> None:
        """`binary`: whether as bytes behind the JSON, for all outputs or for each. Raises InputMismatch."""
        self._interface = interface
        self._places = input_binding.output_places(interface, wanted)
        self._binary = (binary,) * len(self._places) if isinstance(binary, bool) else binary
        self.outputs: Hashable = ("v2", tuple(self._places), self._binary)

    def encode(self, outputs: Sequence[Array], calls: int, rows_each: int) -> list[bytes]:
        """See ReplyForm. The JSON ends before its last brace, so that an id can follow."""
        assert calls == 1, "every request over HTTP is a task of its own"
        wanted = [outputs[place] for place in self._places]
        raws = [write_raw(array) for array, binary in zip(wanted, self._binary, strict=True) if binary]
        sizes = iter(map(len, raws))
        tensors = [self._described(number, rows_each, array.shape[1:], sizes) for number, array in enumerate(wanted)]
        in_text = [array for array, binary in zip(wanted, self._binary, strict=True) if not binary]
        json = json_answers.encode(lambda arrays: self._answer(tensors, arrays), in_text)
        return [pack(json[:-1], b"".join(raws))]

    def _described(self, number: int, rows: int, sizes: Sequence[int], raw_sizes: Iterator[int]) -> dict[str, Any]:
        """An output without its values; where they are binary, with the next of `raw_sizes`."""
        spec = self._interface.outputs[self._places[number]]
        tensor: dict[str, Any] = {"name": spec.name, "datatype": DATATYPE_OF[spec.dtype], "shape": [rows, *sizes]}
        if self._binary[number]:
            tensor["parameters"] = {"binary_data_size": next(raw_sizes)}
        return tensor

    def _answer(self, tensors: Sequence[dict[str, Any]], in_text: Sequence[Array]) -> dict[str, Any]:
        """All of the JSON. `in_text`: the outputs whose values it has."""
        texts = iter(in_text)
        return {
            "model_name": self._interface.model,
            "model_version": str(self._interface.version),
            "outputs": [
                tensor if binary else {**tensor, "data": next(texts).ravel().tolist()}
                for tensor, binary in zip(tensors, self._binary, strict=True)
            ],
        }


def json_of(reply: Reply, request_id: str) -> bytes:
    """The JSON of an answer, with the caller's own id, and its prediction id as a parameter."""
    own = b',"id":' + msgspec.json.encode(request_id) if request_id else b""
    ours = b',"parameters":{"prediction_id":"%b"}' % reply.prediction_id.encode() if reply.prediction_id else b""
    return reply.json + own + ours + b"}"


def _read_inputs(tensors: Sequence[_Tensor], binary: bytes, values_max: int) -> dict[str, Array]:
    arrays, start = dict[str, Array](), 0
    for tensor in tensors:
        if not tensor.name:
            raise InputMismatch("inputs: expected a name for each, received none")
        if tensor.name in arrays:
            raise InputMismatch(f"inputs: {quoted(tensor.name)} appears twice")
        _check_parameters("input", tensor.name, tensor.parameters)
        dtype, shape = read_dtype(tensor.name, tensor.datatype), read_shape(tensor.name, tensor.shape)
        size = tensor.parameters.get("binary_data_size")
        if size is None:
            if tensor.data is None:
                raise InputMismatch(f"tensor {quoted(tensor.name)}: expected `data`, or `binary_data_size`")
            arrays[tensor.name] = shaped(tensor.name, read_tensor(tensor.name, dtype, tensor.data), shape)
            continue
        if type(size) is not int or not 0 <= size <= len(binary) - start:
            raise InputMismatch(
                f"tensor {quoted(tensor.name)}: binary_data_size: expected 0 to {len(binary) - start}, what is left of "
                f"the body behind the JSON, received {quoted(str(size))}"
            )
        if dtype == "string" and math.prod(shape) > values_max:
            raise MessageTooLarge(
                f"tensor {quoted(tensor.name)}: shape: {list(shape)} has more strings than the model takes"
            )
        arrays[tensor.name] = read_raw(tensor.name, dtype, shape, binary[start : start + size])
        start += size
    if start < len(binary):
        raise BadRequest(f"the body has {len(binary) - start} bytes behind the JSON that belong to no tensor")
    return arrays


def _read_bare(interface: Interface, raw: bytes) -> Array:
    """The model's only input from its bytes: as many rows as they are."""
    spec, sizes = interface.tensors[0], interface.tensors[0].shape[1:]
    if spec.dtype == "string" or None in sizes:
        raise InputMismatch(
            f"tensor {spec.name!r}: without JSON its shape cannot be told: only rows of numbers of one size"
        )
    each = tuple(size or 0 for size in sizes)
    row_bytes = math.prod(each) * NUMPY[spec.dtype].itemsize
    return read_raw(spec.name, spec.dtype, (len(raw) // max(row_bytes, 1), *each), raw)


def _check_parameters(kind: str, name: str, parameters: Parameters) -> None:
    """Raise BadRequest for what would be left out without a word."""
    if "shared_memory_region" in parameters:
        raise BadRequest(f"{kind} {quoted(name)}: shared memory is not supported: send the data")
    if parameters.get("classification"):
        raise BadRequest(f"{kind} {quoted(name)}: classification is not supported: request the output without it")


def _flag(parameters: Parameters, name: str, *, default: bool) -> bool:
    value = parameters.get(name, default)
    if type(value) is not bool:
        raise BadRequest(f"parameters: {name}: expected true or false, received {quoted(str(value))}")
    return value
