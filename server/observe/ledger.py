"""The figures of this process: of every version that it has served, read from the lanes when somebody asks.

A lane that has gone, because its version was replaced or its policy changed, leaves its statistics here, and they are
added up once nothing can change them any more. Nothing here is on the way of a request.
"""

import os
import time
import weakref
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from threading import Lock
from typing import Final

from server.engine.lane import Lane, LoadedModel
from server.engine.statistics import Histogram, Statistics
from server.observe.figures import (
    Figures,
    HistogramFigures,
    LoadFigures,
    Outcome,
    PolicyFigures,
    ProcessFigures,
    SizeFigures,
    VersionFigures,
    together,
)
from server.repository.repository import Load, ModelStatus
from server.routing.routes import Routes
from skylane.policy import Policy

ROWS_BOUNDS: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192)
"""Upper bounds of the buckets of batch sizes; one more is for larger ones."""

REASON_MAX: Final = 500
"""Characters that are told of why a version is not served."""

GONE_MAX: Final = 1000
"""Versions that are served no more and still told of; beyond it the oldest are forgotten."""


class Ledger:
    """Follows the lanes from their first route to their end. Thread-safe."""

    def __init__(self, unserved: Callable[[], Mapping[tuple[str, str], int]]) -> None:
        """`unserved`: (protocol, how they ended) → requests that no model was asked for."""
        self._unserved = unserved
        self._lock = Lock()
        self._lanes: dict[weakref.ref[Lane], tuple[str, int, Statistics]] = {}
        self._gone: dict[tuple[str, int], VersionFigures] = {}
        self._loads: dict[str, LoadFigures] = {}
        self._started_at = time.time()

    def follow(self, routes: Routes) -> None:
        """These lanes serve from now on. Holds none of them in memory."""
        with self._lock:
            for name, model in routes.models.items():
                for version, lane in model.versions.items():
                    self._lanes.setdefault(weakref.ref(lane), (name, version, lane.counts))
            self._fold()

    def timed(self, load: Load, clock: Callable[[], float] = time.monotonic) -> Load:
        """The same function, counted."""

        def counted(directory: Path, name: str, version: int, policy: Policy) -> LoadedModel:
            began_at, failures = clock(), 1
            try:
                model = load(directory, name, version, policy)
                failures = 0
            finally:
                with self._lock:
                    told = self._loads.setdefault(name, LoadFigures(name))
                    told.add(LoadFigures(name, 1 - failures, 0.0 if failures else clock() - began_at, failures))
            return model

        return counted

    def figures(self, status: Mapping[str, ModelStatus]) -> Figures:
        """Everything, now."""
        with self._lock:
            self._fold()
            lanes = [(told, ref()) for ref, told in self._lanes.items()]
            gone, loads = list(self._gone.values()), list(self._loads.values())
        versions = [*gone, *(_of(*told, lane) for told, lane in lanes), *_states(status), *_memory(lanes)]
        unserved = [Outcome(*key, requests) for key, requests in sorted(self._unserved().items())]
        policies = [PolicyFigures(name, int(bool(model.policy_refused))) for name, model in status.items()]
        return together(
            [Figures(versions=versions, unserved=unserved, loads=loads, policies=policies, processes=[self._process()])]
        )

    def _fold(self) -> None:
        """With the lock held: add up what can change no more."""
        for ref in [ref for ref in self._lanes if ref() is None]:
            name, version, statistics = self._lanes.pop(ref)
            so_far = self._gone.pop((name, version), None) or VersionFigures(model=name, version=version)
            so_far.add(_of(name, version, statistics, None))
            self._gone[name, version] = so_far
        while len(self._gone) > GONE_MAX:
            del self._gone[next(iter(self._gone))]

    def _process(self) -> ProcessFigures:
        times = os.times()
        return ProcessFigures(os.getpid(), self._started_at, resident_bytes(), times.user + times.system)


def _of(name: str, version: int, told: Statistics, lane: Lane | None) -> VersionFigures:
    """What a lane counted, and how it is, if it is still there."""
    if lane is None:
        told.fold()
        return _counted(name, version, told)
    with lane.lock:
        told.fold()
        found = _counted(name, version, told)
        found.queue_rows = lane.queue.rows
        found.cache_bytes = lane.cache.used_bytes if lane.cache and not lane.retired else 0
    return found


def _counted(name: str, version: int, told: Statistics) -> VersionFigures:
    return VersionFigures(
        model=name,
        version=version,
        outcomes=[Outcome(*key, requests) for key, requests in told.outcomes.items()],
        total=_histogram(told.total),
        queue=_histogram(told.queue),
        run=_histogram(told.run),
        batch_rows=_rows(told),
        gather_s=told.gather_s,
        run_s=told.run_s,
        reply_s=told.reply_s,
        hits=told.hits,
        hit_s=told.hit_s,
        misses=told.total.count if told.caches else 0,
        coalesced=told.coalesced,
        sizes=[
            SizeFigures(rows, size.executions, size.gather_s, size.run_s, size.reply_s)
            for rows, size in told.batches.items()
        ],
        last_at=time.time() - time.monotonic() + told.last_at if told.last_at else 0.0,
    )


def _memory(lanes: Iterable[tuple[tuple[str, int, Statistics], Lane | None]]) -> Iterable[VersionFigures]:
    """Of each session once: where a policy changed, its lane before has the same one while it finishes."""
    sessions = {id(lane.model): (name, version, lane.model) for (name, version, _), lane in lanes if lane}
    for name, version, model in sessions.values():
        yield VersionFigures(model=name, version=version, memory_bytes=model.memory_bytes)


def _histogram(told: Histogram) -> HistogramFigures:
    return HistogramFigures(list(told.buckets), told.seconds)


def _rows(told: Statistics) -> HistogramFigures:
    buckets = [0] * (len(ROWS_BOUNDS) + 1)
    for rows, size in told.batches.items():
        buckets[bisect_left(ROWS_BOUNDS, rows)] += size.executions
    return HistogramFigures(buckets, float(told.rows))


def _states(status: Mapping[str, ModelStatus]) -> Iterable[VersionFigures]:
    for name, model in status.items():
        for version, told in model.versions.items():
            states, reason = {told.state.value: 1}, told.reason[:REASON_MAX]
            yield VersionFigures(model=name, version=version, states=states, reason=reason)


def resident_bytes() -> int:
    """Memory of this process that is in RAM; 0 where the system does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    except OSError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")
