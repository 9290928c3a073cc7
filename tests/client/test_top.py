"""`skylane top`: figures of two instants, and how a terminal shows those of a real server."""

import re
import shutil
import socket
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skylane.cli import main
from skylane.cli.live import Window, between, bytes_text, count_text, share_text, time_text
from skylane.cli.top import frame
from support import models
from support.security import section
from support.server import serving

BOUNDS = (1.0, 2.0, 4.0)


def snapshot(at: float, **more: Any) -> dict[str, Any]:
    nothing = {"buckets": [0, 0, 0, 0], "total": 0.0}
    version = {"model": "m", "version": 1, "outcomes": [], "total": nothing, "batch_rows": nothing, "hits": 0,
               "misses": 0, "coalesced": 0, "queue_rows": 0, "cache_bytes": 0, "states": {"ready": 1},
               "reason": ""} | more  # fmt: skip
    figures = {"versions": [version], "rejections": [], "processes": [], "events": []}
    return {"at": at, "bounds_s": BOUNDS, "figures": figures}


def outcomes(answered: int, refused: int = 0) -> list[dict[str, Any]]:
    return [
        {"protocol": "p", "error": "", "requests": answered},
        {"protocol": "p", "error": "Overloaded", "requests": refused},
    ]


def test_what_happened_between_two_instants() -> None:
    before = snapshot(10.0, outcomes=outcomes(5), hits=1, batch_rows={"buckets": [1, 0, 0, 0], "total": 1.0})
    now = snapshot(12.0, outcomes=outcomes(8, 1), hits=3, batch_rows={"buckets": [1, 2, 0, 0], "total": 9.0})
    window = between(now, before)
    assert (window.rate, window.error_share, window.saved_share, window.batch_rows) == (2.0, 0.25, 0.5, 4.0)
    assert between(now, before, "other", 1).requests == 0


def test_what_is_refused_before_a_model_is_asked_counts_and_looking_at_the_server_does_not() -> None:
    before, now = snapshot(10.0), snapshot(12.0, outcomes=outcomes(1))
    now["figures"]["rejections"] = [
        {"protocol": "oip_http", "error": "Unauthenticated", "requests": 2},
        {"protocol": "skylane_grpc", "error": "ModelFailed", "requests": 1},
        {"protocol": "http", "error": "", "requests": 50},
        {"protocol": "grpc", "error": "UNIMPLEMENTED", "requests": 50},
    ]
    window = between(now, before)
    assert (window.requests, window.error_share, window.fault_share) == (4, 0.75, 0.25)
    assert between(now, before, "m", 1).requests == 1


def test_a_server_that_started_anew_counts_from_nothing() -> None:
    window = between(snapshot(12.0, outcomes=outcomes(3)), snapshot(10.0, outcomes=outcomes(900)))
    assert window.requests == 3


@given(st.lists(st.integers(0, 50), min_size=4, max_size=4), st.floats(0.01, 0.99), st.floats(0.01, 0.99))
def test_percentiles_rise_with_their_share_and_stay_within_the_bounds(
    buckets: list[int], one: float, other: float
) -> None:
    window = Window(1.0, BOUNDS, buckets=buckets)
    low, high = window.percentile(min(one, other)), window.percentile(max(one, other))
    assert (low is None) == (high is None) == (sum(buckets) == 0)
    if low is not None and high is not None:
        assert 0.0 <= low <= high <= BOUNDS[-1]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(count_text(None), "–", id="nothing"),
        pytest.param(count_text(12345), "12.3 k", id="thousands"),
        pytest.param(count_text(2.5), "2.50", id="a fraction"),
        pytest.param(time_text(0.00012), "120 µs", id="microseconds"),
        pytest.param(time_text(0.0123), "12.3 ms", id="milliseconds"),
        pytest.param(time_text(3), "3.00 s", id="seconds"),
        pytest.param(bytes_text(100), "100 B", id="bytes"),
        pytest.param(bytes_text(3 * 2**20), "3.00 MiB", id="MiB"),
        pytest.param(share_text(0.004), "0.4 %", id="few"),
        pytest.param(share_text(1), "100 %", id="all"),
    ],
)
def test_figures_are_short(text: str, expected: str) -> None:
    assert text == expected


