"""What an operator says by variables of the environment, where options say nothing."""

import re
from pathlib import Path

import pytest

from support import models
from support.http import Http
from support.process import Served


@pytest.mark.parametrize(
    ("value", "status"),
    [
        pytest.param(None, 403, id="nobody may unload a model unless somebody said so"),
        pytest.param("0", 403, id="said not to"),
        pytest.param("1", 200, id="said to"),
    ],
)
def test_whether_anybody_administrates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str | None, status: int
) -> None:
    if value is not None:
        monkeypatch.setenv("SKYLANE_ALLOW_ADMIN", value)
    models.linear(tmp_path)
    monkeypatch.setenv("SKYLANE_MODELS", str(tmp_path))
    with Served("--http-port", "0", "--poll-s", "0") as served:
        at = re.search(r"http://127.0.0.1:(\d+)", served.until("HTTP on"))
        assert at
        with Http(int(at[1])) as http:
            assert http.post("/v2/repository/models/linear/unload", {}).status == status
            assert http.get("/v2/models/linear/ready").status == (200 if status == 403 else 503)


@pytest.mark.parametrize("option", ["by the option", "by the environment"])
def test_workers_link_to_the_monitor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: str) -> None:
    url = "http://monitor.example:8600/"
    options = [f"--monitor-url={url}"] if option == "by the option" else []
    if not options:
        monkeypatch.setenv("SKYLANE_MONITOR_URL", url)
    with Served("--models", str(tmp_path), "--http-port", "0", "--workers", "2", *options) as served:
        at = re.search(r"http://127.0.0.1:(\d+)", served.until("HTTP on"))
        assert at
        served.until("with 2 workers")
        with Http(int(at[1])) as http:
            http.send("GET", "/")
            assert f'<a href="{url}">Monitor</a>' in http.answer().body.decode()


def test_a_switch_is_0_or_1(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SKYLANE_ALLOW_ADMIN", "yes")
    with Served() as served:
        assert "SKYLANE_ALLOW_ADMIN: expected 0 or 1, received 'yes'" in served.rest()
        assert served.process.wait(60) == 2
