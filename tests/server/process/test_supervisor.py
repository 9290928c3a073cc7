"""The supervisor: when the next worker starts, who holds the port, and what becomes of workers that end.

The workers here are a line of Python each: they speak the supervisor's protocol and serve nothing.
"""

import asyncio
import logging
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skylane.server.core.errors import CannotStart
from skylane.server.core.settings import Settings
from skylane.server.process.supervisor import PAUSE_S_MAX, STEADY_S, Restarts, Supervisor, held_port

SERVE = "import sys; print('ready', flush=True); sys.stdin.read()"


@pytest.mark.parametrize(
    ("lives_s", "pauses_s"),
    [
        pytest.param([0.1], [0], id="the first end: at once"),
        pytest.param([3600, 3600, 3600], [0, 0, 0], id="now and then: at once"),
        pytest.param([1, 1, 1, 1, 1], [0, 0.5, 1, 2, 4], id="again and again: later and later"),
        pytest.param([1, 1, 1, STEADY_S, 1, 1], [0, 0.5, 1, 0, 0, 0.5], id="a good start is forgiven"),
        pytest.param([1] * 10, [0, 0.5, 1, 2, 4, 8, 16, 30, 30, 30], id="never rarer than this"),
    ],
)
def test_when_the_next_worker_starts(lives_s: list[float], pauses_s: list[float]) -> None:
    restarts, now, paused = Restarts(), 100.0, list[float]()
    for life_s in lives_s:
        ended_at = now + life_s
        now = restarts.due_at(now, ended_at)
        paused.append(now - ended_at)
    assert paused == pauses_s


@given(st.lists(st.floats(0, 1e4), max_size=5000))
def test_a_pause_is_bounded_however_long_it_goes_on(lives_s: list[float]) -> None:
    restarts = Restarts()
    for life_s in lives_s:
        assert 0 <= restarts.due_at(0, life_s) - life_s <= PAUSE_S_MAX + 1e-6


# --- The port ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "localhost"])
def test_a_held_port_is_for_our_workers_alone(host: str) -> None:
    with held_port(host, 0) as held:
        port = held.port
        with sharing(port) as first, sharing(port) as second:
            first.listen()
            second.listen()
        refused = pytest.raises(CannotStart, match=f"port: {host}:{port} cannot be bound: another server may be using")
        with refused, held_port(host, port):
            pass
        with socket.socket() as alone, pytest.raises(OSError, match="in use"):
            alone.bind(("127.0.0.1", port))
    with held_port(host, port) as again:
        assert again.port == port


@pytest.mark.parametrize("shares", [False, True], ids=["a server alone", "a server that shares with its own workers"])
def test_a_port_of_another_server_is_refused(shares: bool) -> None:
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, int(shares))
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(CannotStart, match="cannot be bound"), held_port("127.0.0.1", other.getsockname()[1]):
            pass


def test_a_name_that_stands_for_nothing() -> None:
    refused = pytest.raises(CannotStart, match="cannot be bound: the name stands for no address, see --host")
    with refused, held_port("no-such-host.invalid", 8500):
        pass


def test_an_address_of_another_machine() -> None:
    """One of those that are for documents alone, RFC 5737: no machine has it."""
    refused = pytest.raises(CannotStart, match="cannot be bound: the address does not belong to this machine")
    with refused, held_port("192.0.2.1", 8500):
        pass


def sharing(port: int) -> socket.socket:
    """A socket as a worker binds it."""
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    made.bind(("127.0.0.1", port))
    return made


# --- Workers ----------------------------------------------------------------------------------------------------------


class Told(logging.Handler):
    """What the supervisor logs, as it comes."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self._came = asyncio.Event()

    def emit(self, record: logging.LogRecord) -> None:
        """See logging.Handler."""
        self.lines.append(record.getMessage())
        self._came.set()

    async def until(self, text: str, times: int = 1) -> None:
        """Wait until that many lines have this text."""
        async with asyncio.timeout(30):
            while sum(text in line for line in self.lines) < times:
                self._came.clear()
                await self._came.wait()


@pytest.fixture
async def told() -> AsyncIterator[Told]:
    log, handler = logging.getLogger("skylane.server.process.supervisor"), Told()
    before = log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    yield handler
    log.removeHandler(handler)
    log.setLevel(before)


def supervisor(
    script: str, *arguments: str, workers: int = 2, kill_margin_s: float = 10, tick_s: float = 1
) -> Supervisor:
    settings = Settings(workers=workers, grace_s=0)
    return Supervisor(settings, 8500, [sys.executable, "-c", script, *arguments], kill_margin_s, tick_s)


async def test_they_start_serve_and_stop(told: Told) -> None:
    stop = asyncio.Event()
    running = asyncio.create_task(supervisor(SERVE, workers=3).run(stop))
    await told.until("serving on 127.0.0.1:8500 with 3 workers (pids ")
    stop.set()
    await running
    assert told.lines[-1] == "all workers have ended"
    assert len(told.lines) == 2


@pytest.mark.parametrize(
    ("end", "how"),
    [
        pytest.param("sys.exit(3)", "exit code 3", id="by itself"),
        pytest.param("os.kill(os.getpid(), signal.SIGKILL)", "SIGKILL", id="by a signal"),
    ],
)
async def test_one_that_ends_is_replaced(told: Told, tmp_path: Path, end: str, how: str) -> None:
    ended = tmp_path / "ended"
    script = f"""
