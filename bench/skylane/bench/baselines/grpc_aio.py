"""The usual way over gRPC: an asyncio grpcio server, generated stubs, ONNX Runtime behind them.

`--batching naive` collects requests in an asyncio queue until there are enough or the oldest has waited long enough,
as most teams write it. `--batching none` runs the session once per request. In favour of this baseline: one thread per
session, no access log, no metrics, no validation, no limits, and the session runs inline, which costs less than a
thread's hand-over.
"""

import argparse
import asyncio
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import numpy as np

from skylane.dtypes import FROM_PROTO, NUMPY, TO_PROTO, dtype_of
from skylane.onnx_runtime import onnxruntime as ort
from skylane.v1 import prediction_pb2 as pb
from skylane.v1 import prediction_pb2_grpc as rpc

Array = np.ndarray[Any, Any]


class Model:
    """A graph and the names of what it answers."""

    def __init__(self, onnx_file: Path) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = ort.InferenceSession(onnx_file, options, providers=["CPUExecutionProvider"])
        self.outputs = [output.name for output in self._session.get_outputs()]

    def run(self, inputs: Mapping[str, Array]) -> list[Array]:
        """One run; the outputs in the graph's order."""
        answers: list[Array] = self._session.run(self.outputs, dict(inputs))
        return answers


@dataclass
class Waiting:
    """A request in the queue."""

    inputs: dict[str, Array]
    answer: "asyncio.Future[list[Array]]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class NaiveBatcher:
    """Fill to `size_max` requests or wait `wait_s_max` seconds, run, hand the rows back."""

    def __init__(self, model: Model, size_max: int, wait_s_max: float) -> None:
        self._model, self._size_max, self._wait_s_max = model, size_max, wait_s_max
        self._queue: asyncio.Queue[Waiting] = asyncio.Queue()
        self._task = asyncio.create_task(self._work())

    async def run(self, inputs: dict[str, Array]) -> list[Array]:
        """Outputs for these rows, from a batch shared with others."""
        waiting = Waiting(inputs)
        await self._queue.put(waiting)
        return await waiting.answer

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            batch = [await self._queue.get()]
            ends_at = loop.time() + self._wait_s_max
            while len(batch) < self._size_max and (left := ends_at - loop.time()) > 0:
                try:
                    batch.append(await asyncio.wait_for(self._queue.get(), left))
                except TimeoutError:
                    break
            self._answer(batch)

    def _answer(self, batch: Sequence[Waiting]) -> None:
        names = batch[0].inputs
        answers = self._model.run({name: np.concatenate([w.inputs[name] for w in batch]) for name in names})
        start = 0
        for waiting in batch:
            end = start + len(next(iter(waiting.inputs.values())))
            if not waiting.answer.done():  # its caller may have gone
                waiting.answer.set_result([answer[start:end] for answer in answers])
            start = end


class Service(rpc.PredictionServiceServicer):
    """Predict, one coroutine per request."""

    def __init__(self, models: Mapping[str, Model], batchers: Mapping[str, NaiveBatcher]) -> None:
        self._models, self._batchers = models, batchers

    async def Predict(self, request: pb.PredictRequest, context: Any) -> pb.PredictResponse:  # noqa: N802
        """Parse, run, encode."""
        model = self._models.get(request.model)
        if model is None:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"no model {request.model!r}")
            raise AssertionError("abort raises")
        inputs = {tensor.name: _array(tensor) for tensor in request.tensors}
        batcher = self._batchers.get(request.model)
        answers = model.run(inputs) if batcher is None else await batcher.run(inputs)
        outputs = [_tensor(name, answer) for name, answer in zip(model.outputs, answers, strict=True)]
        return pb.PredictResponse(model=request.model, version=1, outputs=outputs)


def _array(tensor: pb.Tensor) -> Array:
    dtype = FROM_PROTO[tensor.dtype]
    if dtype == "string":
        return np.array([text.decode() for text in tensor.strings], object).reshape(tensor.shape)
    return np.frombuffer(tensor.data, NUMPY[dtype]).reshape(tensor.shape)


def _tensor(name: str, array: Array) -> pb.Tensor:
    if array.dtype == object:
        return pb.Tensor(
            name=name, dtype=TO_PROTO["string"], shape=array.shape, strings=[text.encode() for text in array.flat]
        )
    return pb.Tensor(name=name, dtype=TO_PROTO[dtype_of(array)], shape=array.shape, data=array.tobytes())


def load(repository: Path) -> dict[str, Model]:
    """The newest version of each model."""
    newest: dict[str, Path] = {}
    for path in sorted(repository.glob("*/[0-9]*/model.onnx"), key=lambda path: int(path.parent.name)):
        newest[path.parent.parent.name] = path
    return {name: Model(path) for name, path in newest.items()}


async def serve(options: argparse.Namespace) -> None:
    """Serve until cancelled."""
    models = load(options.models)
    batchers: dict[str, NaiveBatcher] = {}
    if options.batching == "naive":
        wait_s_max = options.wait_ms / 1e3
        batchers = {name: NaiveBatcher(model, options.size, wait_s_max) for name, model in models.items()}
    server = grpc.aio.server(options=[("grpc.max_receive_message_length", 64 * 2**20), ("grpc.so_reuseport", 0)])
    rpc.add_PredictionServiceServicer_to_server(Service(models, batchers), server)  # type: ignore[no-untyped-call]
    server.add_insecure_port(f"127.0.0.1:{options.port}")
    await server.start()
    await server.wait_for_termination()


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until stopped. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m skylane.bench.baselines.grpc_aio", description=__doc__)
    parser.add_argument("--models", type=Path, required=True, help="the model repository; read once")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--batching", choices=("none", "naive"), default="naive")
    parser.add_argument("--size", type=int, default=64, help="requests in a batch at most (default: 64)")
    parser.add_argument("--wait-ms", type=float, default=1.0, help="how long the oldest waits (default: 1)")
    asyncio.run(serve(parser.parse_args(argv)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
