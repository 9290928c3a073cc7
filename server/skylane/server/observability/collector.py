"""Collects the statistics of all versions that this process serves or has served, when a snapshot is requested.

The statistics of a retired version are added up here once they can no longer change, so totals never decrease.
Nothing here runs on the request path.
"""

import os
import time
import weakref
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import Final

from skylane.policy import Policy
from skylane.server.engine.routes import Routes
from skylane.server.engine.served_version import LoadedModel, ServedVersion
from skylane.server.engine.statistics import Histogram, Statistics
from skylane.server.observability.snapshot import (
    HistogramSnapshot,
    LoadSnapshot,
    Outcome,
    PolicySnapshot,
    ProcessSnapshot,
    SizeSnapshot,
    Snapshot,
    VersionSnapshot,
    merge,
    merge_versions,
)
from skylane.server.repository.repository import Load, ModelStatus

ROWS_BOUNDS: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192)
"""Upper bounds of the buckets of batch sizes; one more is for larger ones."""

REASON_MAX: Final = 500
"""Most characters of the reason why a version is not served."""

GONE_MAX: Final = 1000
"""Most versions that are no longer served and still reported. Beyond that, the oldest are dropped."""


class Collector:
    """Tracks each served version from its first route until it is freed. Thread-safe."""

    def __init__(self, rejections: Callable[[], Mapping[tuple[str, str], int]]) -> None:
        """`rejections`: (protocol, outcome) → requests that reached no model."""
        self._rejections = rejections
        self._lock = Lock()
        self._served_versions: dict[weakref.ref[ServedVersion], tuple[str, int, Statistics]] = {}
        self._gone: dict[tuple[str, int], VersionSnapshot] = {}
        self._loads: dict[str, LoadSnapshot] = {}
        self._started_at = time.time()

    def follow(self, routes: Routes) -> None:
        """Track the versions of these routes, without keeping them in memory."""
        with self._lock:
            for name, model in routes.models.items():
                for version, served_version in model.versions.items():
                    self._served_versions.setdefault(
                        weakref.ref(served_version), (name, version, served_version.counts)
                    )
            self._fold()

    def timed(self, load: Load, clock: Callable[[], float] = time.monotonic) -> Load:
        """The same function, with its loads counted and timed."""

        def counted(directory: Path, name: str, version: int, policy: Policy) -> LoadedModel:
            began_at, failures = clock(), 1
            try:
                model = load(directory, name, version, policy)
                failures = 0
            finally:
                with self._lock:
                    loads = self._loads.setdefault(name, LoadSnapshot(name))
                    loads.add(LoadSnapshot(name, 1 - failures, 0.0 if failures else clock() - began_at, failures))
            return model

        return counted

    def figures(self, status: Mapping[str, ModelStatus]) -> Snapshot:
        """A snapshot of this process."""
        with self._lock:
            self._fold()
            served_versions = [(*counted, ref()) for ref, counted in self._served_versions.items()]
            gone, loads = list(self._gone.values()), list(self._loads.values())
        versions = [*gone, *_now(served_versions, status)]
        rejections = [Outcome(*key, requests) for key, requests in sorted(self._rejections().items())]
        policies = [
            PolicySnapshot(name, int(bool(model.policy_refused)), int(bool(model.unfollowed)))
            for name, model in status.items()
        ]
        return merge(
            [
                Snapshot(
                    versions=versions,
                    rejections=rejections,
                    loads=loads,
                    policies=policies,
                    processes=[self._process()],
                )
            ]
        )

    def _fold(self) -> None:
        """With the lock held: add up the statistics of freed versions, which no longer change."""
        for ref in [ref for ref in self._served_versions if ref() is None]:
            name, version, statistics = self._served_versions.pop(ref)
            so_far, last = self._gone.pop((name, version), None), _of(name, version, statistics, None)
            self._gone[name, version] = merge_versions([so_far, last]) if so_far else last
        while len(self._gone) > GONE_MAX:
            del self._gone[next(iter(self._gone))]

    def _process(self) -> ProcessSnapshot:
        times = os.times()
        return ProcessSnapshot(os.getpid(), self._started_at, resident_bytes(), times.user + times.system)


def _of(name: str, version: int, statistics: Statistics, served_version: ServedVersion | None) -> VersionSnapshot:
    """What a served version counted, and its queue and cache if it still exists."""
    if served_version is None:
        statistics.fold()
        return _counted(name, version, statistics)
    with served_version.lock:
        statistics.fold()
        snapshot = _counted(name, version, statistics)
        snapshot.queue_rows = served_version.queue.rows
        snapshot.cache_bytes = (
            served_version.cache.used_bytes if served_version.cache and not served_version.retired else 0
        )
    return snapshot


def _counted(name: str, version: int, statistics: Statistics) -> VersionSnapshot:
    if not statistics.outcomes:  # no requests yet: most of a thousand models
        return VersionSnapshot(model=name, version=version)
    return VersionSnapshot(
        model=name,
        version=version,
        outcomes=[Outcome(*key, requests) for key, requests in statistics.outcomes.items()],
        total=_histogram(statistics.total),
        queue=_histogram(statistics.queue),
        run=_histogram(statistics.run),
        batch_rows=_rows(statistics),
        gather_s=statistics.gather_s,
        run_s=statistics.run_s,
        reply_s=statistics.reply_s,
        hits=statistics.hits,
        hit_s=statistics.hit_s,
        misses=statistics.total.count if statistics.caches else 0,
        coalesced=statistics.coalesced,
        sizes=[
            SizeSnapshot(rows, size.executions, size.gather_s, size.run_s, size.reply_s)
            for rows, size in statistics.batches.items()
        ],
        last_at=time.time() - time.monotonic() + statistics.last_at if statistics.last_at else 0.0,
    )


def _histogram(histogram: Histogram) -> HistogramSnapshot:
    return HistogramSnapshot(list(histogram.buckets), histogram.seconds)


def _rows(statistics: Statistics) -> HistogramSnapshot:
    buckets = [0] * (len(ROWS_BOUNDS) + 1)
    for rows, size in statistics.batches.items():
        buckets[bisect_left(ROWS_BOUNDS, rows)] += size.executions
    return HistogramSnapshot(buckets, float(statistics.rows))


def _now(
    served_versions: Sequence[tuple[str, int, Statistics, ServedVersion | None]], status: Mapping[str, ModelStatus]
) -> list[VersionSnapshot]:
    """Snapshots with counts and states of all versions, in as few parts as possible, since adding each takes time."""
    parts, latest = list[VersionSnapshot](), dict[tuple[str, int], VersionSnapshot]()
    sessions = set[int]()
    for name, version, statistics, served_version in served_versions:
        snapshot = latest[name, version] = _of(name, version, statistics, served_version)
        # After a change of policy, two served versions share one session for a while.
        if served_version and id(served_version.model) not in sessions:
            sessions.add(id(served_version.model))
            snapshot.memory_bytes = served_version.model.memory_bytes
        parts.append(snapshot)
    for name, model in status.items():
        for version, version_status in model.versions.items():
            if (name, version) not in latest:
                latest[name, version] = VersionSnapshot(model=name, version=version)
                parts.append(latest[name, version])
            latest[name, version].states = {version_status.state.value: 1}
            latest[name, version].reason = version_status.reason[:REASON_MAX]
    return parts


def resident_bytes() -> int:
    """Resident memory of this process; 0 where the system does not report it."""
    try:
        pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    except OSError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")
