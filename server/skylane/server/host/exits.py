"""The end of a process that cannot end by itself, because a thread of it hangs: in a disk, or in a model's run.

Nothing waits for threads that may hang, see server/skylane/server/host/daemons.py, and the process leaves without
those that do when all
else has ended. Whatever else hangs, it leaves at the end of the grace period.
"""

import logging
import os
import sys
import threading
from collections.abc import Callable, Iterable
from typing import Final

log = logging.getLogger(__name__)

MARGIN_S: Final = 2.0
"""What closing may take beyond the grace period before the process leaves."""
FLUSH_S_MAX: Final = 1.0
"""What the log gets for its last lines: whoever reads it may hang as well."""
CUT_OFF: Final = 1
"""Exit code of a process that has not drained in time."""


def leave(code: int) -> None:
    """End this process now, whatever its threads do."""
    flushing = threading.Thread(target=_flush, name="exit-flush", daemon=True)
    flushing.start()
    flushing.join(FLUSH_S_MAX)
    os._exit(code)


def leave_after(seconds: float, leave: Callable[[int], None] = leave) -> threading.Timer:
    """Leave after this time, unless the process has ended before. Cancel what it returns to let it stay."""

    def end() -> None:
        log.critical(
            "not exited %g s after the signal: exiting without waiting for %s",
            seconds,
            _named(threading.enumerate()),
        )
        leave(CUT_OFF)

    timer = threading.Timer(seconds, end)
    timer.name, timer.daemon = "exit-deadline", True
    timer.start()
    return timer


def _named(threads: Iterable[threading.Thread]) -> str:
    """Those of the threads for which Python would wait."""
    names = [each.name for each in threads if not each.daemon and each is not threading.main_thread()]
    return "the threads " + ", ".join(sorted(names)) if names else "its main thread"


def _flush() -> None:
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
