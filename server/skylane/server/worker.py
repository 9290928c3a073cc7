"""One of several workers: a complete server that reports to its supervisor, and ends when the supervisor does.

Standard output is the line to the supervisor, standard input the other way: see process/worker_process.py. Standard
input ends when the supervisor ends, however that happens. Portable, where a death signal of the parent is Linux alone.
Then the last worker to end clears up what the supervisor would have.
"""

import asyncio
import contextlib
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from skylane.server.app import App
from skylane.server.core.errors import CannotStart
from skylane.server.core.settings import Settings
from skylane.server.host import signals
from skylane.server.lifecycle import running
from skylane.server.process.heartbeat import EVERY_S
from skylane.server.process.worker_process import BEAT, CANNOT_START, READY
from skylane.server.repository.repository import Load


async def work(settings: Settings, load: Load | None = None) -> None:
    """Serve until a signal or the supervisor's end, then drain. Exits with 1 if the server cannot start."""
    supervisor = _take_stdout()
    asked_to_stop, alone, all_ready = signals.asked_to_stop(), asyncio.Event(), asyncio.Event()
    _hear(sys.stdin.fileno(), all_ready.set, asked_to_stop.set, alone.set)
    beats = _Beats(supervisor)
    beats.send()
    try:
        async with running(settings, load, asked_to_stop=asked_to_stop, waits=not settings.replaces) as app:
            beats.if_alive = app.if_alive
            if not asked_to_stop.is_set():
                supervisor.send(READY)
            going = asyncio.create_task(_go(app, all_ready))
            await asked_to_stop.wait()
            going.cancel()
    except CannotStart as error:
        supervisor.send(f"{CANNOT_START}{error}")
        sys.exit(1)
    finally:
        beats.stop()
    if alone.is_set() and settings.shared:
        _clear(settings.shared)
    signals.ignore_all()


async def _go(app: App, all_ready: asyncio.Event) -> None:
    """Let the server be ready when all workers are."""
    await all_ready.wait()
    await app.go()


class _Line:
    """Sends lines to the supervisor. Thread-safe: a line is one write."""

    def __init__(self, file: int) -> None:
        self._file: Final = file
        os.set_blocking(file, False)  # a supervisor that is stopped reads nothing: we serve on

    def send(self, what: str) -> None:
        """Send one line. Nobody reads it if the supervisor has ended; then the worker is about to end as well."""
        with contextlib.suppress(OSError):
            os.write(self._file, " ".join(what.splitlines()).encode() + b"\n")


class _Beats:
    """Sends the supervisor a heartbeat each second."""

    def __init__(self, supervisor: _Line) -> None:
        """Belongs to the running event loop."""
        self._supervisor, self._loop = supervisor, asyncio.get_running_loop()
        self._next: asyncio.TimerHandle | None = None
        self.if_alive: Callable[[Callable[[], None]], None] = lambda then: then()
        """Calls what it is given where requests are answered."""

    def send(self) -> None:
        """Send one, and the next ones when they are due."""
        self.if_alive(lambda: self._supervisor.send(BEAT))
        self._next = self._loop.call_later(EVERY_S, self.send)

    def stop(self) -> None:
        """Stop."""
        if self._next is not None:
            self._next.cancel()


def _take_stdout() -> _Line:
    """Reserve standard output for lines to the supervisor; all other output goes to standard error."""
    line = _Line(os.dup(1))
    os.dup2(2, 1)
    return line


def _clear(shared: Path) -> None:
    """Remove the directory that the workers share, unless another of them is still there."""
    if not any(shared.glob("*-*.sock")):
        shutil.rmtree(shared, ignore_errors=True)


def _hear(file: int, go: Callable[[], None], *at_its_end: Callable[[], None]) -> None:
    """Wait for the supervisor's line that all workers are ready, and for its end."""
    loop = asyncio.get_running_loop()

    def readable() -> None:
        if os.read(file, 1024):
            go()
            return
        loop.remove_reader(file)
        for each in at_its_end:
            each()

    loop.add_reader(file, readable)
