"""Bytes of TensorFlow Serving's PredictRequest → blocks for the engine, and outputs → bytes of its response."""

from collections.abc import Hashable, Sequence
from functools import lru_cache
from typing import Any

from google.protobuf.message import DecodeError

from server import binding
from server.block import Ask, Block
from server.errors import BadRequest
from server.transport.blocks import ArraysBlock
from server.transport.templates import AnyTemplate, TemplatingDecoder
from server.transport.tfs import tensors
from server.transport.tfs.messages import SIGNATURE, PredictRequest, PredictResponse
from server.types import Array, Call, Interface, Route
from server.wording import quoted


class PredictAsk(Ask):
    """One call as protobuf read it."""

    __slots__ = ("_inputs", "_outputs")

    def __init__(self, call: Call, request: Any) -> None:
        """Raises BadRequest or InputMismatch for what is wrong whatever the model."""
        super().__init__(route_of(request.model_spec), [call], call.sink)
        self._outputs = tuple(request.output_filter)
        if len(set(self._outputs)) < len(self._outputs):
            raise BadRequest("output_filter: a name stands there twice")
        self._inputs = tensors.read_inputs(request.inputs)

    def bind(self, interface: Interface) -> Block:
        """See Ask."""
        arrays = binding.bind(interface, self._inputs)
        return ArraysBlock(self.calls, reply_form(interface, self._outputs), arrays, len(arrays[0]))


class PredictDecoder(TemplatingDecoder):
    """Reads TensorFlow Serving's PredictRequests. None leaves a template: a map has no order to rely on."""

    def read(self, call: Call, payload: bytes) -> tuple[Ask, AnyTemplate | None]:
        """See TemplatingDecoder."""
        try:
            request = PredictRequest.FromString(payload)
        except DecodeError as error:
            raise BadRequest(f"the message is not a tensorflow.serving.PredictRequest: {error}") from error
        return PredictAsk(call, request), None


def route_of(spec: Any) -> Route:
    """What a ModelSpec names. Raises BadRequest."""
    if not spec.name:
        raise BadRequest("model_spec: name: expected the name of a model, received nothing")
    if spec.signature_name not in ("", SIGNATURE):
        raise BadRequest(
            f"model_spec: signature_name: expected {SIGNATURE} or nothing, received {quoted(spec.signature_name)}"
        )
    which = spec.WhichOneof("version_choice")
    if which == "version_label":
        return Route(spec.name, None, spec.version_label)
    if which == "version" and spec.version.value < 1:
        raise BadRequest(f"model_spec: version: expected 1 or more, received {spec.version.value}")
    return Route(spec.name, spec.version.value if which == "version" else None)


class _Form:
    """How one model's replies with these outputs look."""

    cached = b""
    """The protocol has no field for it."""

    def __init__(self, interface: Interface, wanted: Sequence[str]) -> None:
        self.outputs: Hashable = ("tensorflow", tuple(wanted))
        self._specs = [(place, interface.outputs[place]) for place in binding.output_places(interface, wanted)]
        head = PredictResponse()
        head.model_spec.name, head.model_spec.signature_name = interface.model, SIGNATURE
        head.model_spec.version.value = interface.version
        self._head: bytes = head.SerializeToString()

    def encode(self, outputs: Sequence[Array], calls: int, rows_each: int) -> list[bytes]:
        """See ReplyForm."""
        return [
            self._head + self._written([outputs[place][call * rows_each :][:rows_each] for place, _ in self._specs])
            for call in range(calls)
        ]

    def _written(self, arrays: Sequence[Array]) -> bytes:
        response = PredictResponse()
        for (_, spec), array in zip(self._specs, arrays, strict=True):
            tensors.write(response.outputs[spec.name], spec.dtype, array)
        written: bytes = response.SerializeToString()
        return written


@lru_cache(maxsize=256)
def reply_form(interface: Interface, wanted: tuple[str, ...]) -> _Form:
    """The form for these outputs of this model, made once. Raises InputMismatch if an output is not known."""
    return _Form(interface, wanted)
