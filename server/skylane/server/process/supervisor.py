"""Several workers on one port: starts them, replaces those that end, and drains them all.

The workers are fresh interpreters, never forks: ONNX Runtime and gRPC have threads, which a fork leaves behind. Each is
a whole server and binds the port itself with SO_REUSEPORT; the kernel picks one of them for each connection. A worker
binds only when its models are loaded, so whichever answers a health check tells the truth. This process knows neither
gRPC nor ONNX Runtime and receives nothing: it holds the port, so that it never becomes free, and waits.
"""

import asyncio
import contextlib
import errno
import logging
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from skylane.server.admin import cpu_demand
from skylane.server.core.errors import CannotStart
from skylane.server.core.settings import Settings
from skylane.server.host import signals
from skylane.server.host.ports import cannot_bind
from skylane.server.observability.worker_snapshots import fold

log = logging.getLogger(__name__)

READY: Final = "ready"
CANNOT_START: Final = "cannot start: "
"""What a worker says on its standard output: the one, or the other with its reason."""

STEADY_S: Final = 60.0
"""A worker that lived this long had a good start; its end says nothing about the next one's."""
PAUSE_S: Final = 0.5
PAUSE_S_MAX: Final = 30.0
KILL_MARGIN_S: Final = 10.0
"""What a draining worker gets beyond the grace period, to close what it has."""


class Restarts:
    """Decide when the next worker takes the place of one that ended: at once, later and later if that goes on."""

    def __init__(self) -> None:
        self._short_lives = 0
        self.begun = False
        """Whether any life has ended."""

    def due_at(self, started_at: float, ended_at: float) -> float:
        """Instant at which the next one starts; call it once for each life."""
        self.begun = True
        self._short_lives = 0 if ended_at - started_at >= STEADY_S else self._short_lives + 1
        if self._short_lives <= 1:
            return ended_at
        return ended_at + min(PAUSE_S_MAX, PAUSE_S * 2.0 ** min(self._short_lives - 2, 16))


async def supervise(settings: Settings, argv: Sequence[str]) -> None:
    """Serve with several workers until SIGTERM or SIGINT, then drain them. Raises CannotStart.

    `argv` is what this server was called with; workers get the same, and the port if it was picked here.
    """
    if not settings.models.is_dir():
        raise CannotStart(f"models: {settings.models} is not a directory: name the model repository with --models")
    asked_to_stop = signals.asked_to_stop()
    with contextlib.ExitStack() as held:
        port = held.enter_context(held_port(settings.host, settings.port))
        http = []
        if settings.http_port is not None:
            http = [f"--http-port={held.enter_context(held_port(settings.host, settings.http_port))}"]
        shared = Path(held.enter_context(tempfile.TemporaryDirectory(prefix="skylane-", ignore_cleanup_errors=True)))
        cpu_demand.tell(settings)
        command = [
            sys.executable,
            "-m",
            "skylane.server",
            *argv,
            f"--workers={settings.workers}",
            f"--port={port}",
            *http,
            "--supervised",
            f"--shared={shared}",
        ]
        await Supervisor(replace(settings, shared=shared), port, command).run(asked_to_stop)


class Supervisor:
    """Keeps as many workers alive as the settings say."""

    def __init__(
        self, settings: Settings, port: int, command: Sequence[str], kill_margin_s: float = KILL_MARGIN_S
    ) -> None:
        """`command` starts a worker on that port."""
        self._settings, self._port, self._command = settings, port, command
        self._drain_s_max = settings.linger_s + settings.grace_s + kill_margin_s
        self._started_at = time.monotonic()
        self._stopping = asyncio.Event()
        self._alive: dict[int, Worker] = {}
        self._serving = False
        """Whether all workers have been ready at the same time."""

    async def run(self, asked_to_stop: asyncio.Event) -> None:
        """Keep the workers until asked to stop, then drain them. Raises CannotStart with a worker's reason."""
        keepers = [asyncio.create_task(self._keep(number)) for number in range(1, self._settings.workers + 1)]
        stop = asyncio.create_task(asked_to_stop.wait())
        try:
            await asyncio.wait([stop, *keepers], return_when=asyncio.FIRST_COMPLETED)
        finally:
            stop.cancel()
            await self._drain(keepers)
        failures = [error for keeper in keepers if (error := keeper.exception())]
        if failures:
            raise failures[0]

    async def _keep(self, number: int) -> None:
        """Keep one place filled until stopping. Raises CannotStart if its first worker cannot start."""
        restarts = Restarts()
        while not self._stopping.is_set():
            started_at = time.monotonic()
            how, reason = await self._live(number)
            if self._stopping.is_set():
                break
            if reason and not restarts.begun:
                raise CannotStart(reason)
            ended_at = time.monotonic()
            pause_s = restarts.due_at(started_at, ended_at) - ended_at
            log.error(
                "worker %d (%s) ended after %.1f s%s; the next one starts %s",
                number,
                how,
                ended_at - started_at,
                f": {reason}" if reason else "",
                f"in {pause_s:g} s" if pause_s else "now",
            )
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause_s)

    async def _live(self, number: int) -> tuple[str, str]:
        """One worker's life. Gives how it ended, and the reason if it never was ready."""
        try:
            worker = await Worker.start(self._command)
        except OSError as error:  # no memory, or too many processes
            return "no process", f"workers: a process cannot be started: {error}"
        self._alive[number] = worker
        if self._stopping.is_set():
            worker.stop()
        if ready := await worker.ready():
            self._tell_ready(number, worker)
        how = await worker.ended()
        del self._alive[number]
        if self._settings.shared:
            fold(self._settings.shared, worker.pid)
            _clear(self._settings.shared, worker.pid)
        reason = "" if ready else worker.reason or f"workers: one ended with {how} before it was ready; see its log"
        return f"pid {worker.pid}, {how}", reason

    def _tell_ready(self, number: int, worker: "Worker") -> None:
        if self._serving:
            log.info(
                "worker %d (pid %d) is ready after %.1f s", number, worker.pid, time.monotonic() - worker.started_at
            )
            return
        ready = [each for each in self._alive.values() if each.is_ready]
        if len(ready) == self._settings.workers:
            self._serving = True
            log.info(
                "serving on %s:%d with %d workers (pids %s) after %.1f s",
                self._settings.host, self._port, len(ready), ", ".join(str(each.pid) for each in ready),
                time.monotonic() - self._started_at,
            )  # fmt: skip

    async def _drain(self, keepers: Sequence["asyncio.Task[None]"]) -> None:
        """Let all workers drain, and kill those that take too long over it."""
        self._stopping.set()
        for worker in self._alive.values():
            worker.stop()
        _, late = await asyncio.wait(keepers, timeout=self._drain_s_max)
        if late:
            for worker in self._alive.values():
                log.warning("pid %d is still there after %.0f s: killed", worker.pid, self._drain_s_max)
                worker.kill()
            await asyncio.wait(late)
        log.info("all workers have ended")


