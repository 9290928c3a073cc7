"""Whoever is told to end while it measures ends the servers that it started."""

import os
import signal
from pathlib import Path

import pytest

from bench.processes import tree
from skylane.cli import INTERRUPTED, main


@pytest.mark.parametrize(
    ("command", "measuring"),
    [
        pytest.param(["bench", "--seconds", "1"], "bench.lab.scenarios.rounds.run", id="bench"),
        pytest.param(["bench", "knee", "--target-p99-ms", "9"], "bench.lab.knee.__main__.find", id="knee"),
        pytest.param(
            ["bench", "tune", "--target-p99-ms", "9", "--keys", "target_p99_ms"],
            "bench.lab.tuner.play._search",
            id="tune",
        ),
    ],
)
def test_sigterm_ends_servers_too(
    command: list[str], measuring: str, small_models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, started, handler = set(tree(os.getpid())), set[int](), signal.getsignal(signal.SIGTERM)

    def ended_meanwhile(*_: object) -> None:
        started.update(set(tree(os.getpid())) - before)
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(measuring, ended_meanwhile)
    arguments = ["--models", str(small_models), "--model", "linear", "--out", str(tmp_path), "--format", "json"]
    assert main([*command, *arguments]) == INTERRUPTED
    assert started
    assert not started & set(tree(os.getpid()))
    assert signal.getsignal(signal.SIGTERM) is handler
