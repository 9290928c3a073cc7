"""Clients in Go and Java, with Google's own gRPC for each: streams, deadlines, large messages, cancelled calls.

Where Debian's packages of both are installed; `make interop` names them.
"""

import base64
import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from skylane.v1.prediction_pb2 import PredictResponse, PredictStreamResponse
from support.calls import PREDICT, STREAM, ask, features

HERE = Path(__file__).parent

pytestmark = pytest.mark.slow
DEBIAN = Path("/usr/share")
JARS = (
    *("grpc-api", "grpc-core", "grpc-context", "grpc-netty", "grpc-stub"),
    *("netty-buffer", "netty-codec", "netty-codec-http", "netty-codec-http2", "netty-codec-socks", "netty-common"),
    *(
        "netty-handler",
        "netty-handler-proxy",
        "netty-resolver",
        "netty-transport",
        "netty-transport-native-unix-common",
    ),
    *("perfmark-api", "guava", "gson"),
)

ROWS = features(3)
SMALL = ask("linear", features=ROWS).SerializeToString()
LARGE = ask("linear", features=features(8000)).SerializeToString()
TOO_LARGE = ask("linear", features=features(30_000)).SerializeToString()
"""More rows than the model takes, and more bytes than a stream's first window."""


def exchange(messages: Sequence[bytes], calls: int = 1, method: str = PREDICT, **more: Any) -> dict[str, Any]:
    bodies = [base64.b64encode(message).decode() for message in messages]
    return {"method": method, "messages": bodies, "calls": calls, "timeout_ms": 20_000, **more}


EXCHANGES = {
    "many at once": exchange([SMALL], 300),
    "in many frames": exchange([LARGE]),
    "compressed": exchange([LARGE], gzip=True),
    "beyond the window": exchange([TOO_LARGE], 3),
    "beyond the window, ended apart": exchange([TOO_LARGE], 3, streams=True),
    "a stream": exchange([SMALL] * 50 + [TOO_LARGE, SMALL], 4, STREAM, streams=True),
    "cancelled": exchange([LARGE], 20, streams=True, cancels=True),
    "cancelled, and would wait": exchange(
        [b""], 5, "/grpc.health.v1.Health/Watch", streams=True, cancels=True
    ),
    "no time": exchange([SMALL], 3, timeout_ms=0),
    "unknown model": exchange([ask("lienar", features=ROWS).SerializeToString()]),
    "unknown method": exchange([b""], method="/no.Such/Method"),
    "health": exchange([b""], method="/grpc.health.v1.Health/Check"),
}  # fmt: skip


def in_go(folder: Path) -> list[str]:
    """The client, compiled: a command. Skips without Go and its gRPC."""
    if shutil.which("go") is None:
        pytest.skip("go is not installed; `make interop` says how to get it")
    paths = (os.environ.get("GOPATH", str(Path.home() / "go")), DEBIAN / "gocode")
    environment = {"GO111MODULE": "off", "GOPATH": os.pathsep.join(map(str, paths)), "GOCACHE": str(folder / "cache")}
    built = subprocess.run(
        ["go", "build", "-o", str(folder / "client"), str(HERE / "client.go")],
        env=os.environ | environment, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    if "cannot find package" in built.stderr:
        pytest.skip("Go has no gRPC here; `make interop` says how to get it")
    assert built.returncode == 0, built.stderr
    return [str(folder / "client")]


def in_java(_: Path) -> list[str]:
    """A command that compiles the client and runs it. Skips without Java and its gRPC."""
    if shutil.which("javac") is None:
        pytest.skip("java is not installed; `make interop` says how to get it")
    jars = [DEBIAN / "java" / f"{name}.jar" for name in JARS]
    if not all(jar.exists() for jar in jars):
        pytest.skip("Java has no gRPC here; `make interop` says how to get it")
    return ["java", "-cp", os.pathsep.join(map(str, jars)), str(HERE / "Client.java")]


@pytest.fixture(scope="session", params=[pytest.param(in_go, id="Go"), pytest.param(in_java, id="Java")])
def command(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The client in each language."""
    made: list[str] = request.param(tmp_path_factory.mktemp("client"))
    return made


@pytest.fixture(scope="module")
def report(command: list[str], server_address: str) -> dict[str, list[dict[str, Any]]]:
    """What the client printed: for each exchange, what became of its calls."""
    run = subprocess.run(
        [*command, server_address], input=json.dumps(EXCHANGES),
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    printed: dict[str, list[dict[str, Any]]] = json.loads(run.stdout)
    return printed


def code_of(result: dict[str, Any]) -> str:
    """Java writes codes as gRPC does, Go in its own way."""
    code: str = result["code"]
    return code.replace("_", "").upper().replace("CANCELED", "CANCELLED")


def replies(result: dict[str, Any]) -> list[bytes]:
    assert code_of(result) == "OK", result
    return [base64.b64decode(reply) for reply in result["replies"]]


def scores(reply: PredictResponse) -> Any:
    (data,) = [output.data for output in reply.outputs if output.name == "score"]
    return np.frombuffer(data, np.float32)


@pytest.mark.parametrize("name", ["many at once", "in many frames", "compressed"])
def test_every_call_is_answered(report: dict[str, list[dict[str, Any]]], name: str) -> None:
    expected = features(len(ROWS) if name == "many at once" else 8000).sum(axis=1)
    for result in report[name]:
        (reply,) = replies(result)
        np.testing.assert_allclose(scores(PredictResponse.FromString(reply)), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["beyond the window", "beyond the window, ended apart"])
def test_a_message_longer_than_the_window_is_heard(report: dict[str, list[dict[str, Any]]], name: str) -> None:
    """Its client sends nothing more when no room is left behind it, not even that it has ended."""
    assert len(report[name]) == 3
    for result in report[name]:
        assert (code_of(result), "30000 rows" in result["detail"]) == ("INVALIDARGUMENT", True), result


def test_streams_go_on_after_a_fault(report: dict[str, list[dict[str, Any]]]) -> None:
    assert len(report["a stream"]) == 4
    for result in report["a stream"]:
        told = [PredictStreamResponse.FromString(reply) for reply in replies(result)]
        answers = [reply.response for reply in told if reply.WhichOneof("result") == "response"]
        assert (len(told), len(answers)) == (52, 51)
        for answer in answers:
            np.testing.assert_allclose(scores(answer), ROWS.sum(axis=1), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "code", "detail"),
    [
        ("cancelled, and would wait", "CANCELLED", ""),
        ("no time", "DEADLINEEXCEEDED", ""),
        ("unknown model", "NOTFOUND", "did you mean 'linear'?"),
        ("unknown method", "UNIMPLEMENTED", "/no.Such/Method"),
    ],
)
def test_what_fails_is_told(report: dict[str, list[dict[str, Any]]], name: str, code: str, detail: str) -> None:
    for result in report[name]:
        assert code_of(result) == code
        assert detail in result["detail"]


def test_who_cancels_is_not_answered_or_was_too_late(report: dict[str, list[dict[str, Any]]]) -> None:
    assert {code_of(result) for result in report["cancelled"]} <= {"CANCELLED", "OK"}


def test_health(report: dict[str, list[dict[str, Any]]]) -> None:
    assert replies(report["health"][0]) == [b"\x08\x01"]