import os, pathlib, signal, sys
print('ready', flush=True)
if not pathlib.Path({str(ended)!r}).exists():
    pathlib.Path({str(ended)!r}).touch()
    {end}
sys.stdin.read()
"""
    stop = asyncio.Event()
    running = asyncio.create_task(supervisor(script, workers=1).run(stop))
    await told.until("is ready after")
    stop.set()
    await running
    (line,) = (line for line in told.lines if "ended after" in line)
    assert line.startswith("worker 1 (pid ")
    assert f", {how}) ended after " in line
    assert line.endswith("; the next one starts now")


async def test_one_that_ends_again_and_again_waits_longer(told: Told) -> None:
    stop = asyncio.Event()
    running = asyncio.create_task(supervisor("print('ready', flush=True)", workers=1).run(stop))
    await told.until("the next one starts in 0.5 s")
    stop.set()  # the pause ends with it
    await running


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        pytest.param(
            "import sys; print('cannot start: models: gone', flush=True); sys.exit(1)",
            "^models: gone$",
            id="it says why",
        ),
        pytest.param("import sys; sys.exit(1)", "one ended with exit code 1 before it was ready", id="silently"),
        pytest.param(
            "import os; os.kill(os.getpid(), 9)", "one ended with SIGKILL before it was ready", id="out of memory"
        ),
    ],
)
async def test_one_that_cannot_start_ends_all(told: Told, script: str, reason: str) -> None:
    with pytest.raises(CannotStart, match=reason):
        await supervisor(script).run(asyncio.Event())
    assert told.lines == ["all workers have ended"]


async def test_one_that_does_not_stop_is_killed(told: Told) -> None:
    script = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {SERVE}; signal.pause()"
    stop = asyncio.Event()
    running = asyncio.create_task(supervisor(script, workers=1, kill_margin_s=0).run(stop))
    await told.until("serving")
    stop.set()
    await running
    assert any("is still running after 0 s: it is killed" in line for line in told.lines)


async def test_one_that_hangs_is_killed_and_replaced(told: Told, tmp_path: Path) -> None:
    """It has sent a beat, and sends no more; the next one is heard of until the end."""
    hung = tmp_path / "hung"
    script = f"""
import pathlib, signal, sys, threading
print('beat', flush=True)
print('ready', flush=True)
if not pathlib.Path({str(hung)!r}).exists():
    pathlib.Path({str(hung)!r}).touch()
    signal.pause()
sys.stdin.readline()
print('beat', flush=True)
sys.stdin.read()
"""
    stop = asyncio.Event()
    running = asyncio.create_task(supervisor(script, workers=1, tick_s=0.05).run(stop))
    await told.until("is ready after")
    stop.set()
    await running
    (killed,) = (line for line in told.lines if "is killed" in line)
    assert killed.startswith("worker 1 (pid ")
    assert ") is stopped or hangs: it has sent no heartbeat for " in killed
    (late,) = (line for line in told.lines if "after 0.25 s without one it is replaced" in line)
    assert told.lines.index(late) < told.lines.index(killed)
    (ended,) = (line for line in told.lines if "ended after" in line)
    assert ", SIGKILL) ended after " in ended


async def test_workers_hear_when_all_are_ready(told: Told) -> None:
    """These end when they hear it."""
    script = "import sys; print('ready', flush=True); sys.exit(7 if sys.stdin.readline() == 'go\\n' else 1)"
    stop = asyncio.Event()
    running = asyncio.create_task(supervisor(script, workers=2).run(stop))
    await told.until("exit code 7", times=2)
    stop.set()
    await running
    assert not any("exit code 1)" in line for line in told.lines)


async def test_no_process_to_be_had() -> None:
    with pytest.raises(CannotStart, match=r"workers: a process cannot be started: .*No such file"):
        await Supervisor(Settings(workers=2), 8500, ["/nowhere/python"]).run(asyncio.Event())


async def test_a_worker_hears_of_the_end_of_its_supervisor() -> None:
    """Its standard input ends; here with the supervisor's process, which is killed."""
    script = """
import asyncio, logging, sys
from skylane.server.core.settings import Settings
from skylane.server.process.supervisor import Supervisor
logging.basicConfig(level=logging.INFO)
child = "print('ready', flush=True); import sys; sys.stdin.read(); sys.stderr.write('drained')"
asyncio.run(Supervisor(Settings(workers=2), 8500, [sys.executable, "-c", child]).run(asyncio.Event()))
"""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", script, stderr=pipe)
    assert process.stderr is not None
    async with asyncio.timeout(30):
        while b"serving on" not in await process.stderr.readline():
            pass
        process.kill()
        assert await process.stderr.read() == b"drained" * 2, "which also means that both have ended"
        await process.wait()
