"""Locust itself, as a load tester calls it, against real servers."""

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bench.load.scenarios import SCENARIOS
from bench.load.wire import WAYS
from bench.servers import free_port
from support.server import RunningServer, serving

ROOT = Path(__file__).parents[3]
TOGETHER = 3
"""Runs side by side."""


@dataclass(frozen=True)
class Ended:
    """What Locust left."""

    code: int
    rows: list[dict[str, Any]]
    said: str

    @property
    def requests(self) -> int:
        """How many were sent."""
        return sum(row["num_requests"] for row in self.rows)

    @property
    def names(self) -> set[str]:
        """Under what they were counted."""
        return {f"{row['method']} {row['name']}" for row in self.rows if row["num_requests"]}


@pytest.fixture(scope="module")
def server(small_models: Path) -> Iterator[RunningServer]:
    """The small models, over gRPC and HTTP."""
    with serving(small_models, http_port=0) as running:
        yield running


def start(*arguments: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "locust", "-f", "bench/locustfile.py", "--headless", "--only-summary", "--json"]
    pipe = subprocess.PIPE
    return subprocess.Popen([*command, *arguments], cwd=ROOT, stdout=pipe, stderr=pipe, text=True)


def end(process: "subprocess.Popen[str]") -> Ended:
    out, said = process.communicate(timeout=100)
    rows, decoder = list[dict[str, Any]](), json.JSONDecoder()
    while out.strip():  # every process writes a list; a worker's is empty
        found, read = decoder.raw_decode(out.lstrip())
        rows, out = rows + found, out.lstrip()[read:]
    return Ended(process.returncode, rows, said)


def locust(*arguments: str) -> Ended:
    return end(start(*arguments))


def usual(server: RunningServer, *more: str) -> list[str]:
    return ["--host", server.address, "--model", "linear", "-t", "1s", "--users", "4", *more]


def test_every_scenario(server: RunningServer) -> None:
    waiting = list(SCENARIOS)
    running: dict[str, subprocess.Popen[str]] = {}
    ended: dict[str, Ended] = {}
    while waiting or running:
        while waiting and len(running) < TOGETHER:
            name = waiting.pop()
            running[name] = start(*usual(server, "--scenario", name, "--rate", "40", "--large-rows", "30"))
        name = next(iter(running))
        ended[name] = end(running.pop(name))
    for name, each in ended.items():
        assert each.code == 0, (name, each.said)
        assert each.requests > 10, (name, each.said)
        assert all(row["num_failures"] == 0 for row in each.rows), (name, each.rows)
    assert ended["mixed-models"].names == {"predict linear", "predict mixed", "predict touchy"}


def test_every_way_to_ask_and_what_is_wrong_is_refused_for_what_it_is(server: RunningServer, tmp_path: Path) -> None:
    http, report = f"127.0.0.1:{server.http_port}", tmp_path / "report.html"
    ended = locust(
        *usual(
            server,
            "--scenario",
            "bad-input",
            "--ask",
            "all",
            "--http",
            http,
            "--users",
            "8",
            "-t",
            "2s",
            "--html",
            str(report),
        )
    )
    assert ended.code == 0, ended.said
    assert {f"{way} linear" for way in WAYS} <= ended.names
    assert any("wrong" in name for name in ended.names)
    assert all(row["num_failures"] == 0 for row in ended.rows), ended.rows
    assert "predict" in report.read_text()


def test_several_processes_share_a_rate(server: RunningServer) -> None:
    ended = locust(*usual(server, "--processes", "2", "--rate", "60", "-t", "3s"))
    assert ended.code == 0, ended.said
    assert 10 < ended.requests < 400  # not twice the rate, whatever the machine is doing


@pytest.mark.parametrize(
    ("more", "code", "says"),
    [
        pytest.param(["--max-p99-ms", "0.0001"], 1, "FAILED: p99 of predict linear", id="a threshold that is broken"),
        pytest.param(["--model", "nobody"], 2, "there is no model 'nobody'", id="a model that is not there"),
        pytest.param(["--ask", "rest"], 2, "--ask rest needs --http HOST:PORT", id="REST without its port"),
    ],
)
def test_exit_codes(server: RunningServer, more: Sequence[str], code: int, says: str) -> None:
    ended = locust(*usual(server, *more))
    assert (ended.code, says in ended.said) == (code, True), ended.said


def test_no_server() -> None:
    address = f"127.0.0.1:{free_port()}"
    ended = locust("--host", address, "-t", "2s")
    assert ended.code == 2, ended.said
    assert f"the server at {address} cannot be asked" in ended.said
    assert "skylane serve --models models" in ended.said


def test_our_options_have_a_help() -> None:
    """Locust's own --help does not read a locustfile."""
    command = [sys.executable, "-m", "bench.load"]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert all(option in told for option in ("--scenario", "--rate", "--zipf", "--max-p99-ms", "--max-error-rate"))
