"""Locust itself, as a load tester calls it, against real servers."""

import argparse
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest

from skylane.bench.load.options import add_options
from skylane.bench.servers import free_port
from skylane.bench.workload.scenarios import SCENARIOS
from skylane.bench.workload.wire import WAYS
from support import models
from support.server import Gate, RunningServer, serving

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]
TOGETHER = 4
"""Runs side by side: most of the time they start, or wait."""


@dataclass(frozen=True)
class Ended:
    """What Locust left."""

    code: int
    rows: list[dict[str, Any]]
    said: str
    report: str = ""

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


def enough(*arguments: str) -> Ended:
    """A run that sent some requests: on a busy machine a second may be over before the first, so it is made longer."""
    for seconds in (1, 5, 25):
        ended = locust(*arguments, "-t", f"{seconds}s")
        if ended.requests > 10:
            break
    return ended


def usual(server: RunningServer, *more: str) -> list[str]:
    return ["--host", server.address, "--model", "linear", "-t", "1s", "--users", "4", *more]


def two_processes() -> list[str]:
    """With a port of their own, on which they meet: other runs may have Locust's usual one."""
    port = str(free_port())
    return ["--processes", "2", "--master-bind-port", port, "--master-port", port]


REFUSED = {
    "a model that is not there": (["--model", "nobody"], "there is no model 'nobody'"),
    "not there for any process": (["--model", "nobody", *two_processes()], "there is no model 'nobody'"),
    "REST without its port": (["--ask", "rest"], "--ask rest needs --http HOST:PORT"),
    "a port that nobody has": (["--ask", "rest", "--http", "127.0.0.1:1"], "nobody answers HTTP at 127.0.0.1:1"),
    "no address at all": (["--host", ""], "there is no server to ask: start one with `skylane serve"),
    "no server there": (["--host", "127.0.0.1:1"], "the server at 127.0.0.1:1 cannot be asked"),
}
"""What is wrong → arguments, and what is said."""


def stalling(repository: Path) -> Ended:
    """A server that stops for a second with its first request."""
    gate = Gate()
    with serving(repository, load=gate.load) as server:
        running = start(*usual(server, "--rate", "100", "-t", "3s"))
        assert gate.entered.acquire(timeout=60)
        threading.Timer(1.0, gate.opened.set).start()
        return end(running)


def hanging(repository: Path) -> Ended:
    """A server that never answers. On a busy machine a second may be over before the first request: see `enough`."""
    gate = Gate()
    with serving(repository, load=gate.load) as server:
        for seconds in (1, 5, 25):
            length = ("-t", f"{seconds}s", "--deadline-ms", str(1000 * seconds))
            ended = locust(*usual(server, "--rate", "50", *length, *two_processes()))
            if ended.requests:
                break
        gate.opened.set()
        return ended


def overloaded(root: Path) -> Ended:
    """A server that is busy with the first request, and keeps no more than two waiting."""
    gate = Gate()
    models.linear(root)
    policy = "[batching]\nmax_batch_rows = 2\nmax_queue_rows = 2\nmax_request_rows = 2\n"
    (root / "linear" / "model.toml").write_text(policy)
    with serving(root, load=gate.load) as server:
        ended = locust(*usual(server, "--users", "20", "--rate", "100", "--deadline-ms", "1500"))
        gate.opened.set()
        return ended


