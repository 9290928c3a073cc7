"""Counts and times of one served version, from which all metrics and statistics of it are derived.

Recorded once for each task, not for each request: the calls of a task arrive, wait and are answered together. Records
are aggregated later by `fold`: when the buffer is full, or when `ServedVersion.statistics` is read. The version's lock
guards it. Times are seconds.
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

FOLD_TASKS: Final = 1024
"""Tasks that are aggregated at once, by columns, in 0.2 ms. Timed in a loop, that is 0.5 µs for each with recording it,
instead of 1.0 one by one. In a server whose every request is a batch, the aggregation starts with cold CPU caches:
with 256 at once it took 4.5 % of the CPU, with 1024 2.4 %, and with 4096 no less."""

ANSWERED: Final = ""
"""The outcome of a call that was answered; other outcomes are the name of an error's class."""

Column = np.ndarray[tuple[int], np.dtype[np.float64]]
_BOUNDS: Final = np.array(BOUNDS_S)
_RECORD: Final = Struct("=8d")
"""The record of one task: the arguments of `Statistics.answered`. Packed as bytes, since allocating Python numbers that
live until `fold` costs more than packing them."""

_pack, _RECORD_BYTES, _BUFFER_BYTES = _RECORD.pack_into, _RECORD.size, _RECORD.size * FOLD_TASKS


class Histogram:
    """A histogram of durations with the buckets of Prometheus."""

    __slots__ = ("buckets", "seconds")

    def __init__(self) -> None:
        self.buckets = [0] * (len(BOUNDS_S) + 1)
        """Calls in each bucket; not cumulative."""
        self.seconds = 0.0

    @property
    def count(self) -> int:
        """Calls in all buckets."""
        return sum(self.buckets)

    def add(self, calls: Column, seconds: Column) -> None:
        """Add groups of calls: the number of calls of each group, and the seconds that each of its calls took."""
        counts = np.bincount(_BOUNDS.searchsorted(seconds), calls, len(self.buckets))
        self.buckets = [old + int(new) for old, new in zip(self.buckets, counts.tolist(), strict=True)]
        self.seconds += float(calls @ seconds)


@dataclass(slots=True)
class BatchSize:
    """Totals over all batches with the same number of rows."""

    executions: int = 0
    gather_s: float = 0.0
    run_s: float = 0.0
    reply_s: float = 0.0


class Numbers(dict[str, int]):
    """Assigns each new name the next number, from 0."""

    def __missing__(self, name: str) -> int:
        number = self[name] = len(self)
        return number


@dataclass(slots=True)
class Statistics:
    """Counts and times since the version was loaded."""

    total: Histogram = field(default_factory=Histogram)
    """From a call's arrival in the queue to its answer; only calls for which the model ran."""
    queue: Histogram = field(default_factory=Histogram)
    """The part of `total` spent in the queue."""
    gather_s: float = 0.0
    """Time to gather the inputs, summed over calls: each call counts the time of its whole batch. So does `run_s`."""
    run_s: float = 0.0
    run: Histogram = field(default_factory=Histogram)
    """Durations of the model's runs, one entry per batch."""
    batches: dict[int, BatchSize] = field(default_factory=dict)
    """Rows of a batch → totals of that size. The policy bounds the number of sizes."""
    hits: int = 0
    """Calls answered from the cache."""
    hit_s: float = 0.0
    coalesced: int = 0
    """Calls answered by the run of an equal one."""
    empty: int = 0
    """Calls without rows, for which the model did not run."""
    caches: bool = False
    """Whether the version has a cache."""
    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(protocol, `ANSWERED` or the name of the error's class) → calls with that outcome."""
    last_at: float = 0.0
    """Instant on the engine's clock of the last answer."""
    _buffer: bytearray = field(default_factory=lambda: bytearray(_BUFFER_BYTES))
    """Records of the tasks that are not yet aggregated."""
    _used_bytes: int = 0
    """Bytes of the buffer in use."""
    _numbers: Numbers = field(default_factory=Numbers)
    """Protocol → its number in the records."""

    @property
    def reply_s(self) -> float:
        """Time to encode and send the replies, summed over calls: the rest of `total`."""
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
        """Calls that were answered."""
        return self.total.count + self.hits + self.coalesced + self.empty

    @property
    def failures(self) -> Counter[str]:
        """Name of the error's class → calls refused with it."""
        failures = Counter[str]()
        for (_, error), calls in list(self.outcomes.items()):  # copied in one step: readers hold no lock
            if error:
                failures[error] += calls
        return failures

    def answered(
        self, arrived_at: float, calls: int, protocol: str, rows: int,
        began_at: float, gathered_at: float, ran_at: float, ended_at: float,
    ) -> None:  # fmt: skip
        """Record a task that was answered. `rows` are those of its whole batch, 0 for all but the batch's first task.

        Instants: the task arrived; its batch left the queue, had its arrays, had its outputs, and was answered.
        """
        place, protocol_number = self._used_bytes, self._numbers[protocol]
        _pack(self._buffer, place, arrived_at, began_at, gathered_at, ran_at, ended_at, calls, rows, protocol_number)
        self._used_bytes = place + _RECORD_BYTES
        if self._used_bytes == _BUFFER_BYTES:
            self.fold()

    def fold(self) -> None:
        """Aggregate the recorded tasks."""
        if not self._used_bytes:
            return
        columns = np.frombuffer(self._buffer, np.float64, self._used_bytes // 8).reshape(-1, _RECORD_BYTES // 8).T
        self._used_bytes = 0
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
        """Aggregate batches; each has an entry in every column."""
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
        """Record calls that were answered from the cache, in `seconds` for all of them."""
        self.hits += calls
        self.outcomes[protocol, ANSWERED] += calls
        self.hit_s += seconds
        self.last_at = now

    def followed(self, calls: int, protocol: str) -> None:
        """Record calls that were answered by the run of an equal call."""
        self.coalesced += calls
        self.outcomes[protocol, ANSWERED] += calls

    def had_no_rows(self, calls: int, protocol: str) -> None:
        """Record calls without rows, which were answered without a run."""
        self.empty += calls
        self.outcomes[protocol, ANSWERED] += calls

    def failed(self, error: Exception, calls: int, protocol: str) -> None:
        """Record calls that were refused with this error."""
        self.outcomes[protocol, type(error).__name__] += calls
