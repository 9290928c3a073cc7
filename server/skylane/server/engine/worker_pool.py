"""Worker threads for runs that are not inline, and timers on the event loop: the engine's `Workers`.

A queue and a count instead of concurrent.futures: nobody waits for a run's result, and making a Future for each took a
third of the time that the receiving thread held the GIL when every batch went to a worker (a forest, 8 × 8).
"""

import asyncio
import logging
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Final

log = logging.getLogger(__name__)

WORKERS_MAX: Final = 256
"""Most threads; further work waits for a free one. A thread is started only when work comes and none is free."""


class LoopWorkers:
    """Implements `skylane.server.engine.engine.Workers`."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._work: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._free = 0
        """Waiting threads that no work in the queue is assigned to yet."""
        self._threads = 0

    def run(self, work: Callable[[], None]) -> None:
        """Do the work on another thread, soon."""
        with self._lock:
            starts = self._free == 0 and self._threads < WORKERS_MAX
            if starts:
                self._threads += 1
            elif self._free:
                self._free -= 1
        self._work.put(work)
        if starts:
            # A daemon thread: a run that outlasts the grace period must not keep the process alive.
            threading.Thread(target=self._serve, name=f"skylane-run-{self._threads}", daemon=True).start()

    def call_at(self, due_at: float, work: Callable[[], None]) -> None:
        """Do the work at this instant of the engine's clock, or a little later: the loop's clock is the same."""
        self._loop.call_soon_threadsafe(self._loop.call_at, due_at, work)

    def close(self) -> None:
        """Let each thread end after its current work. Does not wait for them."""
        for _ in range(self._threads):
            self._work.put(None)

    def _serve(self) -> None:
        while (work := self._work.get()) is not None:
            try:
                work()
            except Exception:  # an internal error: the thread must survive for the next run
                log.exception("a run failed with an internal error")
            del work  # it references a model, which must not stay in memory while this thread waits
            with self._lock:
                self._free += 1