@pytest.mark.parametrize("columns", [40, 80, 120])
def test_it_fits_a_terminal_and_says_why_a_version_is_not_served(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("LINES", "24")
    models.linear(tmp_path)
    shutil.copytree(tmp_path / "linear" / "1", tmp_path / "linear" / "2")
    (tmp_path / "linear" / "2" / "model.onnx").write_bytes(b"nonsense")
    with serving(tmp_path, http_port=0) as running:
        assert main(["top", "--once", "--url", f"http://127.0.0.1:{running.http_port}"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= 24
    assert max(map(len, lines)) <= columns
    assert any(line.startswith("linear/2: model.onnx: ") for line in lines)
    assert any(line.split()[:2] == ["linear/2", "failed"] for line in lines)
    assert any("errors" in line for line in lines)


def test_it_shows_a_server(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    models.linear(tmp_path)
    with serving(tmp_path, http_port=0) as running:
        assert main(["top", "--once", "--url", f"http://127.0.0.1:{running.http_port}/"]) == 0
    shown = capsys.readouterr().out
    assert "ready" in shown.splitlines()[0]
    (line,) = [line for line in shown.splitlines() if line.startswith("linear/1 ")]
    assert re.fullmatch(r"linear/1 ready 0 – – – 0 – – (–|[\d.]+ [KM]iB)", " ".join(line.split()))


def test_an_address_without_a_scheme_is_one_of_http(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    models.linear(tmp_path)
    with serving(tmp_path, http_port=0) as running:
        assert main(["top", "--once", "--url", f"127.0.0.1:{running.http_port}"]) == 0
    assert "linear/1" in capsys.readouterr().out


def test_where_there_is_no_terminal_it_says_what_there_is_instead(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["top", "--url", "http://127.0.0.1:1"]) == 2
    assert "--once" in capsys.readouterr().err


def test_a_server_that_ends_is_told_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = threading.Event()

    def drawn(*arguments: Any) -> Any:
        shown.set()
        return frame(*arguments)

    monkeypatch.setattr("skylane.cli.top.frame", drawn)
    monkeypatch.setenv("FORCE_COLOR", "1")  # as on a terminal
    models.linear(tmp_path)
    with serving(tmp_path, http_port=0) as running:
        url, ended = f"http://127.0.0.1:{running.http_port}", list[int]()
        watching = threading.Thread(target=lambda: ended.append(main(["top", "--url", url])))
        watching.start()
        assert shown.wait(60)
    watching.join(60)
    assert ended == [1]
    assert f"skylane top: the server at {url} closed the connection" in capsys.readouterr().err


def test_what_cannot_be_asked_is_told_with_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        assert main(["top", "--once", "--url", f"http://127.0.0.1:{free.getsockname()[1]}"]) == 1
    told = capsys.readouterr().err
    assert told.startswith("skylane top: cannot connect to http://127.0.0.1:")
    assert "skylane serve --http-port 8501" in told


def test_a_server_with_tokens_asks_for_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    models.linear(tmp_path / "models")
    tokens = tmp_path / "tokens.toml"
    tokens.write_text(section("watcher", "metrics"))
    with serving(tmp_path / "models", http_port=0, tokens=tokens) as running:
        url = f"http://127.0.0.1:{running.http_port}"
        assert main(["top", "--once", "--url", url]) == 1
        assert capsys.readouterr().err == (
            f"skylane top: {url} requires a token with access to metrics: pass it with --token or SKYLANE_TOKEN\n"
        )
        assert main(["top", "--once", "--url", url, "--token", "watcher"]) == 0