def on_the_page(server: RunningServer) -> Ended:
    """Locust with its web page, which requests ten times the users of the command line, and a duration."""
    port = free_port()
    page = f"http://127.0.0.1:{port}"
    command = ["locust", "-f", "bench/locustfile.py", "--web-host", "127.0.0.1", "--web-port", str(port)]
    arguments = ["--host", server.address, "--model", "linear", "--users", "4", *two_processes()]
    nowhere = subprocess.DEVNULL
    process = subprocess.Popen([sys.executable, "-m", *command, *arguments], cwd=ROOT, stdout=nowhere, stderr=nowhere)

    def ask(path: str, **form: str) -> dict[str, Any]:
        data = urlencode(form).encode() if form else None
        with urlopen(page + path, data, timeout=60) as answer:
            told: dict[str, Any] = json.load(answer)
        return told

    try:
        until(lambda: len(ask("/stats/requests")["workers"]) == 2)
        ask("/swarm", user_count="40", spawn_rate="100", run_time="2s", rate="100")
        until(lambda: len(ask("/stats/requests")["stats"]) > 1)
        until(lambda: ask("/stats/requests")["state"] == "stopped")
        rows = ask("/stats/requests")["stats"]
    finally:
        process.terminate()
        code = process.wait(60)
    return Ended(code, [row for row in rows if row["name"] != "Aggregated"], "")


def until(holds: Callable[[], bool]) -> None:
    """Ask over and over, for a minute at most."""
    pause = threading.Event()
    for _ in range(600):
        with suppress(OSError):
            if holds():
                return
        pause.wait(0.1)
    pytest.fail("this did not come to hold within a minute")


@pytest.fixture(scope="module")
def ended(
    server: RunningServer, small_models: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], Ended]]:
    """What became of a run; all of them are started at first, a few at a time."""
    report = tmp_path_factory.mktemp("locust") / "report.html"
    every_way = ["--scenario", "bad-input", "--ask", "all", "--http", f"127.0.0.1:{server.http_port}"]
    wanted: dict[str, Sequence[str]] = {
        "processes": [*two_processes(), "--scenario", "ramp", "--rate", "200", "-t", "3s"],
        "every way": [*every_way, "--users", "10", "-t", "2s", "--html", str(report)],
        "threshold": ["--max-p99-ms", "0.0001"],
        **{name: more for name, (more, _) in REFUSED.items()},
    }
    scenarios = {name: ["--scenario", name, "--rate", "100", "--large-rows", "30"] for name in SCENARIOS}
    with ThreadPoolExecutor(TOGETHER) as pool:
        runs = {
            "page": pool.submit(on_the_page, server),
            "hang": pool.submit(hanging, small_models),
            "stall": pool.submit(stalling, small_models),
            "overload": pool.submit(overloaded, tmp_path_factory.mktemp("overloaded")),
            **{name: pool.submit(locust, *usual(server, *more)) for name, more in wanted.items()},
            **{name: pool.submit(enough, *usual(server, *more)) for name, more in scenarios.items()},
        }

        def wait(name: str) -> Ended:
            run = runs[name].result()
            return replace(run, report=report.read_text()) if name == "every way" else run

        yield wait


@pytest.mark.slow
@pytest.mark.parametrize("name", SCENARIOS)
def test_every_scenario(ended: Callable[[str], Ended], name: str) -> None:
    run = ended(name)
    assert run.code == 0, run.said
    assert run.requests > 10, run.said
    assert all(row["num_failures"] == 0 for row in run.rows), run.rows


def test_mixed_models_are_all_that_the_server_has(ended: Callable[[str], Ended]) -> None:
    assert ended("mixed-models").names == {"predict linear", "predict mixed", "predict touchy"}


def test_every_way_to_ask_and_what_is_wrong_is_refused_for_what_it_is(ended: Callable[[str], Ended]) -> None:
    run = ended("every way")
    assert run.code == 0, run.said
    assert {f"{way} linear" for way in WAYS} <= run.names
    assert any("wrong" in name for name in run.names)
    assert all(row["num_failures"] == 0 for row in run.rows), run.rows
    assert "rest-infer" in run.report


def test_several_processes_share_a_rate_and_its_curve(ended: Callable[[str], Ended]) -> None:
    """300 at most. Each at the whole rate would be 600; along the scenario's minute instead of these seconds, 15."""
    run = ended("processes")
    assert run.code == 0, run.said
    assert 30 < run.requests < 400  # six times the spread of random arrivals; fewer where a busy machine starts late


