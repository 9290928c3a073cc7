"""The Open Inference Protocol over HTTP: bodies of `infer` → arrays, and answers → bodies. Pure.

With the binary extension a body is JSON, as long as a header says, then the tensors whose `binary_data_size` says so,
in order. Sources: see server/open_inference.py.
"""

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Final

import msgspec

from skylane.dtypes import NUMPY
from skylane.server.codecs.tensor_bytes import DATATYPE_OF, read_dtype, read_raw, read_shape, shaped, write_raw
from skylane.server.core import input_binding
from skylane.server.core.batch_task import RequestGroup
from skylane.server.core.errors import BadRequest, InputMismatch
from skylane.server.core.text import quoted
from skylane.server.core.types import Array, Call, Interface, Route
from skylane.server.http.json_values import read_tensor
from skylane.server.http.packed_replies import JsonTask, Reply, pack

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


class Inference:
    """One request, read as far as it can be without the model."""

    def __init__(self, body: bytes, json_size: int | None) -> None:
        """`json_size`: what the header says of the length of the JSON; None without one.

        A size of 0 stands for a body that is the bytes of the model's only input. Raises BadRequest or InputMismatch.
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
        read = _decode(body if json_size is None else body[:json_size])
        self._read_head(read)
        self._inputs = _read_inputs(read.inputs, b"" if json_size is None else body[json_size:])

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
            raise BadRequest("outputs: a name stands there twice")
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

    def bind(self, interface: Interface) -> JsonTask:
        """See Ask."""
        arrays = input_binding.bind(interface, self._inference.inputs(interface))
        form = InferenceForm(interface, self._inference.wanted, self._inference.binary)
        return JsonTask(self.calls, form, arrays, len(arrays[0]))


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
        assert calls == 1, "every request over HTTP is a block of its own"
        described, raws = list[dict[str, Any]](), list[bytes]()
        for place, binary in zip(self._places, self._binary, strict=True):
            spec, array = self._interface.outputs[place], outputs[place]
            tensor: dict[str, Any] = {
                "name": spec.name,
                "datatype": DATATYPE_OF[spec.dtype],
                "shape": [rows_each, *array.shape[1:]],
            }
            if binary:
                raws.append(write_raw(array))
                tensor["parameters"] = {"binary_data_size": len(raws[-1])}
            else:
                tensor["data"] = array.ravel().tolist()
            described.append(tensor)
        answer = {
            "model_name": self._interface.model,
            "model_version": str(self._interface.version),
            "outputs": described,
        }
        return [pack(msgspec.json.encode(answer)[:-1], b"".join(raws))]


def json_of(reply: Reply, request_id: str) -> bytes:
    """The JSON of an answer, with the caller's own id."""
    return reply.json + (b',"id":' + msgspec.json.encode(request_id) if request_id else b"") + b"}"


def _decode(body: bytes) -> _Body:
    try:
        return _decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest(f"the body is not an inference request: {error}") from error


def _read_inputs(tensors: Sequence[_Tensor], binary: bytes) -> dict[str, Array]:
    arrays, start = dict[str, Array](), 0
    for tensor in tensors:
        if not tensor.name:
            raise InputMismatch("inputs: expected a name for each, received none")
        if tensor.name in arrays:
            raise InputMismatch(f"inputs: {quoted(tensor.name)} stands there twice")
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
        raise BadRequest(f"{kind} {quoted(name)}: this server has no shared memory: send the data")
    if parameters.get("classification"):
        raise BadRequest(f"{kind} {quoted(name)}: this server ranks no classes: ask for the output as it is")


def _flag(parameters: Parameters, name: str, *, default: bool) -> bool:
    value = parameters.get(name, default)
    if type(value) is not bool:
        raise BadRequest(f"parameters: {name}: expected true or false, received {quoted(str(value))}")
    return value
