"""Work on threads that the end of the process does not wait for, as asyncio.to_thread's are waited for."""

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

from skylane.server.core.errors import CannotStart
from skylane.server.host import exits

log = logging.getLogger(__name__)

T = TypeVar("T")

PREFIX: Final = "skylane-"
"""Of the names of threads that may be stuck when the process ends, in a disk or in a graph."""
TRIED_S_MAX: Final = 5.0
"""What may be left undone gets so long."""
END_S_MAX: Final = 1.0
"""What they get to end by themselves."""


async def run_in_daemon(work: Callable[[], T], name: str) -> T:
    """Do the work on another thread. Cancelled, it goes on, and nobody waits for it."""
    loop = asyncio.get_running_loop()
    result: asyncio.Future[T] = loop.create_future()

    def finish(value: T | None, error: BaseException | None) -> None:
        if result.cancelled():
            return
        if error is not None:
            result.set_exception(error)
        else:
            result.set_result(value)  # type: ignore[arg-type]  # it is one where there is no error

    def run() -> None:
        value, failure = None, None
        try:
            value = work()
        except BaseException as error:  # whoever waits handles it
            failure = error
        with contextlib.suppress(RuntimeError):  # the loop has closed: nobody waits
            loop.call_soon_threadsafe(finish, value, failure)

    threading.Thread(target=run, name=PREFIX + name, daemon=True).start()
    return await result


async def check_repository(models: Path) -> None:
    """Raise CannotStart unless the model repository is a directory. Logs that its disk does not answer."""
    task = asyncio.ensure_future(run_in_daemon(models.is_dir, "models"))
    if not (await asyncio.wait([task], timeout=TRIED_S_MAX))[0]:
        log.error("models: %s has not responded for %g s: nothing can be loaded before it does", models, TRIED_S_MAX)
    if not await task:
        raise CannotStart(f"models: {models} is not a directory: name the model repository with --models")


async def try_in_daemon(work: Callable[[], object], name: str) -> None:
    """The same for what may be left undone: it is not waited for longer than a moment."""
    task = asyncio.ensure_future(run_in_daemon(work, name))
    await asyncio.wait([task], timeout=TRIED_S_MAX)
    if task.done():
        task.result()


def leave(code: int) -> int:
    """End the process with this code at once if a thread is stuck; else give the code back.

    The interpreter's own end would run into what the thread still uses, or wait for it.
    """
    ends_at = time.monotonic() + END_S_MAX
    stuck = [each for each in threading.enumerate() if each.daemon and each.name.startswith(PREFIX)]
    for thread in stuck:
        thread.join(max(ends_at - time.monotonic(), 0.0))
    if hanging := sorted(thread.name for thread in stuck if thread.is_alive()):
        log.warning("exiting although the threads %s still run", ", ".join(hanging))
        exits.leave(code)
    return code
