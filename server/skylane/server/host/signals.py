"""Signals: those that end the server, the one that makes it poll its files, and those that are ignored.

SIGTERM, SIGINT and SIGQUIT drain and end it. SIGHUP makes it poll the repository, the certificates and the tokens now,
as `systemctl reload` and the scripts of logrotate expect. SIGUSR1 and SIGUSR2 are ignored. Their default, of SIGHUP as
well, would be to end the process at once, with every request in flight.
"""

import asyncio
import signal
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Final

from skylane.server.core.errors import StoppedEarly

ENDING: Final = ("SIGTERM", "SIGINT", "SIGQUIT")
RELOADING: Final = "SIGHUP"
IGNORED: Final = ("SIGUSR1", "SIGUSR2")


def ignore_others() -> None:
    """Ignore signals that must not end the process, before its handlers are installed."""
    if threading.current_thread() is not threading.main_thread():
        return  # the server runs inside another program, which handles signals
    for name in (RELOADING, *IGNORED):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)


def asked_to_stop() -> asyncio.Event:
    """Set by the first signal that ends the server from now on. Needs a running event loop."""
    event = asyncio.Event()
    for name in ENDING:
        asyncio.get_running_loop().add_signal_handler(getattr(signal, name), event.set)
    return event


async def until_stopped(stop_signal: asyncio.Event, work: Coroutine[Any, Any, None]) -> None:
    """Do the work. Raises StoppedEarly if a signal ends the server before the work is done."""
    task, stop = asyncio.ensure_future(work), asyncio.ensure_future(stop_signal.wait())
    try:
        await asyncio.wait([task, stop], return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise StoppedEarly
        task.result()
    finally:
        stop.cancel()
        task.cancel()


def on_reload(reload: Callable[[], None]) -> None:
    """Call this on the event loop at each SIGHUP from now on. Needs a running event loop."""
    asyncio.get_running_loop().add_signal_handler(getattr(signal, RELOADING), reload)


def ignore_all() -> None:
    """Ignore every signal from now on: another SIGTERM must not turn a clean exit into a failure.

    Needs a running event loop, which would restore what each signal does by default when it is closed.
    """
    for name in (*ENDING, RELOADING):
        asyncio.get_running_loop().remove_signal_handler(getattr(signal, name))
        signal.signal(getattr(signal, name), signal.SIG_IGN)
