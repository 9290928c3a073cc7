"""The log: for people and for machines, with the id of the request that a line tells of."""

import contextlib
import json
import logging
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from skylane.server.observability.logs import CORE_VERBOSITY, TEXT_MAX, Console, JsonLines, RecentEvents
from skylane.server.observability.snapshot import EVENTS_MAX
from skylane.v1.prediction_pb2 import PredictResponse
from support import models
from support.calls import ask, open_channel, predict
from support.process import Served


def record(text: str = "%s is ready", tail: bytes = b"", error: BaseException | None = None) -> logging.LogRecord:
    exc_info = (type(error), error, error.__traceback__) if error else None
    made = logging.LogRecord("skylane.server.app", logging.INFO, "", 0, text, ("m/1",), exc_info)
    made.call_tail = tail
    return made


def tail(request_id: str) -> bytes:
    return PredictResponse(request_id=request_id).SerializeToString()


@pytest.mark.parametrize(
    "request_id",
    [
        pytest.param("", id="none"),
        pytest.param("a-1", id="short"),
        pytest.param("é" * 300, id="so long that its length takes two bytes"),
        pytest.param('"\n', id="what would break a line"),
    ],
)
def test_lines_for_machines_are_json_with_the_id_of_the_request(request_id: str) -> None:
    line = JsonLines().format(record(tail=tail(request_id)))
    told = json.loads(line)
    assert "\n" not in line
    assert (told["level"], told["logger"], told["text"]) == ("info", "skylane.server.app", "m/1 is ready")
    assert told.get("request_id", "") == request_id
    assert told["at"].endswith("+00:00")


def test_a_traceback_is_one_field() -> None:
    try:
        raise RuntimeError("no")
    except RuntimeError as error:
        told = json.loads(JsonLines().format(record(error=error)))
    assert told["traceback"].endswith("RuntimeError: no")


def test_lines_for_people() -> None:
    assert Console().format(record()).endswith("INFO    m/1 is ready")
    assert Console(supervised=True).format(record(tail=tail("a'"))).endswith('] m/1 is ready (request "a\'")')


FORGED = "node\n2026-12-01 00:00:00,000 INFO    all is well"


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(FORGED, id="a line break"),
        pytest.param("a\rb", id="a carriage return, which hides what is before it"),
        pytest.param("\x1b[2K\x1b[1A", id="sequences that move a terminal's cursor"),
        pytest.param("a\x9bb", id="the same in one character"),
        pytest.param("a\u2028b\u2029c\x85d", id="line breaks of Unicode"),
        pytest.param("\u202egnp.exe", id="text that runs the other way"),
        pytest.param("a\x00b\x7fc", id="other control characters"),
    ],
)
def test_no_name_can_forge_a_line(text: str) -> None:
    """Wherever it comes from: an argument, the text itself, an exception, its cause or a request's id."""
    try:
        try:
            raise ValueError(text)
        except ValueError as cause:
            raise RuntimeError(text) from cause
    except RuntimeError as error:
        made = record(f"%s {text}", tail(text), error)
    made.args = (text,)
    made.stack_info = text
    logging.Formatter().format(made)  # another handler, which keeps what it wrote of the traceback
    first, *others = Console().format(made).split("\n")
    assert all(line.startswith("  | ") for line in others)
    (machine,) = JsonLines().format(made).split("\n")
    for line in (first, *others, machine):
        assert line.isprintable()
    assert json.loads(machine)["text"] == f"{text} {text}"
    recent = RecentEvents()
    recent.emit(made)
    assert recent.events[0].text.isprintable()


