"""Several workers on one port, as a client and an operator see them: one server."""

import contextlib
import os
import queue
import re
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from skylane.server.core.settings import Transport
from skylane.v1.prediction_pb2 import PredictRequest, PredictStreamResponse
from support import models
from support.calls import ask, features, open_channel, predict, predict_stream
from support.process import Served

CONNECTIONS = 24
"""The kernel spreads them at random: that one of two workers gets none happens once in 8 million runs."""


class Conversation:
    """One connection with one stream that stays open: it is with one worker for as long as that lives."""

    def __init__(self, address: str) -> None:
        self.channel = open_channel(address)
        self._requests: queue.SimpleQueue[PredictRequest | None] = queue.SimpleQueue()
        self._replies: Any = predict_stream(self.channel)(
            iter(self._requests.get, None), wait_for_ready=True, timeout=60
        )

    def send(self, model: str, rows: int = 1) -> None:
        """Ask, without waiting for the answer. No rows are refused at once."""
        self._requests.put(ask(model, request_id=f"{model} {rows}", features=features(rows)))

    def answer(self) -> PredictStreamResponse:
        """The next answer. Raises grpc.RpcError if the stream is broken."""
        reply: PredictStreamResponse = next(self._replies)
        return reply

    def hang_up(self) -> None:
        """Say that nothing more comes, and close."""
        self._requests.put(None)
        self.channel.close()


@contextlib.contextmanager
def conversations(address: str) -> Iterator[list[Conversation]]:
    """As many connections as spread over all workers."""
    held = [Conversation(address) for _ in range(CONNECTIONS)]
    try:
        yield held
    finally:
        for each in held:
            each.hang_up()


def answered(held: Sequence[Conversation]) -> list[Conversation]:
    """Those whose worker answers one more request."""
    for each in held:
        each.send("linear")
    alive = []
    for each in held:
        with contextlib.suppress(grpc.RpcError):
            assert each.answer().response.version == 1
            alive.append(each)
    return alive