def test_what_is_said_on_the_page_reaches_every_process(ended: Callable[[str], Ended]) -> None:
    """200 at most. By the users that the command line says it would be ten times as many."""
    assert 0 < ended("page").requests < 285


def test_a_stall_shows_its_length_to_everybody_who_would_have_asked(ended: Callable[[str], Ended]) -> None:
    """The first request finds a server that stalls for a second; of 100 due in it, the first half waits for 500 ms."""
    assert ended("stall").code == 0, ended("stall").said
    (row,) = ended("stall").rows
    slow = sum(count for ms, count in row["response_times"].items() if float(ms) >= 500)
    assert slow > 20  # four users, who would show four slow requests in a closed loop
    assert row["max_response_time"] > 900


def test_a_server_that_hangs_at_the_end_does_not_pass(ended: Callable[[str], Ended]) -> None:
    """Every request that was due counts, though the run is over before any is answered."""
    run = ended("hang")
    assert run.code == 1, run.said
    assert run.requests > 0
    assert all(row["num_failures"] == row["num_requests"] for row in run.rows)


def test_refusals_for_overload_are_failures_under_a_name_of_their_own(ended: Callable[[str], Ended]) -> None:
    run = ended("overload")
    assert run.code == 1, run.said
    assert "predict linear, refused for overload" in run.names
    assert "RESOURCE_EXHAUSTED" in run.said
    assert all(row["num_failures"] == row["num_requests"] for row in run.rows)


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_asked_is_told_first_and_last_and_exits_with_2(ended: Callable[[str], Ended], name: str) -> None:
    run = ended(name)
    assert run.code == 2, run.said
    assert run.said.count(REFUSED[name][1]) == 2, run.said
    after = run.said.rpartition(REFUSED[name][1])[2]
    assert "ERROR" not in after, "it is the last error, whatever the processes say when they end"
    assert len(after.splitlines()) < 12, "it is near the end"
    assert "Traceback" not in run.said


def test_a_threshold_that_is_broken_exits_with_1(ended: Callable[[str], Ended]) -> None:
    assert ended("threshold").code == 1, ended("threshold").said
    assert "FAILED: p99 of predict linear" in ended("threshold").said


@pytest.mark.parametrize("processes", [1, 2])
def test_a_run_that_is_told_to_end_tells_what_it_has_and_leaves_nobody(server: RunningServer, processes: int) -> None:
    process = start(*usual(server, "-t", "90s"), *(two_processes() if processes == 2 else ()))
    assert process.stderr is not None
    said = ""
    while not any(each in said for each in ("All users spawned", "Spawning is complete")):
        line = process.stderr.readline()
        assert line, said
        said += line
    process.terminate()
    ended = end(process)  # which also means that nobody is left who could write
    assert ended.code == 0, said + ended.said
    assert "passed: every threshold held" in ended.said


@pytest.mark.parametrize(
    ("option", "value", "expected"),
    [
        ("--rate", "-5", "expected 0 or more, got -5"),
        ("--rate", "inf", "expected 0 or more, got inf"),
        ("--rate", "nan", "expected 0 or more, got nan"),
        ("--rate", "many", "invalid number value: 'many'"),
        ("--zipf", "-2", "expected -1 or more, got -2"),
        ("--deadline-ms", "0", "expected more than 0, got 0"),
        ("--large-rows", "0", "expected 1 or more, got 0"),
        ("--max-p99-ms", "-3", "expected 0 or more, got -3"),
        ("--max-error-rate", "2", "expected 0 or more and 1 at most, got 2"),
    ],
)
def test_numbers_that_are_refused(option: str, value: str, expected: str, capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    add_options(parser)
    with pytest.raises(SystemExit):
        parser.parse_args([option, value])
    assert f"{option}: {expected}" in capsys.readouterr().err


def test_our_options_have_a_help() -> None:
    """Locust's own --help does not read a locustfile."""
    command = [sys.executable, "-m", "skylane.bench.load"]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert all(option in told for option in ("--scenario", "--rate", "--zipf", "--max-p99-ms", "--max-error-rate"))
