"""One of several workers: a whole server that tells its supervisor how it fares, and ends when the supervisor does.

Standard output is the line to the supervisor, standard input the other way: nothing is ever written there, but it ends
when the supervisor ends, however that happens. Portable, where a death signal of the parent is Linux alone. Then the
last worker to end clears up what the supervisor would have.
"""

import asyncio
import contextlib
import os
import shutil
import sys
from pathlib import Path
from typing import Final

from skylane.server.app import running
from skylane.server.core.errors import CannotStart
from skylane.server.core.settings import Settings
from skylane.server.host import signals
from skylane.server.process.supervisor import CANNOT_START, READY


async def work(settings: Settings) -> None:
    """Serve until SIGTERM, SIGINT or the supervisor's end, then drain. Exits with 1 if the server cannot start."""
    supervisor = _take_stdout()
    asked_to_stop, alone = signals.asked_to_stop(), asyncio.Event()
    _stop_at_the_end_of(sys.stdin.fileno(), asked_to_stop, alone)
    try:
        async with running(settings):
            supervisor.tell(READY)
            await asked_to_stop.wait()
    except CannotStart as error:
        supervisor.tell(f"{CANNOT_START}{error}")
        sys.exit(1)
    if alone.is_set() and settings.shared:
        _clear(settings.shared)


class _Line:
    """The way to the supervisor."""

    def __init__(self, file: int) -> None:
        self._file: Final = file

    def tell(self, what: str) -> None:
        """Send one line. Nobody reads it if the supervisor has ended; then the worker is about to end as well."""
        with contextlib.suppress(OSError):
            os.write(self._file, " ".join(what.splitlines()).encode() + b"\n")


def _take_stdout() -> _Line:
    """Keep standard output to ourselves; whatever else is printed in this process goes to standard error."""
    line = _Line(os.dup(sys.stdout.fileno()))
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return line


def _clear(shared: Path) -> None:
    """Remove the directory that the workers share, unless another of them is still there."""
    if not any(shared.glob("*-*.sock")):
        shutil.rmtree(shared, ignore_errors=True)


def _stop_at_the_end_of(file: int, *told: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()

    def readable() -> None:
        if not os.read(file, 1024):
            loop.remove_reader(file)
            for each in told:
                each.set()

    loop.add_reader(file, readable)