def test_python_itself_writes_json_too() -> None:
    """Warnings, and what nobody caught, wherever it was raised."""
    script = """
import threading, warnings
from skylane.server.observability import logs
logs.set_up("info", "json")
warnings.warn("careful")
class Bad:
    def __del__(self): raise ValueError("while it is collected")
Bad()
def fail(): raise ValueError("in a thread")
thread = threading.Thread(target=fail)
thread.start()
thread.join()
raise ValueError("at the end")
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    told = [json.loads(line) for line in done.stderr.splitlines()]
    assert [(each["level"], bool(each.get("traceback"))) for each in told] == [
        ("warning", False),
        *[("critical", True)] * 3,
    ]
    for each, text in zip(told, ("careful", "while it is collected", "in a thread", "at the end"), strict=True):
        assert text in each["text"]
    assert done.returncode == 1


def test_why_a_server_cannot_start_is_json_too(tmp_path: Path) -> None:
    for arguments, text in ((("--log-format", "json"), '"critical"'), ((), "skylane serve: models: ")):
        with Served("--models", str(tmp_path / "none"), *arguments) as served:
            (line,) = served.rest().splitlines()
            assert text in line
            assert "name the model repository" in (json.loads(line)["text"] if arguments else line)


def watch(channel: grpc.Channel) -> Any:
    """How the server fares, from now on: a call that is open for as long as it serves."""
    return channel.unary_stream("/grpc.health.v1.Health/Watch")


@pytest.mark.parametrize("transport", ["native", "grpcio"])
def test_a_server_that_drains_writes_json_alone(
    tmp_path: Path, transport: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also the C core of grpc, here asked for everything that it can tell, and grpcio, of calls that are open."""
    models.linear(tmp_path)
    monkeypatch.delenv(CORE_VERBOSITY, raising=False)
    monkeypatch.setenv("GRPC_TRACE", "http,channel")
    arguments = ("--models", str(tmp_path), "--transport", transport, "--log-format", "json", "--poll-s", "0")
    with Served(*arguments) as served, contextlib.ExitStack() as held:
        address = json.loads(served.until("serving 1 model"))["text"].split(" on ")[1].split(" ")[0]
        watching = []  # held, else they are cancelled
        for _ in range(8):
            channel = held.enter_context(open_channel(address))
            watching.append(watch(channel)(b"", timeout=60))
            next(watching[-1])
        served.process.send_signal(signal.SIGTERM)
        lines = [json.loads(line) for line in served.rest().splitlines()]
        assert served.process.wait(60) == 0
    assert {line["level"] for line in lines} == {"info"}


def test_an_operator_may_hear_the_core_of_grpc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    models.linear(tmp_path)
    monkeypatch.setenv("GRPC_TRACE", "http,channel")
    monkeypatch.setenv(CORE_VERBOSITY, "DEBUG")
    with Served("--models", str(tmp_path), "--log-format", "json", "--poll-s", "0") as served:
        served.until("serving 1 model")
        served.process.send_signal(signal.SIGTERM)
        assert any(not line.startswith("{") for line in served.rest().splitlines())


def test_the_latest_lines_are_kept_and_cut() -> None:
    recent = RecentEvents()
    for number in range(EVENTS_MAX + 5):
        recent.emit(record(f"{number} %s"))
    assert [event.text for event in recent.events] == [f"{number} m/1" for number in range(5, EVENTS_MAX + 5)]
    recent.emit(record("%s" + "x" * 2 * TEXT_MAX))
    assert len(recent.events[-1].text) == TEXT_MAX


def test_a_server_writes_json_alone_and_tells_of_the_request_that_failed(tmp_path: Path) -> None:
    models.touchy(tmp_path)
    arguments = ("--models", str(tmp_path), "--log-format", "json", "--poll-s", "0")
    with Served(*arguments) as served:
        address = json.loads(served.until("serving 1 model"))["text"].split(" on ")[1].split(" ")[0]
        request = ask("touchy", "the-one", text=np.array([["x"]], object))
        with open_channel(address) as channel, pytest.raises(grpc.RpcError, match="failed on these rows"):
            predict(channel)(request, timeout=60)
        told = json.loads(served.until("failed on a request"))
        assert told["request_id"] == "the-one"
        assert "traceback" in told
    assert all(json.loads(line) for line in served.lines)
