"""The end of a process that cannot end by itself."""

import logging
import subprocess
import sys
import threading

import pytest

from skylane.server.host import exits


def run(script: str) -> "subprocess.CompletedProcess[str]":
    """A Python process that runs this."""
    prelude = (
        "import asyncio, logging, threading\nfrom skylane.server.host import exits\nlogging.basicConfig(level='INFO')\n"
    )
    return subprocess.run(
        [sys.executable, "-c", prelude + script], capture_output=True, text=True, timeout=60, check=False
    )


def test_a_process_whose_main_thread_hangs_leaves_when_its_time_is_over() -> None:
    ended = run("exits.leave_after(0.1)\nthreading.Event().wait()")
    assert ended.returncode == exits.CUT_OFF
    assert "not exited 0.1 s after the signal: exiting without waiting for its main thread" in ended.stderr


def test_a_process_that_ends_in_time_does_not_wait() -> None:
    ended = run("exits.leave_after(3600)")
    assert (ended.returncode, ended.stderr) == (0, "")


def test_a_log_whose_reader_hangs_keeps_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Flushing gets its time, and no more."""
    codes, hangs = list[int](), threading.Event()
    monkeypatch.setattr(logging, "shutdown", hangs.wait)
    monkeypatch.setattr(exits, "FLUSH_S_MAX", 0.01)
    monkeypatch.setattr("os._exit", codes.append)
    exits.leave(7)
    hangs.set()
    assert codes == [7]
