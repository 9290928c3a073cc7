"""What callers and probes hear while a server loads its models."""

import contextlib
import re
import signal
import socket
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from skylane.server.core.settings import Transport
from support import models
from support.calls import ask, features, open_channel, predict
from support.http import Http
from support.process import Served

SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING

SCRIPT = """
import asyncio, socket, sys
from pathlib import Path
from skylane.server.observability import logs
from skylane.server.core.settings import Settings
from skylane.server.repository.verified_loading import load_version
{imports}

def load(directory, name, version, policy):
    with socket.socket(socket.AF_UNIX) as door:
        door.connect(sys.argv[2])
        door.sendall(name.encode())
        door.recv(1)  # until the test lets it go on
    return load_version(directory, name, version, policy)

logs.set_up("info", "console")
settings = Settings(models=Path(sys.argv[1]), transport=sys.argv[3], http_port=0, port=0, grace_s=0, workers={workers})
{run}
"""
ALONE = SCRIPT.format(
    imports="from skylane.server.lifecycle import serve", workers=1, run="asyncio.run(serve(settings, load))"
)
WORKER = """
import dataclasses
options = dict(part.partition("=")[::2] for part in sys.argv[4:])
settings = dataclasses.replace(
    settings, port=int(options["--port"]), http_port=int(options["--http-port"]), supervised=True,
    replaces="--replaces" in options, inherited=(),
)
asyncio.run(work(settings, load))
"""
SUPERVISOR = """
from skylane.server.host import signals
from skylane.server.process import supervisor
from skylane.server.process.supervisor import Supervisor, held_port

async def run():
    stop = signals.asked_to_stop()
    with held_port("127.0.0.1", 0) as grpc_port, held_port("127.0.0.1", 0) as http:
        options = [f"--port={grpc_port.port}", f"--http-port={http.port}"]
        command = [sys.executable, "-c", sys.argv[4], *sys.argv[1:4], *options]
        await Supervisor(settings, grpc_port.port, command).run(stop)

asyncio.run(run())
"""


class Loads:
    """Where loads knock, each held until the test lets it go on."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(path)
        self._listening.listen()
        self._listening.settimeout(60)
        self.held: list[socket.socket] = []

    def begun(self) -> str:
        """The model whose load begins next; it is held from now on."""
        held, _ = self._listening.accept()
        self.held.append(held)
        return held.recv(100).decode()

    def let_go(self) -> None:
        """Let the load that has been held for the longest go on."""
        self.held.pop(0).close()

    def close(self) -> None:
        """Let everything go on."""
        for each in (*self.held, self._listening):
            each.close()


@pytest.fixture
def loads() -> Iterator[Loads]:
    """A test's own directory has a name too long for a socket's path."""
    with tempfile.TemporaryDirectory() as folder, contextlib.closing(Loads(f"{folder}/loads")) as made:
        yield made


@pytest.fixture
def two_models(tmp_path: Path) -> Path:
    """A repository of `first` and `second`."""
    for name in ("first", "second"):
        models.linear(tmp_path, name)
    return tmp_path


def ports(line: str) -> tuple[str, int]:
    """Where gRPC and HTTP are, by the line that a server logs when it listens."""
    found = re.search(r"listening on (\S+) for gRPC, http://127.0.0.1:(\d+) for HTTP;", line)
    assert found
    return found[1], int(found[2])


def status_of(channel: grpc.Channel, service: str = "") -> int:
    """What the health service says."""
    check = health_pb2_grpc.HealthStub(channel).Check  # type: ignore[attr-defined]
    return int(check(health_pb2.HealthCheckRequest(service=service), timeout=30).status)


def refusal(channel: grpc.Channel, model: str) -> tuple[grpc.StatusCode, str]:
    """How a request for this model is refused."""
    with pytest.raises(grpc.RpcError) as refused:
        predict(channel)(ask(model, features=features(1)), timeout=30)
    return refused.value.code(), refused.value.details() or ""


def test_the_ports_answer_while_models_load(loads: Loads, two_models: Path, transport: Transport) -> None:
    command = [sys.executable, "-c", ALONE, str(two_models), loads.path, transport]
    with Served(command=command) as served:
        address, port = ports(served.until("listening on"))
        assert loads.begun() == "first"
        with open_channel(address) as channel, Http(port) as http:
            assert http.get("/healthz").status == 200
            ready = http.get("/readyz")
            assert (ready.status, ready.json) == (503, {"ready": False, "reason": "0 of 2 models loaded"})
            assert status_of(channel) == NOT_SERVING
            assert refusal(channel, "first") == (
                grpc.StatusCode.UNAVAILABLE,
                "model 'first' is not loaded yet: it is one of 2 that are still to be loaded",
            )
            assert refusal(channel, "third")[0] is grpc.StatusCode.NOT_FOUND
            late = http.post("/v1/models/first:predict", {"rows": [{}]})
            assert late.error == (503, "model 'first' is not loaded yet: it is one of 2 that are still to be loaded")
            assert http.get("/v2/models/second/ready").status == 503

            loads.let_go()
            assert loads.begun() == "second"
            assert predict(channel)(ask("first", features=features(1)), timeout=30).version == 1
            assert http.get("/v2/models/first/ready").status == 200
            assert http.get("/readyz").status == 503, "not ready before everything is loaded or refused"
            assert status_of(channel) == NOT_SERVING
            assert refusal(channel, "second")[0] is grpc.StatusCode.UNAVAILABLE

            loads.let_go()
            served.until("serving 2 models")
            assert http.get("/readyz").json == {"ready": True}
            assert status_of(channel) == SERVING
            assert status_of(channel, "second") == SERVING


def test_a_signal_ends_a_server_whose_load_never_ends(loads: Loads, two_models: Path, transport: Transport) -> None:
    command = [sys.executable, "-c", ALONE, str(two_models), loads.path, transport]
    with Served(command=command) as served:
        served.until("listening on")
        assert loads.begun() == "first"
        served.process.send_signal(signal.SIGTERM)
        assert served.process.wait(60) == 0
        said = served.rest()
    assert "stopped before it was ready" in said
    assert "Traceback" not in said


def test_workers_that_start_together_are_ready_together(loads: Loads, tmp_path: Path, transport: Transport) -> None:
    """A worker that has loaded everything is not ready before the other is: whichever answers says the same."""
    models.linear(tmp_path)
    worker = SCRIPT.format(imports="from skylane.server.worker import work", workers=2, run=WORKER)
    script = SCRIPT.format(imports="", workers=2, run=SUPERVISOR)
    command = [sys.executable, "-c", script, str(tmp_path), loads.path, transport, worker]
    with Served(command=command) as served:
        _, port = ports(served.until("listening on"))
        assert (loads.begun(), loads.begun()) == ("linear", "linear")
        for _ in range(8):
            with Http(port) as http:
                assert http.get("/healthz").status == 200
                assert http.get("/readyz").status == 503
        loads.let_go()
        served.until("worker with 1 model")
        for _ in range(8):
            with Http(port) as http:
                assert http.get("/readyz").status == 503
        loads.let_go()
        served.until("with 2 workers")
        served.process.send_signal(signal.SIGTERM)
        assert served.process.wait(60) == 0
