"""Several workers on one port: starts them, replaces those that end, and drains them all.

The workers are fresh interpreters, never forks: ONNX Runtime and gRPC have threads, which a fork leaves behind. Each is
a whole server and binds the port itself with SO_REUSEPORT; the kernel picks one of them for each connection. They
listen at once and load their models, and say that they are ready when all have loaded them. One that takes the place of
another binds only when its models are loaded: until then its neighbours answer. This process knows neither gRPC nor
ONNX Runtime and receives nothing: it holds the port, so that it never becomes free, and sees whether the workers are
alive.
"""

import asyncio
import contextlib
import logging
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from skylane.server.admin import cpu_demand
from skylane.server.core.errors import CannotStart, StoppedEarly
from skylane.server.core.hosts import Hosts, internet
from skylane.server.core.settings import Settings
from skylane.server.host import signals
from skylane.server.host.addresses import BACKLOG, Bound, all_shown, bind
from skylane.server.host.daemons import check_repository, try_in_daemon
from skylane.server.host.ports import cannot_bind
from skylane.server.observability.worker_snapshots import fold
from skylane.server.process.heartbeat import EVERY_S, LATE, MISSED_MAX
from skylane.server.process.worker_process import Worker
from skylane.server.recording import journal_directory

log = logging.getLogger(__name__)

STEADY_S: Final = 60.0
"""A worker that lived this long had a good start; its end says nothing about the next one's."""
PAUSE_S: Final = 0.5
PAUSE_S_MAX: Final = 30.0
KILL_MARGIN_S: Final = 5.0
"""What a draining worker gets beyond the grace period, to close what it has, or to leave by itself if it hangs."""
SHARED_ELSEWHERE: Final = ("/dev/shm", "/run")
"""Where the workers' directory may be when TMPDIR, /tmp and the like are read-only, as in a hardened container."""
REPLACES: Final = "--replaces"
"""The option of a worker that takes the place of another, while others answer."""


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
    asked_to_stop = signals.asked_to_stop()
    with contextlib.suppress(StoppedEarly):
        if settings.journal is not None:
            journal_directory.check(settings.journal, settings.models)
        await signals.until_stopped(asked_to_stop, check_repository(settings.models))
        await _supervise(settings, argv, asked_to_stop)


async def _supervise(settings: Settings, argv: Sequence[str], asked_to_stop: asyncio.Event) -> None:
    with contextlib.ExitStack() as held:
        bound, more = held.enter_context(held_port(settings.host, settings.port)), []
        inherited = [each.fileno() for each in bound.sockets if each.family == socket.AF_UNIX]
        if inherited:
            more = [f"--inherited={','.join(map(str, inherited))}"]
        if settings.http_port is not None:
            http = held.enter_context(held_port(internet(settings.host), settings.http_port))
            more.append(f"--http-port={http.port}")
        shared = held.enter_context(_shared_directory())
        await try_in_daemon(lambda: cpu_demand.log_demand(settings), "budget")
        command = [
            sys.executable,
            "-P",  # else `-m` runs a server.py of the working directory
            "-m",
            "skylane.server",
            *argv,
            f"--workers={settings.workers}",
            f"--port={bound.port}",
            *more,
            "--supervised",
            *([f"--shared={shared}"] if shared else []),
        ]
        settings = replace(settings, shared=shared, inherited=tuple(inherited))
        supervisor = Supervisor(settings, bound.port, command)
        signals.on_reload(supervisor.reload)
        await supervisor.run(asked_to_stop)
    signals.ignore_all()


@contextlib.contextmanager
def _shared_directory() -> Iterator[Path | None]:
    """A directory for what the workers share; None, with a warning, where none can be made."""
    with contextlib.ExitStack() as stack:
        for where in (None, *SHARED_ELSEWHERE):
            with contextlib.suppress(OSError):
                made = tempfile.TemporaryDirectory(prefix="skylane-", dir=where, ignore_cleanup_errors=True)
                break
        else:
            log.warning(
                "workers: no directory for temporary files is writable, so /metrics covers one worker at a time, and a "
                "replacement for a worker does not know the last valid model.toml: set TMPDIR to a writable directory"
            )
            yield None
            return
        yield Path(stack.enter_context(made))


