"""A small server on a real socket that the clients are tested against: it echoes, and fails as configured.

It is not Skylane's server and shares no code with it: what is tested here is what the clients send and understand.
"""

import threading
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import HealthServicer

from skylane.dtypes import TO_PROTO, dtype_of
from skylane.v1 import models_pb2, models_pb2_grpc, prediction_pb2, prediction_pb2_grpc


@dataclass(frozen=True)
class Failure:
    """One scripted refusal."""

    code: grpc.StatusCode
    detail: str = "scripted"
    trailing: tuple[tuple[str, str], ...] = ()


@dataclass
class FakeServer:
    """What the server was asked, and what it shall do next."""

    address: str = ""
    requests: list[prediction_pb2.PredictRequest] = field(default_factory=list)
    metadata: list[dict[str, Any]] = field(default_factory=list)
    """Of each Predict, beside `requests`."""
    schema_requests: list[models_pb2.GetModelRequest] = field(default_factory=list)
    failures: deque[Failure] = field(default_factory=deque)
    """What the next calls of Predict are refused with, the first first."""
    models: dict[str, models_pb2.Model] = field(default_factory=dict)
    """What GetModel answers."""
    older: dict[str, int] = field(default_factory=dict)
    """Model → a second version that is ready."""
    answers: dict[str, Any] = field(default_factory=dict)
    """Outputs of every Predict, if not the echo."""
    health: Any = field(default_factory=HealthServicer)
    stream_cancelled: threading.Event = field(default_factory=threading.Event)
    closing: threading.Event = field(default_factory=threading.Event)
    """Set at the end of the test: lets calls go that were never to be answered."""

    def fail(self, code: str, detail: str = "scripted", trailing: Mapping[str, str] | None = None) -> None:
        """Refuse one more call of Predict."""
        self.failures.append(Failure(grpc.StatusCode[code], detail, tuple((trailing or {}).items())))


def echo(request: prediction_pb2.PredictRequest) -> prediction_pb2.PredictResponse:
    """The tensors as they came, or else one output "rows" for columns."""
    outputs = list(request.tensors) or [prediction_pb2.Tensor(name="columns", dtype="DATA_TYPE_STRING", shape=[0])]
    return prediction_pb2.PredictResponse(
        model=request.model, version=request.version or 7, outputs=outputs, request_id=request.request_id
    )


class Predictions(prediction_pb2_grpc.PredictionServiceServicer):
    """Echoes, but for some models whose names say what they do instead."""

    def __init__(self, server: FakeServer) -> None:
        self._server = server

    def Predict(self, request: Any, context: Any) -> Any:  # noqa: N802
        self._server.requests.append(request)
        self._server.metadata.append(dict(context.invocation_metadata()))
        if self._server.failures:
            failure = self._server.failures.popleft()
            context.set_trailing_metadata(failure.trailing)
            context.abort(failure.code, failure.detail)
        if request.model == "never":
            self._server.closing.wait()
        if request.model == "large":
            return prediction_pb2.PredictResponse(model="x" * 2000)
        if self._server.answers:
            return prediction_pb2.PredictResponse(
                outputs=[
                    prediction_pb2.Tensor(name=name, dtype=TO_PROTO[dtype_of(a)], shape=a.shape, data=a.tobytes())
                    for name, a in self._server.answers.items()
                ]
            )
        return echo(request)

    def PredictStream(self, requests: Iterator[Any], context: Any) -> Iterator[Any]:  # noqa: N802
        context.add_callback(self._server.stream_cancelled.set)
        held = []
        for place, request in enumerate(requests):
            self._server.requests.append(request)
            reply = prediction_pb2.PredictStreamResponse(request_id=request.request_id, response=echo(request))
            match request.model:
                case "slow":  # answered when the stream ends, the last first
                    held.append(reply)
                    continue
                case "odd_slow" if place % 2:
                    held.append(reply)
                    continue
                case "lost":
                    continue
                case "end":
                    return
                case "break":
                    context.abort(grpc.StatusCode.UNAVAILABLE, "going away")
                case "bad":
                    reply.error.code, reply.error.message = 3, "column 'x' is unknown"
                case "no_negatives" if request.tensors[0].data.endswith(b"\xff"):
                    reply.error.code, reply.error.message = 3, "negative"
                case "full":
                    reply.error.code, reply.error.message, reply.error.retry_pushback_ms = 8, "queue is full", 40
                case "stranger":
                    reply.request_id = "never asked"
            yield reply
        yield from reversed(held)