class Worker:
    """One worker's process, as seen from here."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.pid: Final = process.pid
        self.started_at: Final = time.monotonic()
        self.is_ready = False
        self.reason = ""
        """Why it cannot start, in its own words."""

    @classmethod
    async def start(cls, command: Sequence[str]) -> "Worker":
        """Start a process of a group of its own: Ctrl-C in a terminal reaches us alone, and we tell it to drain."""
        pipe = asyncio.subprocess.PIPE
        return cls(await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, process_group=0))

    async def ready(self) -> bool:
        """Wait until it receives requests; False if it ends before."""
        assert self._process.stdout is not None
        line = (await self._process.stdout.readline()).decode(errors="replace").strip()
        self.is_ready = line == READY
        if line.startswith(CANNOT_START):
            self.reason = line.removeprefix(CANNOT_START)
        return self.is_ready

    async def ended(self) -> str:
        """Wait for its end, and say how it was."""
        code = await self._process.wait()
        self.is_ready = False
        return f"exit code {code}" if code >= 0 else _signal_name(-code)

    def stop(self) -> None:
        """Let it finish what is in flight. One that is still loading does so first, as a single server does."""
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()

    def kill(self) -> None:
        """End it now."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()


def _clear(directory: Path, pid: int) -> None:
    """Remove the directories of a worker that has ended: one that was killed could not."""
    for left in directory.glob(f"{pid}-*"):
        if left.is_dir():
            shutil.rmtree(left, ignore_errors=True)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


@contextlib.contextmanager
def held_port(host: str, port: int) -> Iterator[int]:
    """Own a port inside the block without receiving on it, and let workers of this user share it. Gives its number.

    Port 0 picks a free one. Raises CannotStart if another server has it, even one that shares it with its own workers:
    each socket is bound exclusively, and made to share only then.
    """
    if not hasattr(socket, "SO_REUSEPORT"):
        raise CannotStart("workers: this system cannot share a port between processes: use --workers 1")
    with contextlib.ExitStack() as sockets:
        try:
            addresses = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
            for family, _, _, _, address in addresses:
                with contextlib.suppress(_Absent):
                    bound = _bind(family, (address[0], port, *address[2:]), alone=len(addresses) == 1)
                    port = sockets.enter_context(bound).getsockname()[1]
            if not port:
                raise OSError(errno.EADDRNOTAVAIL, "no address of it can be bound")
        except OSError as error:
            raise CannotStart(cannot_bind(f"{host}:{port}", error)) from error
        yield port


class _Absent(Exception):
    """The name stands for this address too, but the machine does not have it: ::1 of localhost where IPv6 is off."""


def _bind(family: int, address: tuple[str | int, ...], *, alone: bool) -> socket.socket:
    """A socket that is bound and does not listen. Raises OSError, or _Absent if it is one of several addresses."""
    try:
        made = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        raise _Absent from error
    try:
        if family == socket.AF_INET6 and not alone:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        # For the bind alone, so that connections of a server before us that linger in TIME_WAIT do not count.
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(address)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    except OSError as error:
        made.close()
        if error.errno == errno.EADDRNOTAVAIL and not alone:
            raise _Absent from error
        raise
    return made
