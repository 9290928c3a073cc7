"""What a process does on signals, from its first line to its last."""

import signal
import subprocess
import sys

import pytest

SCRIPT = """
import asyncio, os, signal
from skylane.server.host import signals

signals.ignore_others()
os.kill(os.getpid(), signal.SIGHUP)  # before anything can handle it

async def main():
    loop, asked, polled = asyncio.get_running_loop(), signals.asked_to_stop(), asyncio.Event()
    signals.on_reload(polled.set)
    os.kill(os.getpid(), signal.SIGHUP)
    await polled.wait()
    for name in signals.IGNORED:
        os.kill(os.getpid(), getattr(signal, name))
    os.kill(os.getpid(), signal.{name})
    await asked.wait()
    signals.ignore_all()

asyncio.run(main())
for name in (*signals.ENDING, signals.RELOADING, *signals.IGNORED):
    os.kill(os.getpid(), getattr(signal, name))  # when the loop is closed
print("ended")
"""


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
def test_from_the_first_line_to_the_last(ending: signal.Signals) -> None:
    script = SCRIPT.replace("{name}", ending.name)
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "ended\n", "")