class Supervisor:
    """Keeps as many workers alive as the settings say."""

    def __init__(
        self,
        settings: Settings,
        port: int,
        command: Sequence[str],
        kill_margin_s: float = KILL_MARGIN_S,
        tick_s: float = EVERY_S,
    ) -> None:
        """`command` starts a worker on that port. `tick_s`: how often it is seen whether workers are alive."""
        self._settings, self._port, self._command = settings, port, command
        self._tick_s = tick_s
        self._drain_s_max = settings.linger_s + settings.grace_s + kill_margin_s
        self._started_at = time.monotonic()
        self._stopping = asyncio.Event()
        self._alive: dict[int, Worker] = {}
        self._ready = set[int]()
        """Processes of which is known that they are ready."""
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
        others_answer = bool(self._ready)
        command = [*self._command, *([REPLACES] if others_answer else [])]
        try:
            worker = await Worker.start(command, self._settings.inherited)
        except OSError as error:  # no memory, or too many processes
            return "no process", f"workers: a process cannot be started: {error}"
        self._alive[number] = worker
        if self._stopping.is_set():
            worker.stop()
        watching = asyncio.create_task(self._watch(number, worker))
        if ready := await worker.ready():
            self._on_ready(number, worker)
        how = await worker.ended()
        watching.cancel()
        self._ready.discard(worker.pid)
        del self._alive[number]
        if self._settings.shared:
            fold(self._settings.shared, worker.pid)
            _clear(self._settings.shared, worker.pid)
        reason = "" if ready else worker.reason or f"workers: one ended with {how} before it was ready; see its log"
        return f"pid {worker.pid}, {how}", reason

    async def _watch(self, number: int, worker: Worker) -> None:
        """End a worker that hangs: another takes its place."""
        while not worker.heart.tick():
            if worker.heart.is_late:
                log.warning(
                    "worker %d (pid %d) has sent no heartbeat for %g s; after %g s without one it is replaced",
                    number, worker.pid, LATE * self._tick_s, MISSED_MAX * self._tick_s,
                )  # fmt: skip
            await asyncio.sleep(self._tick_s)
        log.error(
            "worker %d (pid %d) is stopped or hangs: it has sent no heartbeat for %d s and is killed",
            number, worker.pid, worker.heart.missed * self._tick_s,
        )  # fmt: skip
        worker.kill()

    def reload(self) -> None:
        """Make all workers poll the repository, the certificates and the tokens now."""
        log.info("SIGHUP: the workers poll the repository, the certificates and the tokens now")
        for worker in self._alive.values():
            worker.reload()

    def _on_ready(self, number: int, worker: Worker) -> None:
        self._ready.add(worker.pid)
        if self._serving:
            worker.go()
            log.info(
                "worker %d (pid %d) is ready after %.1f s", number, worker.pid, time.monotonic() - worker.started_at
            )
            return
        ready = [each for each in self._alive.values() if each.pid in self._ready]
        if len(ready) == self._settings.workers:
            self._serving = True
            for each in ready:
                each.go()
            log.info(
                "serving on %s with %d workers (pids %s) after %.1f s",
                all_shown(self._settings.host, self._port), len(ready), ", ".join(str(each.pid) for each in ready),
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
                log.warning("pid %d is still running after %.0f s: it is killed", worker.pid, self._drain_s_max)
                worker.kill()
            await asyncio.wait(late)
        log.info("all workers have ended")


def _clear(directory: Path, pid: int) -> None:
    """Remove the directories of a worker that has ended: one that was killed could not."""
    for left in directory.glob(f"{pid}-*"):
        if left.is_dir():
            shutil.rmtree(left, ignore_errors=True)


@contextlib.contextmanager
def held_port(hosts: Hosts, port: int) -> Iterator[Bound]:
    """Own a port inside the block without receiving on it, and let workers of this user share it.

    Port 0 picks a free one. Raises CannotStart if another server has it, even one that shares it with its own workers:
    each socket is bound exclusively, and made to share only then. Unix domain sockets cannot be bound by several: they
    listen at once, and workers inherit them.
    """
    if not hasattr(socket, "SO_REUSEPORT"):
        raise CannotStart("workers: this system cannot share a port between processes: use --workers 1")
    try:
        bound = bind(hosts, port, listens=False)
    except OSError as error:
        raise CannotStart(cannot_bind(all_shown(hosts, port), error)) from error
    with contextlib.closing(bound):
        for each in bound.sockets:
            if each.family == socket.AF_UNIX:
                each.listen(BACKLOG)
            else:
                each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
                each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        yield bound
