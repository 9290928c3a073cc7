"""Threads that nobody waits for: their results, and the end of a process with a stuck one."""

import asyncio
import subprocess
import sys
import threading

import pytest

from skylane.server.host.daemons import run_in_daemon


def test_what_the_work_gives_or_raises_comes_back() -> None:
    def fail() -> None:
        raise KeyError("why")

    async def both() -> None:
        assert await run_in_daemon(lambda: 7, "work") == 7
        with pytest.raises(KeyError, match="why"):
            await run_in_daemon(fail, "work")

    asyncio.run(both())


def test_the_loop_ends_while_the_work_does_not() -> None:
    release, ended = threading.Event(), threading.Event()

    def hang() -> None:
        release.wait()
        ended.set()

    async def give_up() -> None:
        task = asyncio.ensure_future(run_in_daemon(hang, "hung"))
        await asyncio.sleep(0)
        task.cancel()

    asyncio.run(give_up())
    assert not ended.is_set()
    release.set()
    assert ended.wait(60)


STUCK = """
import asyncio, sys, threading
from skylane.server.host.daemons import leave, run_in_daemon

async def start():
    task = asyncio.ensure_future(run_in_daemon(threading.Event().wait, "stuck"))
    await asyncio.sleep(0)
    task.cancel()

asyncio.run(start())
print("before", flush=False)
leave(3)
print("never reached")
"""


def test_a_process_with_a_stuck_thread_ends_at_once_with_its_code_and_all_that_it_printed() -> None:
    done = subprocess.run([sys.executable, "-c", STUCK], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (
        3,
        "before\n",
        "exiting although the threads skylane-stuck still run\n",
    )
