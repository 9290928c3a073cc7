"""What one loaded version has answered: the one source of what metrics and statistics tell.

Recorded once for each batch, not for each request: calls of a task came together, waited together and were answered
together. Records are counted some batches later, or when statistics are requested (`fold`).
The version's lock guards it. Times are seconds.
"""

from collections import Counter
from dataclasses import dataclass, field
from struct import Struct
from typing import Final

import numpy as np

BOUNDS_S: Final = (
    50e-6, 100e-6, 200e-6, 500e-6, 1e-3, 2e-3, 5e-3, 10e-3, 20e-3, 50e-3, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0,
)  # fmt: skip
"""Upper bounds of the histograms' buckets; one more is for what took longer."""

FOLDED_TOGETHER: Final = 1024
"""Tasks that are counted at once, by columns, in 0.2 ms. Each takes 0.5 µs together with noting it, timed in a loop,
where one by one took 1.0. In a server whose every request is a batch, code has left the caches meanwhile: counting 256
at once cost it 4.5 % of its CPU, 1024 cost 2.4 %, and 4096 no less."""

ANSWERED: Final = ""
"""How a call ended that got its answer, where others have the name of an error's class."""

Column = np.ndarray[tuple[int], np.dtype[np.float64]]
_BOUNDS: Final = np.array(BOUNDS_S)
_NOTE: Final = Struct("=8d")
"""What is noted of a task: see `Statistics.answered`. As bytes, since numbers of Python's that are kept for a while
take new memory each time, which costs more than it takes to pack them."""

_note, _NOTE_BYTES, _NOTES_BYTES = _NOTE.pack_into, _NOTE.size, _NOTE.size * FOLDED_TOGETHER


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

    def add(self, calls: Column, seconds: Column) -> None:
        """So many calls took so long each; one entry for each group of calls."""
        counts = np.bincount(_BOUNDS.searchsorted(seconds), calls, len(self.buckets))
        self.buckets = [old + int(new) for old, new in zip(self.buckets, counts.tolist(), strict=True)]
        self.seconds += float(calls @ seconds)


@dataclass(slots=True)
class BatchSize:
    """All batches of so many rows."""

    executions: int = 0
    gather_s: float = 0.0
    run_s: float = 0.0
    reply_s: float = 0.0


class Numbers(dict[str, int]):
    """Name → a number that stands for it, from 0."""

    def __missing__(self, name: str) -> int:
        number = self[name] = len(self)
        return number


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
    _notes: bytearray = field(default_factory=lambda: bytearray(_NOTES_BYTES))
    """Of the tasks that are not yet counted, one after the other."""
    _noted: int = 0
    """Bytes of them."""
    _numbers: Numbers = field(default_factory=Numbers)
    """Protocol → what stands for it among those."""

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

    def answered(
        self, arrived_at: float, calls: int, protocol: str, rows: int,
        began_at: float, gathered_at: float, ran_at: float, ended_at: float,
    ) -> None:  # fmt: skip
        """A task of so many calls was answered by a batch of so many rows; 0 rows for all but the batch's first task.

        Instants: when the task came, when the batch left the queue, had its arrays, had its outputs, and had answered
        everybody.
        """
        place, protocol_number = self._noted, self._numbers[protocol]
        _note(self._notes, place, arrived_at, began_at, gathered_at, ran_at, ended_at, calls, rows, protocol_number)
        self._noted = place + _NOTE_BYTES
        if self._noted == _NOTES_BYTES:
            self.fold()

    def fold(self) -> None:
        """Count what was only noted so far."""
        if not self._noted:
            return
        columns = np.frombuffer(self._notes, np.float64, self._noted // 8).reshape(-1, _NOTE_BYTES // 8).T
        self._noted = 0
        arrived_at, began_at, gathered_at, ran_at, ended_at, calls, rows, protocols = columns
        gather_s, run_s, reply_s = gathered_at - began_at, ran_at - gathered_at, ended_at - ran_at
        self.queue.add(calls, began_at - arrived_at)
        self.total.add(calls, ended_at - arrived_at)
        self.gather_s += float(calls @ gather_s)
        self.run_s += float(calls @ run_s)
        self.last_at = max(self.last_at, float(ended_at.max()))
        answered = np.bincount(protocols.astype(np.intp), calls, len(self._numbers)).tolist()
        for protocol, number in self._numbers.items():
            if answered[number]:
                self.outcomes[protocol, ANSWERED] += int(answered[number])
        batches = rows > 0
        self._fold_batches(rows[batches], gather_s[batches], run_s[batches], reply_s[batches])

    def _fold_batches(self, rows: Column, gather_s: Column, run_s: Column, reply_s: Column) -> None:
        """Count batches, each of which has its rows and times."""
        self.run.add(np.ones_like(rows), run_s)
        sizes, places = np.unique(rows, return_inverse=True)
        executions, *times = (
            np.bincount(places, weights, len(sizes)).tolist() for weights in (None, gather_s, run_s, reply_s)
        )
        for size, count, *seconds in zip(map(int, sizes), executions, *times, strict=True):
            own = self.batches.get(size)
            if own is None:
                own = self.batches[size] = BatchSize()
            own.executions += count
            own.gather_s += seconds[0]
            own.run_s += seconds[1]
            own.reply_s += seconds[2]

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
