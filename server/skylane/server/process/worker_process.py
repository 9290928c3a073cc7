"""A worker's process from the supervisor's side: the lines that they exchange, and how it ends.

The worker writes lines on its standard output: a beat each second, and once whether it is ready or why it cannot start.
The supervisor writes one line on the worker's standard input when all workers are ready.
"""

import asyncio
import contextlib
import signal
import time
from collections.abc import Sequence
from typing import Final

from skylane.server.process.heartbeat import Heartbeat

BEAT: Final = "beat"
READY: Final = "ready"
CANNOT_START: Final = "cannot start: "
"""Begins the line with the reason."""
GO: Final = b"go\n"
"""All workers are ready: from now on the server is."""


class Worker:
    """One worker's process. Belongs to an event loop."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.pid: Final = process.pid
        self.started_at: Final = time.monotonic()
        self.heart: Final = Heartbeat()
        self.is_ready = False
        self.reason = ""
        """Why it cannot start, as it reported."""
        self._answered = asyncio.Event()
        """Set when it has reported that it is ready or cannot start."""
        self._listening = asyncio.create_task(self._listen())

    @classmethod
    async def start(cls, command: Sequence[str], inherited: Sequence[int] = ()) -> "Worker":
        """Start a process of a group of its own: Ctrl-C in a terminal reaches us alone, and we make it drain.

        `inherited`: open files that it gets, under the same numbers. Raises OSError.
        """
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            *command, stdin=pipe, stdout=pipe, process_group=0, pass_fds=inherited
        )
        return cls(process)

    async def ready(self) -> bool:
        """Wait until its models are loaded; False if it ends before."""
        await self._answered.wait()
        return self.is_ready

    async def ended(self) -> str:
        """Wait for its end. Returns how it ended."""
        code = await self._process.wait()
        self.is_ready = False
        self._listening.cancel()
        return f"exit code {code}" if code >= 0 else _signal_name(-code)

    def go(self) -> None:
        """Let it report that the server is ready."""
        if self._process.stdin is not None:
            self._process.stdin.write(GO)  # a few bytes; if the worker has ended, its end is seen elsewhere

    def stop(self) -> None:
        """Let it finish the requests in flight, and end."""
        self._send(signal.SIGTERM)

    def reload(self) -> None:
        """Make it poll its files. One that has not begun yet reads them anyway, and could not handle the signal."""
        if self.heart.has_begun:
            self._send(signal.SIGHUP)

    def kill(self) -> None:
        """Kill it, even if it is stopped."""
        self._send(signal.SIGKILL)

    def _send(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)

    async def _listen(self) -> None:
        assert self._process.stdout is not None
        try:
            while line := await self._process.stdout.readline():
                self._take(line.decode(errors="replace").strip())
        finally:
            self._answered.set()

    def _take(self, line: str) -> None:
        if line == BEAT:
            self.heart.beat()
        elif line == READY:
            self.is_ready = True
            self._answered.set()
        elif line.startswith(CANNOT_START):
            self.reason = line.removeprefix(CANNOT_START)
            self._answered.set()


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
