"""The figures of this process: of every version that it has served, read when metrics are requested.

A served version that is gone, because it was replaced or its policy changed, leaves its statistics here; they are
added up once nothing can change them any more. Nothing here is on the way of a request.
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
    added,
    together,
)
from skylane.server.repository.repository import Load, ModelStatus

ROWS_BOUNDS: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192)
"""Upper bounds of the buckets of batch sizes; one more is for larger ones."""

REASON_MAX: Final = 500
"""Characters that are told of why a version is not served."""

GONE_MAX: Final = 1000
"""Versions that are served no more and still told of; beyond it the oldest are forgotten."""


class Collector:
    """Follows the versions from their first route to their end. Thread-safe."""

    def __init__(self, rejections: Callable[[], Mapping[tuple[str, str], int]]) -> None:
        """`rejections`: (protocol, how they ended) → requests that no model was asked for."""
        self._rejections = rejections
        self._lock = Lock()
        self._served_versions: dict[weakref.ref[ServedVersion], tuple[str, int, Statistics]] = {}
        self._gone: dict[tuple[str, int], VersionSnapshot] = {}
        self._loads: dict[str, LoadSnapshot] = {}
        self._started_at = time.time()

    def follow(self, routes: Routes) -> None:
        """These versions serve from now on. Holds none of them in memory."""
        with self._lock:
            for name, model in routes.models.items():
                for version, served_version in model.versions.items():
                    self._served_versions.setdefault(
                        weakref.ref(served_version), (name, version, served_version.counts)
                    )
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
                    told = self._loads.setdefault(name, LoadSnapshot(name))
                    told.add(LoadSnapshot(name, 1 - failures, 0.0 if failures else clock() - began_at, failures))
            return model

        return counted

    def figures(self, status: Mapping[str, ModelStatus]) -> Snapshot:
        """Everything, now."""
        with self._lock:
            self._fold()
            served_versions = [(told, ref()) for ref, told in self._served_versions.items()]
            gone, loads = list(self._gone.values()), list(self._loads.values())
        versions = [*gone, *_now([(*told, served_version) for told, served_version in served_versions], status)]
        rejections = [Outcome(*key, requests) for key, requests in sorted(self._rejections().items())]
        policies = [
            PolicySnapshot(name, int(bool(model.policy_refused)), int(bool(model.unfollowed)))
            for name, model in status.items()
        ]
        return together(
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
        """With the lock held: add up what can change no more."""
        for ref in [ref for ref in self._served_versions if ref() is None]:
            name, version, statistics = self._served_versions.pop(ref)
            so_far, last = self._gone.pop((name, version), None), _of(name, version, statistics, None)
            self._gone[name, version] = added([so_far, last]) if so_far else last
        while len(self._gone) > GONE_MAX:
            del self._gone[next(iter(self._gone))]

    def _process(self) -> ProcessSnapshot:
        times = os.times()
        return ProcessSnapshot(os.getpid(), self._started_at, resident_bytes(), times.user + times.system)


def _of(name: str, version: int, told: Statistics, served_version: ServedVersion | None) -> VersionSnapshot:
    """What a version counted, and how it is, if it is still there."""
    if served_version is None:
        told.fold()
        return _counted(name, version, told)
    with served_version.lock:
        told.fold()
        found = _counted(name, version, told)
        found.queue_rows = served_version.queue.rows
        found.cache_bytes = (
            served_version.cache.used_bytes if served_version.cache and not served_version.retired else 0
        )
    return found


def _counted(name: str, version: int, told: Statistics) -> VersionSnapshot:
    if not told.outcomes:  # nobody asked it: most of a thousand models
        return VersionSnapshot(model=name, version=version)
    return VersionSnapshot(
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
            SizeSnapshot(rows, size.executions, size.gather_s, size.run_s, size.reply_s)
            for rows, size in told.batches.items()
        ],
        last_at=time.time() - time.monotonic() + told.last_at if told.last_at else 0.0,
    )


def _histogram(told: Histogram) -> HistogramSnapshot:
    return HistogramSnapshot(list(told.buckets), told.seconds)


def _rows(told: Statistics) -> HistogramSnapshot:
    buckets = [0] * (len(ROWS_BOUNDS) + 1)
    for rows, size in told.batches.items():
        buckets[bisect_left(ROWS_BOUNDS, rows)] += size.executions
    return HistogramSnapshot(buckets, float(told.rows))


def _now(
    served_versions: Sequence[tuple[str, int, Statistics, ServedVersion | None]], status: Mapping[str, ModelStatus]
) -> list[VersionSnapshot]:
    """What versions counted, and how each version is: in as few parts as there can be, since each takes time to add."""
    parts, latest = list[VersionSnapshot](), dict[tuple[str, int], VersionSnapshot]()
    sessions = set[int]()
    for name, version, statistics, served_version in served_versions:
        found = latest[name, version] = _of(name, version, statistics, served_version)
        if (
            served_version and id(served_version.model) not in sessions
        ):  # where a policy changed, two versions have one session for a while
            sessions.add(id(served_version.model))
            found.memory_bytes = served_version.model.memory_bytes
        parts.append(found)
    for name, model in status.items():
        for version, told in model.versions.items():
            if (name, version) not in latest:
                latest[name, version] = VersionSnapshot(model=name, version=version)
                parts.append(latest[name, version])
            latest[name, version].states = {told.state.value: 1}
            latest[name, version].reason = told.reason[:REASON_MAX]
    return parts


def resident_bytes() -> int:
    """Memory of this process that is in RAM; 0 where the system does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    except OSError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")
