"""A real Prometheus scrapes a real server, follows the rules, and answers every question of the dashboard."""

import json
import re
import shutil
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from skylane.server.observability.metrics import DEFINITIONS
from support import models
from support.calls import features
from support.http import Http, infer, tensor
from support.server import serving

OPS = Path(__file__).parents[2] / "ops"
FILES = ("rules.yml", "dashboard.json")

needs_prometheus = pytest.mark.skipif(
    not (shutil.which("prometheus") and shutil.which("promtool")), reason="needs Debian's package prometheus"
)


class Prometheus:
    """One that runs."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}/api/v1"

    def get(self, path: str, **parameters: str) -> Any:
        """What its interface answers."""
        with urllib.request.urlopen(f"{self._url}/{path}?{urllib.parse.urlencode(parameters)}", timeout=30) as answer:
            told = json.load(answer)
        assert told["status"] == "success", told
        return told["data"]

    def values(self, expression: str) -> list[float]:
        """Values of all series now."""
        return [float(each["value"][1]) for each in self.get("query", query=expression)["result"]]


def soon(found: Callable[[], Any]) -> Any:
    """What is found, as soon as something is."""
    ends_at, wait = time.monotonic() + 60, threading.Event()
    while time.monotonic() < ends_at:
        try:
            if value := found():
                return value
        except urllib.error.URLError:  # it has not started yet
            pass
        wait.wait(0.1)
    raise AssertionError("it did not come within a minute")


@contextmanager
def scraping(target: int, folder: Path) -> Iterator[Prometheus]:
    """A Prometheus with our files, but for where to ask and how often."""
    for rules in ("rules.yml", "monitor_rules.yml"):
        shutil.copy(OPS / rules, folder)
    text = (OPS / "prometheus.yml").read_text("utf-8").replace("127.0.0.1:8501", f"127.0.0.1:{target}")
    (folder / "prometheus.yml").write_text(text.replace("interval: 15s", "interval: 1s"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = ["prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data"]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen([*command, f"--web.listen-address=127.0.0.1:{port}"], stderr=log, stdout=log)
        try:
            yield Prometheus(port)
        finally:
            process.terminate()
            process.wait(60)


@pytest.mark.slow
@needs_prometheus
def test_it_scrapes_follows_the_rules_and_answers_the_dashboard(tmp_path: Path) -> None:
    models.linear(tmp_path / "models")
    one = infer(tensor("features", features(1)))
    (tmp_path / "prometheus").mkdir()
    with serving(tmp_path / "models", http_port=0) as running, Http(running.http_port) as http:
        assert http.post("/v2/models/linear/infer", one).status == 200
        with scraping(running.http_port, tmp_path / "prometheus") as prometheus:
            assert soon(lambda: prometheus.values('skylane_requests_total{model!=""}')) == [1]
            for _ in range(5):
                assert http.post("/v2/models/linear/infer", one).status == 200
            assert soon(lambda: prometheus.values('model:skylane_requests:rate5m{model="linear"} > 0'))
            assert soon(lambda: prometheus.values("model:skylane_request_duration_seconds:p99_5m > 0"))
            assert prometheus.get("alerts")["alerts"] == []
            groups = prometheus.get("rules")["groups"]
            assert {rule["health"] for group in groups for rule in group["rules"]} == {"ok"}
            for title, expression in questions():
                assert prometheus.values(expression), title


def questions() -> Iterator[tuple[str, str]]:
    """What the dashboard asks, of all servers and models."""
    told = json.loads((OPS / "dashboard.json").read_text("utf-8"))
    for panel in told["panels"]:
        for target in panel["targets"]:
            expression = target["expr"].replace("$__rate_interval", "1m")
            if "INTERNAL" not in expression:  # no fault, no answer
                yield panel["title"], expression.replace("$instance", ".*").replace("$model", ".*")


@pytest.mark.parametrize("file", FILES)
def test_every_metric_named_is_one_of_ours(file: str) -> None:
    text = (OPS / file).read_text("utf-8")
    recorded = set(re.findall(r"record: (\S+)", (OPS / "rules.yml").read_text("utf-8")))
    named = set(re.findall(r"[\w:]*\bskylane_[\w:]+|model:skylane_[\w:]+", text)) - recorded
    bases = {re.sub("_(bucket|count|sum)$", "", name) if name not in DEFINITIONS else name for name in named}
    assert bases
    assert bases <= set(DEFINITIONS)


@pytest.mark.slow
@needs_prometheus
@pytest.mark.parametrize(
    "command",
    [
        pytest.param(("check", "rules", "rules.yml"), id="rules"),
        pytest.param(("check", "config", "prometheus.yml"), id="configuration"),
        pytest.param(("test", "rules", "rules_test.yml"), id="when each alert rings"),
    ],
)
def test_promtool_agrees(command: tuple[str, ...]) -> None:
    done = subprocess.run(["promtool", *command], cwd=OPS, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
