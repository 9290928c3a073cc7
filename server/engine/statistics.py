"""What one loaded version has answered: the one source of what metrics and statistics tell.

Recorded once for each batch, not for each request: calls of a block came together, waited together and were answered
together. What was recorded is counted some batches later, or when somebody asks (`fold`): `Lane.statistics` does that.
The lane's lock guards it. Times are seconds.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

BOUNDS_S: Final = (
    50e-6, 100e-6, 200e-6, 500e-6, 1e-3, 2e-3, 5e-3, 10e-3, 20e-3, 50e-3, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0,
)  # fmt: skip
"""Upper bounds of the histograms' buckets; one more is for what took longer."""


FOLDED_TOGETHER: Final = 32
"""Batches that are counted in a row, which costs less for each: 1.3 µs together with noting it, timed in a loop."""

ANSWERED: Final = ""
"""How a call ended that got its answer, where others have the name of an error's class."""


class Histogram:
    """How often something took how long, as Prometheus counts it."""

    __slots__ = ("buckets", "seconds")

    def __init__(self) -> None:
        self.buckets = [0] * (len(BOUNDS_S) + 1)
        """Calls in each bucket alone, not in those below."""
        self.seconds = 0.0

    @property
    def count(self) -> int:
        """Calls in all buckets."""
        return sum(self.buckets)

    def add(self, calls: int, seconds: float) -> None:
        """So many calls took so long each."""
        self.buckets[bisect_left(BOUNDS_S, seconds)] += calls
        self.seconds += calls * seconds


@dataclass(slots=True)
class BatchSize:
    """All batches of so many rows."""

    executions: int = 0
    gather_s: float = 0.0
    run_s: float = 0.0
    reply_s: float = 0.0


Times = tuple[float, float, float, float]
"""When a batch left the queue, had its arrays, had its outputs, and had answered everybody."""

Came = tuple[float, int, str]
"""When a block came, how many calls it has, and by which protocol."""


@dataclass(slots=True)
class Statistics:
    """Counts and times since the version was loaded."""

    total: Histogram = field(default_factory=Histogram)
    """From a call's arrival in the queue to its answer, of calls for which the model ran."""
    queue: Histogram = field(default_factory=Histogram)
    """What of that was waiting."""
    gather_s: float = 0.0
    """Calls' time while their inputs became arrays, each call counting that of its whole batch; so the next."""
    run_s: float = 0.0
    run: Histogram = field(default_factory=Histogram)
    """What executions took, one entry for each."""
    batches: dict[int, BatchSize] = field(default_factory=dict)
    """Rows of a batch → all of that size; the policy bounds how many sizes there are."""
    hits: int = 0
    """Calls answered from the cache."""
    hit_s: float = 0.0
    coalesced: int = 0
    """Calls answered by the run of an equal one."""
    empty: int = 0
    """Calls without rows, for which nothing ran."""
    caches: bool = False
    """Whether answers are kept, so that a call may hit or miss."""
    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(protocol, name of the error's class or nothing for an answer) → calls that ended so."""
    last_at: float = 0.0
    """Instant on the engine's clock of the last answer."""
    _fresh: list[tuple[Sequence[Came], int, Times]] = field(default_factory=list)
    """Batches that are noted, and not yet counted."""

    @property
    def reply_s(self) -> float:
        """Calls' time while their replies were made: what is left of the whole."""
        return max(0.0, self.total.seconds - self.queue.seconds - self.gather_s - self.run_s)

    @property
    def executions(self) -> int:
        """Batches that were run."""
        return sum(self.run.buckets)

    @property
    def rows(self) -> int:
        """Rows that were run."""
        return sum(rows * size.executions for rows, size in list(self.batches.items()))

    @property
    def succeeded(self) -> int:
        """Calls that got their answer."""
        return self.total.count + self.hits + self.coalesced + self.empty

    @property
    def failures(self) -> Counter[str]:
        """Name of the error's class → calls refused with it."""
        found = Counter[str]()
        for (_, error), calls in list(self.outcomes.items()):  # at once: who asks has no lock
            if error:
                found[error] += calls
        return found

    def answered(self, came: Sequence[Came], rows: int, times: Times) -> None:
        """A batch of so many rows was run, of these blocks."""
        self._fresh.append((came, rows, times))
        if len(self._fresh) == FOLDED_TOGETHER:
            self.fold()

    def fold(self) -> None:
        """Count the batches that were only noted so far."""
        fresh, self._fresh = self._fresh, []
        if not fresh:
            return
        bucket, bounds = bisect_left, BOUNDS_S
        batches, run_buckets = self.batches, self.run.buckets
        queue_buckets, total_buckets = self.queue.buckets, self.total.buckets
        queue_s = total_s = gather_s = run_s = runs_s = 0.0
        by, answered = fresh[0][0][0][2], 0  # calls of one protocol in a row are added to its count together
        for came, rows, (began_at, gathered_at, ran_at, ended_at) in fresh:
            gathering_s, running_s, count = gathered_at - began_at, ran_at - gathered_at, 0
            for arrived_at, together, protocol in came:
                waited_s, taken_s = began_at - arrived_at, ended_at - arrived_at
                queue_buckets[bucket(bounds, waited_s)] += together
                total_buckets[bucket(bounds, taken_s)] += together
                queue_s += together * waited_s
                total_s += together * taken_s
                if protocol != by:
                    self.outcomes[by, ANSWERED] += answered
                    by, answered = protocol, 0
                answered += together
                count += together
            gather_s += count * gathering_s
            run_s += count * running_s
            runs_s += running_s
            run_buckets[bucket(bounds, running_s)] += 1
            size = batches.get(rows)
            if size is None:
                size = batches[rows] = BatchSize()
            size.executions += 1
            size.gather_s += gathering_s
            size.run_s += running_s
            size.reply_s += ended_at - ran_at
            if ended_at > self.last_at:
                self.last_at = ended_at
        self.outcomes[by, ANSWERED] += answered
        self.queue.seconds += queue_s
        self.total.seconds += total_s
        self.gather_s += gather_s
        self.run_s += run_s
        self.run.seconds += runs_s

    def hit(self, calls: int, seconds: float, now: float, protocol: str) -> None:
        """So many calls were answered from the cache, which took so long for all."""
        self.hits += calls
        self.outcomes[protocol, ANSWERED] += calls
        self.hit_s += seconds
        self.last_at = now

    def followed(self, calls: int, protocol: str) -> None:
        """So many calls were answered by the run of an equal one."""
        self.coalesced += calls
        self.outcomes[protocol, ANSWERED] += calls

    def had_no_rows(self, calls: int, protocol: str) -> None:
        """So many calls had no rows, and were answered without a run."""
        self.empty += calls
        self.outcomes[protocol, ANSWERED] += calls

    def failed(self, error: Exception, calls: int, protocol: str) -> None:
        """So many calls were refused with this."""
        self.outcomes[protocol, type(error).__name__] += calls
