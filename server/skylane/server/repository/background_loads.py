"""Loads of versions, each on a thread of its own, so that one that takes long or never ends delays no other.

The caller waits a limited time for each load. One that has not ended by then continues in the background. One that
exceeds `load_s_max` is reported as refused, although its thread, which may wait for a disk, cannot be stopped.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from skylane.policy import Policy
from skylane.server.engine.served_version import LoadedModel
from skylane.server.repository.scanner import Stamp

Start = Callable[[Callable[[], None], str], None]
"""(work, name) → does the work on another thread."""


def start_thread(work: Callable[[], None], name: str) -> None:
    """Start a daemon thread: a load that never ends must not keep the process alive."""
    threading.Thread(target=work, name=name, daemon=True).start()


@dataclass(frozen=True, kw_only=True)
class LoadLimits:
    """Time limits of loads, in seconds, and how many run at once."""

    slow_s: float = 5.0
    """A load that takes longer continues in the background."""
    fallback_s: float = 15.0
    """If a load takes longer and no version of the model serves, others that may serve are loaded as well."""
    load_s_max: float = 125.0
    """A load that takes longer is refused. Longer than the limit of `load_version`, which can stop ONNX Runtime."""
    background_max: int = 8
    """Loads in the background at once; while there are so many, no other is started."""
    settle_s: float = 0.0
    """A version that is being written is loaded again when its files have not changed for this long."""
    written_s_max: float = 0.0
    """It is refused if they have not changed for this long and still do not match its checksums."""


class BackgroundLoad:
    """One load, running or ended."""

    def __init__(self, work: Callable[[], LoadedModel], stamp: Stamp, policy: Policy, started_at: float) -> None:
        """`stamp`, `policy`: the state of the version's files, and the policy by which it is loaded."""
        self._work = work
        self.stamp, self.policy, self.started_at = stamp, policy, started_at
        self.model: LoadedModel | None = None
        self.error: Exception | None = None
        self.needs_fallback = False
        """Whether it has been reported as so slow that others are loaded meanwhile."""
        self.is_given_up = False
        """Whether it has been reported as refused for taking too long."""
        self._ended = threading.Event()

    def run(self) -> None:
        """Do the work. Never raises."""
        try:
            self.model = self._work()
        except Exception as error:  # handled by the thread that waits
            self.error = error
        finally:
            self._ended.set()

    @property
    def has_ended(self) -> bool:
        """Whether `model` or `error` is set."""
        return self._ended.is_set()

    def wait(self, seconds: float) -> bool:
        """Wait at most this long for its end. Returns whether it has ended."""
        return self._ended.wait(seconds)


class BackgroundLoads:
    """All loads of a repository. For one thread at a time."""

    def __init__(
        self, limits: LoadLimits, start: Start = start_thread, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.limits: Final = limits
        self.clock: Final = clock
        self._start = start
        self._running: list[BackgroundLoad] = []

    @property
    def has_room(self) -> bool:
        """Whether another load may be started."""
        self._running = [load for load in self._running if not load.has_ended]
        return len(self._running) < self.limits.background_max

    def run(self, load: BackgroundLoad, name: str) -> bool:
        """Start it, and wait a limited time for its end. Returns whether it has ended."""
        self._start(load.run, f"skylane-load-{name}")
        if load.wait(self.limits.slow_s):
            return True
        self._running.append(load)
        return False

    def is_fallback_due(self, load: BackgroundLoad) -> bool:
        """Whether it has taken longer than `fallback_s`, and has not been reported for it."""
        return not load.needs_fallback and self.clock() - load.started_at >= self.limits.fallback_s

    def is_overdue(self, load: BackgroundLoad) -> bool:
        """Whether it has taken longer than `load_s_max`, and has not been reported as refused."""
        return not load.is_given_up and self.clock() - load.started_at >= self.limits.load_s_max
