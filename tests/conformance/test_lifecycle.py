"""Versions come and go under load, and the server itself: nobody notices but for the version in the reply."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from skylane.server.codecs.descriptor_pool import message
from skylane.server.codecs.oip.messages import SERVICE as OIP
from skylane.server.core.errors import CannotStart
from skylane.server.core.settings import Transport
from skylane.v1.prediction_pb2 import PredictRequest, PredictStreamResponse
from support import foreign, models
from support.calls import Array, array_of, ask, features, open_channel, predict, predict_stream
from support.http import Http
from support.server import Gate, serving

REQUESTS = 10_000


@pytest.mark.slow
def test_reload_under_load(tmp_path: Path, transport: Transport) -> None:
    """10,000 requests while versions 2 to 6 appear and 3 and 5 are corrupt: each answer is of one whole version."""
    models.linear(tmp_path, version=1, bias=0)
    with serving(tmp_path, transport) as server, open_channel(server.address) as channel:
        sent, answered = threading.Semaphore(64), threading.Semaphore(0)
        failures: list[str] = []
        versions: set[int] = set()

        def check(x: Array, call: Any) -> None:
            try:
                reply = call.result()
                versions.add(reply.version)
                expected = x.sum(axis=1) + 100 * (reply.version - 1)
                np.testing.assert_allclose(array_of(reply, "score")[:, 0], expected, rtol=1e-4, atol=1e-4)
            except (grpc.RpcError, AssertionError) as error:
                failures.append(str(error))
            sent.release()
            answered.release()

        def send() -> None:
            method, inputs = predict(channel), [features(1 + seed % 3, seed=seed) for seed in range(50)]
            for number in range(REQUESTS):
                sent.acquire()
                x = inputs[number % len(inputs)]
                method.future(ask("linear", features=x)).add_done_callback(partial(check, x))

        sender = threading.Thread(target=send)
        sender.start()
        for version in range(2, 7):
            for _ in range(REQUESTS // 6):
                assert answered.acquire(timeout=60)
            directory = models.linear(tmp_path, version=version, bias=100 * (version - 1))
            if version in (3, 5):
                (directory / "model.onnx").write_bytes((directory / "model.onnx").read_bytes()[:-7])
            server.refresh()
        for _ in range(REQUESTS - 5 * (REQUESTS // 6)):
            assert answered.acquire(timeout=60)
        sender.join()
        assert failures == []
        assert versions == {1, 2, 4, 6}


def test_a_run_ends_on_the_version_that_it_began_with(tmp_path: Path, transport: Transport) -> None:
    models.linear(tmp_path, version=1)
    gate = Gate()
    with serving(tmp_path, transport, load=gate.load) as server, open_channel(server.address) as channel:
        old = predict(channel).future(ask("linear", features=features(1)))
        assert gate.entered.acquire(timeout=30)
        queued = predict(channel).future(ask("linear", features=features(1, seed=1)))
        predict(channel)(ask("linear", features=features(0)))
        models.linear(tmp_path, version=2)
        server.refresh()
        new = predict(channel).future(ask("linear", features=features(1)))
        gate.opened.set()
        assert [call.result().version for call in (old, queued, new)] == [1, 1, 2]


def test_a_replaced_model_leaves_memory_when_its_last_run_ends(tmp_path: Path, transport: Transport) -> None:
    models.linear(tmp_path, version=1)
    gate = Gate()
    with serving(tmp_path, transport, load=gate.load) as server, open_channel(server.address) as channel:
        call = predict(channel).future(ask("linear", features=features(1)))
        assert gate.entered.acquire(timeout=30)
        models.linear(tmp_path, version=2)
        server.refresh()
        assert [model() is None for model in gate.loaded] == [False, False]
        gate.opened.set()
        assert call.result().version == 1
        for _ in range(1000):  # the thread that ran it may still be on its way out
            server.refresh()
            if gate.loaded[0]() is None:
                break
        assert [model() is None for model in gate.loaded] == [True, False]


def test_a_new_model_that_is_broken_takes_nobody_along(tmp_path: Path, transport: Transport) -> None:
    models.linear(tmp_path)
    with serving(tmp_path, transport) as server, open_channel(server.address) as channel:
        directory = models.mixed(tmp_path)
        (directory / "model.onnx").write_bytes(b"nonsense")
        server.refresh()
        check = health_pb2_grpc.HealthStub(channel).Check  # type: ignore[attr-defined]
        assert check(health_pb2.HealthCheckRequest()).status == health_pb2.HealthCheckResponse.SERVING
        mixed = check(health_pb2.HealthCheckRequest(service="mixed")).status
        assert mixed == health_pb2.HealthCheckResponse.NOT_SERVING


@pytest.mark.parametrize(
    ("broken", "ready"),
    [
        pytest.param([], True, id="all models answer"),
        pytest.param(["mixed"], True, id="one cannot be loaded"),
        pytest.param(["mixed", "linear"], False, id="none can be loaded"),
    ],
)
def test_a_server_that_starts_is_ready_when_any_model_answers_whoever_is_asked(
    tmp_path: Path, transport: Transport, broken: list[str], ready: bool
) -> None:
    directories = {"linear": models.linear(tmp_path), "mixed": models.mixed(tmp_path)}
    for name in broken:
        (directories[name] / "model.onnx").write_bytes(b"nonsense")
    with serving(tmp_path, transport, http_port=0) as server, open_channel(server.address) as channel:
        check = health_pb2_grpc.HealthStub(channel).Check  # type: ignore[attr-defined]
        for service in ("", "skylane.v1.PredictionService", "inference.GRPCInferenceService"):
            told = check(health_pb2.HealthCheckRequest(service=service)).status
            assert (told == health_pb2.HealthCheckResponse.SERVING) is ready
        request = message("inference.ServerReadyRequest")()
        assert foreign.call(channel, OIP, "ServerReady")(request).ready is ready
        with Http(server.http_port) as http:
            for path in ("/readyz", "/v2/health/ready"):
                assert http.get(path).status == (200 if ready else 503)
            assert http.get("/v2/models/mixed/ready").status == (503 if broken else 200)


def test_unload(tmp_path: Path, transport: Transport) -> None:
    models.linear(tmp_path)
    models.mixed(tmp_path)
    with serving(tmp_path, transport) as server, open_channel(server.address) as channel:
        assert predict(channel)(ask("linear", features=features(1))).version == 1
        shutil.rmtree(tmp_path / "linear")
        server.refresh()
        with pytest.raises(grpc.RpcError) as refused:
            predict(channel)(ask("linear", features=features(1)))
        assert refused.value.code() is grpc.StatusCode.NOT_FOUND


def test_health_follows_the_models(tmp_path: Path, transport: Transport) -> None:
    directory = models.linear(tmp_path)
    (directory / "model.onnx").write_bytes(b"nonsense")
    with serving(tmp_path, transport) as server, open_channel(server.address) as channel:
        check = health_pb2_grpc.HealthStub(channel).Check  # type: ignore[attr-defined]
        assert check(health_pb2.HealthCheckRequest()).status == health_pb2.HealthCheckResponse.NOT_SERVING
        models.linear(tmp_path, version=2)
        server.refresh()
        assert check(health_pb2.HealthCheckRequest()).status == health_pb2.HealthCheckResponse.SERVING
        assert check(health_pb2.HealthCheckRequest(service="linear")).status == health_pb2.HealthCheckResponse.SERVING


WHILE_IT_SERVES = (grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.RESOURCE_EXHAUSTED)
"""How calls end while the model is held and the server still accepts them: late, or known to be late behind others."""


def test_drain_finishes_what_is_in_flight_and_refuses_the_rest(tmp_path: Path, transport: Transport) -> None:
    models.linear(tmp_path)
    gate, hang_up = Gate(), threading.Event()
    late: list[grpc.StatusCode] = []

    def one_then_wait() -> Iterator[PredictRequest]:
        yield ask("linear", request_id="on the stream", features=features(1, seed=3))
        yield ask("linear", request_id="read after it", features=features(0))
        hang_up.wait(60)

    def try_when_not_serving() -> None:
        assert next(health).status == health_pb2.HealthCheckResponse.NOT_SERVING
        request = ask("linear", features=features(1, seed=2))
        while not late:  # what comes before the engine stops is still answered: the gate's queue takes it
            try:
                predict(channel)(request, timeout=0.2)
            except grpc.RpcError as error:
                late.extend([error.code()] if error.code() not in WHILE_IT_SERVES else [])
        gate.opened.set()

    with contextlib.ExitStack() as stack:
        with serving(tmp_path, transport, load=gate.load) as server:
            channel = stack.enter_context(open_channel(server.address))
            health = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())  # type: ignore[attr-defined]
            assert next(health).status == health_pb2.HealthCheckResponse.SERVING
            call = predict(channel).future(ask("linear", features=features(1)))
            assert gate.entered.acquire(timeout=30)
            stream = predict_stream(channel)(one_then_wait())
            assert next(stream).request_id == "read after it"
            trying = threading.Thread(target=try_when_not_serving)
            trying.start()
        trying.join(30)
        assert call.result().version == 1, "what had begun is answered"
        assert late == [grpc.StatusCode.UNAVAILABLE]
        assert [reply.request_id for reply in until_error(stream)] == ["on the stream"]
        assert stream.code() is grpc.StatusCode.UNAVAILABLE
        hang_up.set()


def until_error(stream: Iterator[PredictStreamResponse]) -> Iterator[PredictStreamResponse]:
    with contextlib.suppress(grpc.RpcError):
        yield from stream


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_the_command_serves_and_stops_on_a_signal(tmp_path: Path, transport: Transport, stop: signal.Signals) -> None:
    models.linear(tmp_path)
    command = [
        sys.executable,
        "-m",
        "skylane.server",
        "--models",
        str(tmp_path),
        "--port",
        "0",
        "--transport",
        transport,
    ]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ}) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if " serving " in line:
                break
        assert f"({transport} transport)" in line
        port = int(line.split("127.0.0.1:")[1].split()[0])
        with open_channel(f"127.0.0.1:{port}") as channel:
            assert predict(channel)(ask("linear", features=features(1))).version == 1
        process.send_signal(stop)
        rest = process.stderr.read()
        assert process.wait(30) == 0
    assert "draining" in rest
    assert "closed after" in rest
    assert "Traceback" not in rest


def test_a_port_in_use_is_heard_of_at_once(tmp_path: Path, transport: Transport) -> None:
    models.linear(tmp_path)
    with serving(tmp_path, transport) as server:
        port = server.address.split(":")[1]
        command = [
            sys.executable,
            "-m",
            "skylane.server",
            "--models",
            str(tmp_path),
            "--port",
            port,
            "--transport",
            transport,
        ]
        second = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert second.returncode == 1
    assert f"port: 127.0.0.1:{port} cannot be bound" in second.stderr
    assert "Traceback" not in second.stderr


def test_a_repository_that_is_not_there(tmp_path: Path) -> None:
    expected = pytest.raises(CannotStart, match="is not a directory: name the model repository with --models")
    with expected, serving(tmp_path / "none"):
        pass
