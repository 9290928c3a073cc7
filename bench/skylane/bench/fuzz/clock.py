"""Threads and time that a seed decides: every event runs as a greenlet, and only `sleep` lets another one in."""

import heapq
import itertools
from collections.abc import Callable

from greenlet import getcurrent, greenlet


class Simulation:
    """A clock in seconds, and Workers for the engine that live on it."""

    def __init__(self) -> None:
        self.now = 0.0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._hub = getcurrent()

    def clock(self) -> float:
        """The engine's clock."""
        return self.now

    def call_at(self, due_at: float, work: Callable[[], None]) -> None:
        self._push(due_at, lambda: greenlet(work, self._hub).switch())

    def run(self, work: Callable[[], None]) -> None:
        self.call_at(self.now, work)

    def sleep(self, seconds: float) -> None:
        """Let this much time pass for whoever calls, and everything else that is due happen meanwhile."""
        self._push(self.now + seconds, getcurrent().switch)
        self._hub.switch()

    def _push(self, at: float, event: Callable[[], None]) -> None:
        heapq.heappush(self._events, (max(at, self.now), next(self._order), event))

    def play(self) -> None:
        """Run until nothing is left to happen."""
        while self._events:
            self.now, _, event = heapq.heappop(self._events)
            event()
