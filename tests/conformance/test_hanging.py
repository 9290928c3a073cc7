"""A server whose model never ends in its golden rows: it says so, serves the others, and ends when it is asked to."""

import signal
from pathlib import Path

import pytest

from support import models
from support.process import Served


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """One model that is sound, and one that turns in a loop for ever."""
    models.linear(tmp_path, "a")
    models.endless(tmp_path, "m")
    return tmp_path


def test_it_ends_when_it_is_asked_to_while_it_starts(root: Path) -> None:
    with Served("--models", str(root), "--grace-s", "1") as server:
        server.until("a/1 ready")
        server.process.send_signal(signal.SIGTERM)
        server.until("stopped before it was ready")
        assert server.process.wait(60) == 0


@pytest.mark.parametrize("workers", [1, 2])
def test_it_names_the_model_and_serves_the_others(root: Path, workers: int) -> None:
    with Served("--models", str(root), "--load-timeout-s", "0.5", "--workers", str(workers)) as server:
        server.until("m/1 refused: model.onnx: its golden rows and the timing of its runs have not ended after 0.5 s")
        server.until("serving ")
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(60) == 0
