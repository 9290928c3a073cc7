"""Decoders that have learned the form of requests beside fresh ones, which parse each: the same answers to all.

Requests of three protocols, some of them damaged, go through the decoder and the engine to a model that gives its input
back, so that whatever a template cuts out wrongly comes back as another answer.
"""

import random
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np

from skylane.bench.fuzz.clock import Simulation
from skylane.bench.fuzz.target import pure
from skylane.dtypes import TO_PROTO
from skylane.manifest import OutputSpec, TensorSpec
from skylane.policy import Policy
from skylane.server.codecs.oip.messages import ModelInferRequest
from skylane.server.codecs.oip.requests import InferDecoder
from skylane.server.codecs.request_templates import TemplatingDecoder
from skylane.server.codecs.skylane_v1.requests import RequestDecoder
from skylane.server.codecs.tensor_bytes import DATATYPE_OF
from skylane.server.codecs.tfs.messages import NUMBER_OF
from skylane.server.codecs.tfs.messages import PredictRequest as TensorFlowRequest
from skylane.server.codecs.tfs.requests import PredictDecoder
from skylane.server.core.errors import ServingError
from skylane.server.core.rejection_counter import RejectionCounter
from skylane.server.core.types import Array, Call, Interface
from skylane.server.engine.cost import CostModel
from skylane.server.engine.engine import Engine
from skylane.server.engine.routes import ModelRoutes, Routes
from skylane.server.engine.served_version import LoadedModel, ServedVersion
from skylane.v1.prediction_pb2 import PredictRequest, Tensor

REQUESTS: Final = 60
"""In one round, for each protocol; some come twice."""
INTERFACE: Final = Interface(
    "m",
    1,
    (TensorSpec(name="x", dtype="float32", shape=(None, 2)),),
    (),
    (OutputSpec(name="y", dtype="float32", shape=(None, 2)), OutputSpec(name="z", dtype="float32", shape=(None, 2))),
)

Outcome = bytes | tuple[str, str]
"""A reply, or the name and the text of an error."""


class _Echo:
    """A model that answers with its input, twice."""

    def run(self, inputs: Sequence[Array]) -> Sequence[Array]:
        return [inputs[0], inputs[0]]


class _Server:
    """A decoder, an engine and one model."""

    def __init__(self, make: Callable[[RejectionCounter], TemplatingDecoder]) -> None:
        rejections, self._simulation = RejectionCounter(), Simulation()
        self._decoder = make(rejections)
        self._engine = Engine(self._simulation, self._simulation.clock, rejections=rejections)
        empty = np.empty((0, 2), np.float32)
        model = LoadedModel(interface=INTERFACE, runner=_Echo(), cost=CostModel([(1, 1e-6)]), empty=(empty, empty))
        self._engine.serve(Routes({"m": ModelRoutes({1: ServedVersion(model, Policy())}, 1)}))
        self._outcomes: dict[int, Outcome] = {}

    def outcomes(self, payloads: Sequence[bytes]) -> list[Outcome]:
        """What becomes of requests that arrive together."""
        self._outcomes = {}
        calls = [Call(place, self) for place in range(len(payloads))]
        self._engine.submit(self._decoder.decode(calls, payloads, self))
        self._simulation.play()
        return [self._outcomes[place] for place in range(len(payloads))]

    def answer(self, calls: Sequence[Call], replies: Sequence[bytes], ids: Sequence[bytes] = ()) -> None:  # noqa: ARG002
        for call, reply in zip(calls, replies, strict=True):
            self._end(call, bytes(reply))

    def refuse(self, calls: Sequence[Call], error: ServingError) -> None:
        for call in calls:
            self._end(call, (type(error).__name__, str(error)))

    def _end(self, call: Call, outcome: Outcome) -> None:
        assert call.handle not in self._outcomes, "a call was answered twice"
        call.done = True
        self._outcomes[call.handle] = outcome


def _skylane(rng: random.Random, array: Array) -> bytes:
    tensor = Tensor(name="x", dtype=TO_PROTO[_dtype(array)], shape=array.shape, data=array.tobytes())
    request = PredictRequest(model="m", tensors=[tensor], request_id=_request_id(rng))
    request.outputs.extend(_outputs(rng))
    return request.SerializeToString()


