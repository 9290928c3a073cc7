"""What is seen while it is measured: on a terminal, and in a log."""

import os
from collections.abc import Callable
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from skylane.bench.lab.scenarios.record import ScenariosRun
from skylane.bench.lab.scenarios.screen import ScenariosScreen

MakeRun = Callable[..., ScenariosRun]


def shown(run: ScenariosRun, tmp_path: Path, *, terminal: bool) -> str:
    """All that is written while two scenarios are measured, the second of which is interrupted."""
    file, progress = StringIO(), tmp_path / "progress"
    console = Console(file=file, width=140, force_terminal=terminal, color_system=None)
    with ScenariosScreen(["steady", "peak"], 1, 1.0, os.getpid(), console) as screen:
        screen.status("warming up")
        screen.begins("steady", 0, progress)
        screen.ended("steady", run.scenarios[0].rounds[0])
        screen.begins("peak", 0, progress)
        np.array([70, 60, 1]).tofile(progress)
    return file.getvalue()


def test_a_terminal_shows_a_table_that_fills(make_run: MakeRun, tmp_path: Path) -> None:
    text = shown(make_run(), tmp_path, terminal=True)
    assert "SCENARIO" in text
    assert "900 µs" in text
    assert "peak 1/1" in text
    assert "1 of 2 measured  about" in text
    assert "cores" in text


def test_a_log_has_a_line_for_each_measurement(make_run: MakeRun, tmp_path: Path) -> None:
    text = shown(make_run(), tmp_path, terminal=False)
    told, line = text.splitlines()
    assert told == "warming up"
    assert line.startswith("steady       round 1 of 1: sent/s 110  answered/s 100  p50 300 µs  p99 900 µs")


@pytest.mark.parametrize("terminal", [True, False])
def test_what_the_generator_limited_shows_no_figure(make_run: MakeRun, tmp_path: Path, terminal: bool) -> None:
    text = shown(make_run(limited="it was late"), tmp_path, terminal=terminal)
    assert "not reported" in text
    assert "900 µs" not in text
