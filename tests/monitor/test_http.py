"""The monitor's port, and its metrics."""

import http.client
import json
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from skylane.monitor.http import MonitorServer
from skylane.monitor.metrics import HELP, exposition

from .views import view

OPS = Path(__file__).parents[2] / "ops"
PROMTOOL = shutil.which("promtool")


@pytest.fixture
def server() -> Iterator[MonitorServer]:
    """A server of two models."""
    made = MonitorServer(("127.0.0.1", 0), lambda: [view(), view("other")])
    thread = threading.Thread(target=made.serve_forever)
    thread.start()
    yield made
    made.shutdown()
    made.server_close()
    thread.join()


def get(server: MonitorServer, path: str, host: str = "localhost") -> tuple[int, str, dict[str, str]]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=60)
    try:
        connection.request("GET", path, headers={"host": host})
        answer = connection.getresponse()
        return answer.status, answer.read().decode(), dict(answer.getheaders())
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("path", "host", "status", "says"),
    [
        pytest.param("/", "localhost:8600", 200, "Skylane monitor", id="the page"),
        pytest.param("/?model=other&blocks=9999999", "127.0.0.1", 200, "other · Skylane", id="another model"),
        pytest.param("/?model=nobody", "localhost", 404, "no rows of this model", id="a model without rows"),
        pytest.param("/metrics", "localhost", 200, "skylane_monitor_performance{", id="metrics"),
        pytest.param("/api/models", "localhost", 200, '"still to come', id="JSON"),
        pytest.param("/api/models/other", "localhost", 200, '"model": "other"', id="JSON of one model"),
        pytest.param("/api/models/nobody", "localhost", 404, '"error"', id="JSON of a model without rows"),
        pytest.param("/healthz", "localhost", 200, "ok", id="health"),
        pytest.param("/etc/passwd", "localhost", 404, "/api/models", id="anything else"),
        pytest.param("/", "evil.example", 403, "Host header", id="a name that was pointed at this machine"),
    ],
)
def test_paths(server: MonitorServer, path: str, host: str, status: int, says: str) -> None:
    answered, text, headers = get(server, path, host)
    assert (answered, says.replace('"still', "still") in text) == (status, True)
    assert "default-src 'none'" in headers["content-security-policy"]


def test_the_other_loopback_address() -> None:
    server = MonitorServer(("::1", 0), list)
    server.server_close()
    assert server.url == f"http://[::1]:{server.server_address[1]}/"


def test_instants_in_json_are_text_with_a_zone(server: MonitorServer) -> None:
    described = json.loads(get(server, "/api/models/flights")[1])
    assert (described["at"], described["alarms"][0]["block"]) == ("1970-01-04T00:00:00Z", "1970-01-01T00:00:00Z")


def test_metrics_are_about_the_latest_block_that_has_ended() -> None:
    lines = exposition([view(), view("other")]).splitlines()
    assert 'skylane_monitor_drift_alarm{model="flights",version="1"} 1.0' in lines
    assert 'skylane_monitor_performance{measure="log_loss",model="flights"} 0.5' in lines
    assert 'skylane_monitor_labels_to_come_ratio{model="other"} 0.57' in lines
    helped = [line.split(" ", 3)[2] for line in lines if line.startswith("# HELP")]
    assert len(helped) == len(set(helped))
    assert set(helped) <= set(HELP)


@pytest.mark.skipif(PROMTOOL is None, reason="needs promtool, of Debian's package prometheus")
def test_promtool_has_nothing_to_say_about_the_metrics() -> None:
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=exposition([view()]), capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.slow
@pytest.mark.skipif(PROMTOOL is None, reason="needs promtool, of Debian's package prometheus")
@pytest.mark.parametrize(
    "command", [("check", "rules", "monitor_rules.yml"), ("test", "rules", "monitor_rules_test.yml")]
)
def test_promtool_agrees_when_each_alert_fires(command: tuple[str, ...]) -> None:
    done = subprocess.run(["promtool", *command], cwd=OPS, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_alert_is_about_metrics_that_exist() -> None:
    rules = (OPS / "monitor_rules.yml").read_text()
    assert "skylane_monitor_skill" not in rules, "a useful model may be below each block's own base rate"
    named = set(re.findall(r"skylane_monitor_\w+", rules))
    assert named
    assert named <= set(HELP)