@pytest.fixture
def temporary(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where servers put what is not to stay. The name of a test's own directory is too long for a socket's path."""
    with tempfile.TemporaryDirectory() as directory:
        monkeypatch.setenv("TMPDIR", directory)
        yield Path(directory)


def slow_model(root: Path) -> None:
    """`slow` waits a second for company: whoever asks is in flight meanwhile."""
    models.linear(root, "slow")
    (root / "slow" / "model.toml").write_text("[batching]\nmax_queue_delay_ms = 1000\n")


def test_two_workers_are_one_server(tmp_path: Path, transport: Transport, temporary: Path) -> None:
    models.linear(tmp_path)
    slow_model(tmp_path)
    with Served("--models", str(tmp_path), "--transport", transport, "--workers", "2", "--grace-s", "20") as served:
        told = re.search(r"serving on (\S+) with 2 workers \(pids (\d+), (\d+)\)", served.until("serving on"))
        assert told is not None
        address, victim = told[1], int(told[2])
        assert [f"({transport} transport)" in line for line in served.lines if "worker with" in line] == [True, True]

        with conversations(address) as held:
            assert len(answered(held)) == CONNECTIONS
            os.kill(victim, signal.SIGKILL)
            assert f"(pid {victim}, SIGKILL) ended" in served.until("ended after")
            assert list(temporary.glob(f"*/{victim}-*")) == [], "what it left is cleared"
            survivors = answered(held)
            assert 0 < len(survivors) < CONNECTIONS, "those of the other worker have noticed nothing"

            with open_channel(address) as channel:  # the port is open, whether or not the next worker is there
                assert (
                    predict(channel)(ask("linear", features=features(1)), wait_for_ready=True, timeout=60).version == 1
                )
            served.until("is ready after")
            assert len(answered(survivors)) == len(survivors)

        with conversations(address) as held:
            for each in held:
                each.send("slow")
                each.send("slow", rows=0)
            for each in held:
                assert each.answer().request_id == "slow 0", "its worker has read what came before"
            with open_channel(address) as channel:
                check = health_pb2_grpc.HealthStub(channel).Check  # type: ignore[attr-defined]
                assert check(health_pb2.HealthCheckRequest()).status == health_pb2.HealthCheckResponse.SERVING
            served.process.send_signal(signal.SIGTERM)
            for each in held:
                assert each.answer().response.version == 1, "what was in flight is answered"
        assert served.process.wait(60) == 0
        said = served.rest()
    assert said.count("closed after") == 2
    assert "Traceback" not in said
    assert list(temporary.glob("skylane-*")) == []


def test_a_worker_that_is_told_to_end_loses_no_request(tmp_path: Path) -> None:
    """Its clients hear of it, finish what they began there, and go on with the other."""
    models.linear(tmp_path)
    request, answers, enough = ask("linear", features=features(1)), threading.Semaphore(0), threading.Event()
    failures = list[str]()

    def ask_on(address: str) -> None:
        with open_channel(address) as channel:
            while not enough.is_set():
                try:
                    predict(channel)(request, timeout=60)
                except grpc.RpcError as error:
                    failures.append(str(error))
                answers.release()

    def some_are_answered() -> None:
        for _ in range(50 * CONNECTIONS):
            assert answers.acquire(timeout=60)

    with Served("--models", str(tmp_path), "--workers", "2") as served:
        told = re.search(r"serving on (\S+) with 2 workers \(pids (\d+), (\d+)\)", served.until("serving on"))
        assert told is not None
        callers = [threading.Thread(target=ask_on, args=(told[1],)) for _ in range(CONNECTIONS)]
        for caller in callers:
            caller.start()
        some_are_answered()
        os.kill(int(told[2]), signal.SIGTERM)
        served.until(f"(pid {told[2]}, exit code 0) ended")
        some_are_answered()
        enough.set()
        for caller in callers:
            caller.join(60)
    assert failures == []


def test_a_worker_that_takes_the_place_of_another_does_as_the_others_do(tmp_path: Path) -> None:
    """A roll-back is kept although model.toml was spoilt meanwhile, and a model that is broken keeps nobody away."""
    root, elsewhere = tmp_path / "models", tmp_path / "elsewhere"
    models.linear(root, version=1)
    models.linear(root, version=2)
    (models.mixed(elsewhere) / "model.onnx").write_bytes(b"nonsense")
    (elsewhere / "model.toml").write_text("versions.latest =\n")
    (root / "linear" / "model.toml").write_text("versions.latest = 1\n")
    with Served("--models", str(root), "--workers", "2", "--poll-s", "0.1") as served:
        told = re.search(r"serving on (\S+) with 2 workers \(pids (\d+), (\d+)\)", served.until("serving on"))
        assert told is not None
        (elsewhere / "model.toml").replace(root / "linear" / "model.toml")
        (elsewhere / "mixed").rename(root / "mixed")
        for _ in range(2):
            served.until("mixed/1 refused")
        assert sum("it is served by the last model.toml that could be used" in line for line in served.lines) == 2
        os.kill(int(told[2]), signal.SIGKILL)
        served.until("is ready after")
        for _ in range(CONNECTIONS):
            with open_channel(told[1]) as channel:
                assert predict(channel)(ask("linear", features=features(1)), timeout=60).version == 1
                check = health_pb2_grpc.HealthStub(channel).Check  # type: ignore[attr-defined]
                assert check(health_pb2.HealthCheckRequest()).status == health_pb2.HealthCheckResponse.SERVING


def test_workers_end_with_their_supervisor(tmp_path: Path, transport: Transport, temporary: Path) -> None:
    models.linear(tmp_path)
    with Served("--models", str(tmp_path), "--transport", transport, "--workers", "2") as served:
        served.until("serving on")
        served.process.kill()
        said = served.rest()  # ends when nobody is left to write
        assert said.count("draining") == 2
        assert said.count("closed after") == 2
    assert list(temporary.glob("skylane-*")) == []


def test_a_port_in_use_is_heard_of_at_once(server_address: str, small_models: Path) -> None:
    port = server_address.split(":")[1]
    command = [sys.executable, "-m", "skylane.server", "--models", str(small_models), "--port", port, "--workers", "2"]
    second = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (second.returncode, second.stdout) == (1, "")
    assert second.stderr.count(f"port: {server_address} cannot be bound: another server may be using it") == 1
    assert len(second.stderr.splitlines()) == 1


def test_a_repository_that_is_not_there_is_told_once(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "skylane.server",
        "--models",
        str(tmp_path / "none"),
        "--port",
        "0",
        "--workers",
        "2",
    ]
    refused = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert refused.returncode == 1
    assert refused.stderr.count("is not a directory: name the model repository with --models") == 1
    assert len(refused.stderr.splitlines()) == 1


def test_one_worker_needs_no_supervisor(tmp_path: Path) -> None:
    models.linear(tmp_path)
    with Served("--models", str(tmp_path), "--workers", "1") as served:
        assert "1 worker × 1 model × 1 intra-op thread" in served.until("CPU budget")
        served.until("serving 1 model on")
        served.process.send_signal(signal.SIGTERM)
        assert served.process.wait(60) == 0
        assert str(served.process.pid) not in served.rest()


@pytest.mark.parametrize(
    ("given", "said"), [("0", "expected 1 to 256"), ("many", "invalid number or auto value: 'many'")]
)
def test_a_number_of_workers_that_is_refused(given: str, said: str) -> None:
    command = [sys.executable, "-m", "skylane.server", "--workers", given]
    refused = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert refused.returncode == 2
    assert said in refused.stderr