def _open_inference(rng: random.Random, array: Array) -> bytes:
    request = ModelInferRequest(model_name="m", id=_request_id(rng))
    tensor = request.inputs.add(name="x", datatype=DATATYPE_OF[_dtype(array)], shape=array.shape)
    if array.dtype == np.float32 and rng.random() < 0.5:
        tensor.contents.fp32_contents.extend(array.ravel().tolist())
    else:
        request.raw_input_contents.append(array.tobytes())
    if rng.random() < 0.2:
        request.parameters["triton_enable_empty_final_response"].bool_param = True
    for name in _outputs(rng):
        request.outputs.add(name=name)
    return bytes(request.SerializeToString())


def _tensorflow(rng: random.Random, array: Array) -> bytes:
    request = TensorFlowRequest()
    request.model_spec.name = "m"
    tensor = request.inputs["x"]
    tensor.dtype = NUMBER_OF[_dtype(array)]
    for size in array.shape:
        tensor.tensor_shape.dim.add(size=size)
    if array.dtype == np.float32 and rng.random() < 0.5:
        tensor.float_val.extend(array.ravel().tolist())
    else:
        tensor.tensor_content = array.tobytes()
    request.output_filter.extend(_outputs(rng))
    return bytes(request.SerializeToString())


PROTOCOLS: Final[dict[str, tuple[Callable[[RejectionCounter], TemplatingDecoder], Any]]] = {
    "skylane": (RequestDecoder, _skylane),
    "Open Inference": (lambda rejections: InferDecoder(lambda: 0.0, rejections), _open_inference),
    "TensorFlow Serving": (PredictDecoder, _tensorflow),
}
"""Name → how to make a decoder, and a request."""


def _dtype(array: Array) -> Any:
    return array.dtype.name


def _request_id(rng: random.Random) -> str:
    return rng.choice(("", "", "1", "2", "a-b", "é", "i" * 300))


def _outputs(rng: random.Random) -> tuple[str, ...]:
    return rng.choice(((), (), (), ("y",), ("z", "y"), ("nothing",)))


def _array(rng: random.Random) -> Array:
    """Mostly what the model takes."""
    shape = (rng.choice((1, 1, 1, 2, 3, 0)), rng.choice((2, 2, 2, 2, 1)))
    numbers = np.array([rng.choice((rng.uniform(-9, 9), 0.0, -0.0, 1e9)) for _ in range(shape[0] * shape[1])])
    return numbers.reshape(shape).astype(rng.choice((np.float32, np.float32, np.float32, np.float64, np.int64)))


def _damaged(rng: random.Random, payload: bytes) -> bytes:
    changed = bytearray(payload)
    changed[rng.randrange(len(changed))] = rng.randrange(256)
    return bytes(changed)


def play(seed: int) -> int:
    """One decoder of each protocol learns; each of its requests goes to a fresh one as well. Returns the requests."""
    rng = random.Random(seed)
    return sum(_protocol(rng, name) for name in PROTOCOLS)


def _protocol(rng: random.Random, name: str) -> int:
    make, write = PROTOCOLS[name]
    payloads = [write(rng, _array(rng)) for _ in range(REQUESTS)]
    payloads = [_damaged(rng, payload) if rng.random() < 0.2 else payload for payload in payloads]
    payloads += [rng.choice(payloads) for _ in range(REQUESTS // 2)]
    learned = _Server(make)
    position = 0
    while position < len(payloads):
        together = payloads[position : position + rng.randrange(1, 12)]
        for payload, outcome in zip(together, learned.outcomes(together), strict=True):
            (fresh,) = _Server(make).outcomes([payload])
            assert outcome == fresh, f"{name}: {payload.hex()}: learned {outcome!r:.1000}, fresh {fresh!r:.1000}"
        position += len(together)
    return 2 * len(payloads)


TARGET = pure("templates", "decoders that have learned templates against fresh ones, for three protocols", play)