class Models(models_pb2_grpc.ModelServiceServicer):
    """Tells what the test put into `FakeServer.models`."""

    def __init__(self, server: FakeServer) -> None:
        self._server = server

    def ListModels(self, request: Any, context: Any) -> Any:  # noqa: N802
        return models_pb2.ListModelsResponse(
            models=[
                models_pb2.ModelStatus(
                    name=model.name,
                    versions=[
                        models_pb2.VersionStatus(version=model.version, state="VERSION_STATE_READY"),
                        *(
                            models_pb2.VersionStatus(version=version, state="VERSION_STATE_READY")
                            for name, version in self._server.older.items()
                            if name == model.name
                        ),
                        models_pb2.VersionStatus(version=1, state="VERSION_STATE_FAILED", reason="model.onnx: damaged"),
                    ],
                    labels={"stable": model.version},
                )
                for model in self._server.models.values()
            ]
        )

    def GetModel(self, request: Any, context: Any) -> Any:  # noqa: N802
        self._server.schema_requests.append(request)
        if request.model not in self._server.models:
            context.abort(grpc.StatusCode.NOT_FOUND, f"no model {request.model!r}; there are: flights_late")
        return models_pb2.GetModelResponse(model=self._server.models[request.model])


def model_of(name: str, version: int, columns: dict[str, str], outputs: tuple[str, ...] = ()) -> models_pb2.Model:
    """A model with one tensor for each dtype ("float32", …) among `columns`; all of them may be missing."""
    tensors: dict[str, int] = {}
    specs = []
    for column, dtype in columns.items():
        tensors[dtype] = tensors.get(dtype, 0) + 1
        specs.append(
            models_pb2.ColumnSpec(
                name=column,
                dtype=f"DATA_TYPE_{dtype.upper()}",
                tensor=f"x_{dtype}",
                index=tensors[dtype] - 1,
                may_be_missing=True,
            )
        )
    return models_pb2.Model(
        name=name,
        version=version,
        task="classifier",
        tensors=[
            models_pb2.TensorSpec(name=f"x_{dtype}", dtype=f"DATA_TYPE_{dtype.upper()}", shape=[-1, width])
            for dtype, width in tensors.items()
        ],
        columns=specs,
        outputs=[
            models_pb2.OutputSpec(name="label", dtype="DATA_TYPE_STRING", shape=[-1], role="label"),
            models_pb2.OutputSpec(
                name="probabilities",
                dtype="DATA_TYPE_FLOAT32",
                shape=[-1, 2],
                role="probabilities",
                classes=["late", "on time"],
            ),
        ],
        manifest_json=b'{"model": "flights_late"}',
    )


@pytest.fixture
def server() -> Iterator[FakeServer]:
    """A server of its own for each test, with the models "flights_late" and "digits"."""
    fake = FakeServer()
    fake.models["flights_late"] = model_of(
        "flights_late", 7, {"carrier": "string", "distance": "float32", "hour": "int64", "weekend": "bool"}
    )
    fake.models["digits"] = model_of("digits", 2, {f"pixel_{n}": "float32" for n in range(3)})
    fake.health.set("flights_late", health_pb2.HealthCheckResponse.SERVING)
    fake.health.set("loading", health_pb2.HealthCheckResponse.NOT_SERVING)
    listener = grpc.server(ThreadPoolExecutor(4), options=[("grpc.so_reuseport", 0)])
    prediction_pb2_grpc.add_PredictionServiceServicer_to_server(Predictions(fake), listener)  # type: ignore[no-untyped-call]
    models_pb2_grpc.add_ModelServiceServicer_to_server(Models(fake), listener)  # type: ignore[no-untyped-call]
    health_pb2_grpc.add_HealthServicer_to_server(fake.health, listener)
    fake.address = f"localhost:{listener.add_insecure_port('localhost:0')}"
    listener.start()
    yield fake
    fake.closing.set()
    listener.stop(0).wait()
