"""Loads, each on a thread of its own, so that one that takes long or never ends holds up no other.

Whoever follows the repository waits for each for a while. A load that is not done by then goes on beside the others.
One that has not ended after its time is told of as refused, although its thread, which may wait for a disk, cannot be
ended.
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
    """On a daemon: what never ends must not keep the process alive."""
    threading.Thread(target=work, name=name, daemon=True).start()


@dataclass(frozen=True, kw_only=True)
class LoadLimits:
    """How long is waited for what."""

    slow_s: float = 5.0
    """A load that takes longer goes on beside the others."""
    load_s_max: float = 125.0
    """One that takes longer is refused. Longer than the loader's own limit, which can end what ONNX Runtime does."""
    beside_max: int = 8
    """Loads beside the others; while there are so many, none is begun."""
    settle_s: float = 0.0
    """A version that is being written is tried again when its files have been the same for so long."""
    written_s_max: float = 0.0
    """And refused if they have been the same for so long, and are still not those that its sums list."""


class Load:
    """One load, under way or ended."""

    def __init__(self, work: Callable[[], LoadedModel], stamp: Stamp, policy: Policy, begun_at: float) -> None:
        """`stamp`, `policy`: what the version's files were like, and by which policy it is loaded."""
        self._work = work
        self.stamp, self.policy, self.begun_at = stamp, policy, begun_at
        self.model: LoadedModel | None = None
        self.error: Exception | None = None
        self.is_given_up = False
        """Whether it has been told of as refused."""
        self._ended = threading.Event()

    def run(self) -> None:
        """Do it. Never raises."""
        try:
            self.model = self._work()
        except Exception as error:  # whoever waits handles it
            self.error = error
        finally:
            self._ended.set()

    @property
    def has_ended(self) -> bool:
        """Whether `model` or `error` is there."""
        return self._ended.is_set()

    def wait(self, seconds: float) -> bool:
        """Wait so long for its end; whether it has ended."""
        return self._ended.wait(seconds)


class Loads:
    """All loads of a repository. For one thread at a time."""

    def __init__(
        self, limits: LoadLimits, start: Start = start_thread, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.limits: Final = limits
        self.clock: Final = clock
        self._start = start
        self._beside: list[Load] = []

    @property
    def has_room(self) -> bool:
        """Whether another may be begun."""
        self._beside = [load for load in self._beside if not load.has_ended]
        return len(self._beside) < self.limits.beside_max

    def run(self, load: Load, name: str) -> bool:
        """Begin it, and wait a while for its end; whether it has ended."""
        self._start(load.run, f"skylane-load-{name}")
        if load.wait(self.limits.slow_s):
            return True
        self._beside.append(load)
        return False

    def is_overdue(self, load: Load) -> bool:
        """Whether it has taken longer than any may, and has not been told of as refused."""
        return not load.is_given_up and self.clock() - load.begun_at >= self.limits.load_s_max


@dataclass
class Refusal:
    """Why a version is not served, until its files change."""

    stamp: Stamp
    reason: str
    still_since: float
    """Instant since which the files have been as they are."""
    is_final: bool = True
    """False while the version may still be being written."""
    is_tried: bool = True
    """Whether these very files were tried."""


class Refusals:
    """Decides which versions are worth another try. Times are seconds on the caller's clock."""

    def __init__(self, limits: LoadLimits) -> None:
        self._limits = limits

    def first(self, stamp: Stamp, reason: str, now: float, wall_now: float) -> Refusal:
        """Of a version whose files are not those that its sums list, as while they are being written."""
        changed_at = max((file.changed_ns for file in stamp), default=0) / 1e9
        still_since = now - max(wall_now - changed_at, 0.0)
        return Refusal(stamp, reason, still_since, is_final=now - still_since >= self._limits.written_s_max)

    def again(self, refusal: Refusal, stamp: Stamp, now: float) -> Refusal | None:
        """What becomes of a refusal now that the files are so; None: the version is worth a try."""
        if stamp != refusal.stamp:
            if refusal.is_final:
                return None
            return Refusal(stamp, refusal.reason, now, is_final=False, is_tried=False)
        if not refusal.is_final and now - refusal.still_since >= self._limits.settle_s and not refusal.is_tried:
            return None
        if not refusal.is_final and now - refusal.still_since >= self._limits.written_s_max:
            return Refusal(stamp, refusal.reason, refusal.still_since)
        return refusal
