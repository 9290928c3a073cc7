"""The journal of this process: gives versions their recorders, and writes what they recorded from a thread of its own.

The request path only appends to queues in memory. A disk that is slow or full makes them run over, which is counted;
answers do not wait for it.
"""

import logging
import math
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Final, Protocol

from skylane.journal import Counters, PredictionWriter, Rows, SegmentLimits
from skylane.journal.columns import unmatched
from skylane.policy import Monitor
from skylane.prediction_ids import new_writer
from skylane.server.core.text import listed
from skylane.server.core.types import Interface
from skylane.server.engine.routes import Routes
from skylane.server.engine.served_version import ServedVersion
from skylane.server.host.daemons import PREFIX
from skylane.server.recording.id_blocks import Blocks
from skylane.server.recording.recorder import PredictionRecorder, Record, Room
from skylane.server.recording.rows import ROWS_AT_ONCE, RowsOfVersion, sources_of
from skylane.server.recording.sampler import Sampler

log = logging.getLogger(__name__)

FLUSH_S: Final = 1.0
"""What a process that is killed loses at most, beside what the disk did not take in time."""
CLOSE_S_MAX: Final = 5.0
"""What the last flush gets when the server stops; a disk that hangs must not keep it from ending."""
DAY_S: Final = 86_400.0
FAULT_LOG_INTERVAL_S: Final = 10.0


class Writer(Protocol):
    """Where rows go. See skylane.journal.PredictionWriter."""

    def limit(self, model: str, limits: SegmentLimits) -> None: ...
    def append(self, rows: Rows) -> None: ...
    def flush(self, now: float) -> None: ...
    def close(self, now: float) -> None: ...
    def counters(self, model: str) -> Counters: ...


@dataclass(frozen=True)
class JournalCounts:
    """What became of the rows that a model answered, since the start of this process."""

    kept: int
    """Rows that were written."""
    dropped: dict[str, int]
    """Reason → rows that were not: `sampled`, above rows_per_second; `full`, the disk was too slow; `disk`, it refused;
    `fault`, of ours."""
    bytes_written: int
    event_times_refused: int


class _Version:
    """A version that is recorded."""

    def __init__(self, served: ServedVersion, recorder: PredictionRecorder, monitor: Monitor) -> None:
        self.served, self.recorder = served, recorder
        interface = served.model.interface
        self.model: Final = interface.model
        self.rows: Final = RowsOfVersion(interface, monitor)

    @property
    def is_over(self) -> bool:
        """Whether nothing more will be recorded."""
        return self.served.retired and self.served.idle


@dataclass
class _Totals:
    """Rows of one model."""

    seen: int = 0
    chosen: int = 0
    full: int = 0
    faults: int = 0

    def add(self, recorder: PredictionRecorder) -> None:
        """Count those of a recorder as well."""
        seen, chosen, full = recorder.counts()
        self.seen, self.chosen, self.full = self.seen + seen, self.chosen + chosen, self.full + full

    def counts(self, written: Counters) -> JournalCounts:
        """With what the writer has counted."""
        lost = written.lost or {}
        dropped = {
            "sampled": self.seen - self.chosen,
            "full": self.full + lost.get("full", 0),
            "disk": lost.get("disk", 0),
            "type": lost.get("type", 0),
            "fault": self.faults,
        }
        return JournalCounts(written.written, dropped, written.bytes_written, written.event_times_refused)


class Journal:
    """Everything that this process journals. Thread-safe, except for `run_once` and `close`."""

    def __init__(
        self,
        directory: Path,
        *,
        writer: Writer | None = None,
        wall: Callable[[], float] = time.time,
        chance: Callable[[], float] | None = None,
        room: Room | None = None,
        flush_s: float = FLUSH_S,
    ) -> None:
        """`writer`: None for the real one. `wall`: Unix time. `chance`: as random.random. `room`: for what waits."""
        name = new_writer(secrets.token_bytes)
        self._writer: Writer = writer or PredictionWriter(directory, name)
        self._blocks, self._room, self._wall = Blocks(name), room or Room(), wall
        self._chance = chance or Random(secrets.randbits(128)).random
        self._versions: list[_Version] = []
        self._totals: dict[str, _Totals] = {}
        """Of versions that are over, by model."""
        self._limits: dict[str, SegmentLimits] = {}
        """Those that the writer has not heard of."""
        self._lock = threading.Lock()
        """Guards these three."""
        self._faults = _FaultLog(wall)
        self._flush_s = flush_s
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"{PREFIX}journal", daemon=True)

    def start(self) -> None:
        """Write from now on."""
        self._thread.start()

    def follow(self, routes: Routes) -> None:
        """Give those that will serve, and whose models are journalled, their recorders. Call it before they serve."""
        for model in routes.models.values():
            for served in model.versions.values():
                if served.monitor.journal and served.recorder is None:
                    self._begin(served)

    def _begin(self, served: ServedVersion) -> None:
        interface, monitor = served.model.interface, served.monitor
        _warn_of_unknown(interface, monitor)
        sampler = Sampler(monitor.rows_per_second, self._chance)
        recorder = PredictionRecorder(interface, sampler, self._blocks, self._room, self._wall)
        version = _Version(served, recorder, monitor)
        with self._lock:
            self._totals.setdefault(interface.model, _Totals())
            self._versions.append(version)
            self._limits[interface.model] = _limits(monitor)
        served.recorder = recorder

    # --- Its thread --------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._stopped.wait(self._flush_s):
            self._try(self.write)
        self._end()

    def _end(self) -> None:
        self._try(self.write)
        self._try(lambda: self._writer.close(self._wall()))

    def _try(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception:  # a fault of ours must not end the thread: the next rows may be others
            self._faults.log("the journal met a fault; rows are lost")

    def write(self) -> None:
        """Write what was recorded up to now."""
        with self._lock:
            versions, limits, self._limits = list(self._versions), self._limits, {}
        for model, each in limits.items():
            self._writer.limit(model, each)
        over = [version for version in versions if version.is_over]
        for version in versions:
            records = version.recorder.take_records()
            try:
                self._append(version, records)
            finally:
                self._room.give_back(sum([record.size for record in records]))
        self._writer.flush(self._wall())
        self._forget(over)

    def _append(self, version: _Version, records: Sequence[Record]) -> None:
        try:
            for rows in version.rows.rows(records):
                self._writer.append(rows)
                if rows.rows >= ROWS_AT_ONCE:
                    self._writer.flush(self._wall())
        except Exception:  # of this version alone
            self._faults.log(f"{version.model}: the journal met a fault; rows are lost")
            with self._lock:
                self._totals[version.model].faults += sum([record.rows for record in records])

    def _forget(self, over: Sequence[_Version]) -> None:
        with self._lock:
            for version in over:
                self._totals[version.model].add(version.recorder)
                self._versions.remove(version)

    # --- From any thread ---------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Write what is left, and end. Waits for the disk, for a while."""
        if self._thread.ident is None:  # it was never started
            self._end()
            return
        self._stopped.set()
        self._thread.join(CLOSE_S_MAX)
        if self._thread.is_alive():
            log.warning("journal: the disk has not taken the last rows for %g s; they may be lost", CLOSE_S_MAX)

    @property
    def versions(self) -> int:
        """How many versions are recorded now."""
        return len(self._versions)

    def counts(self) -> dict[str, JournalCounts]:
        """By model that is or was journalled."""
        with self._lock:
            totals = {model: replace(each) for model, each in self._totals.items()}
            for version in self._versions:
                totals[version.model].add(version.recorder)
        return {model: each.counts(self._writer.counters(model)) for model, each in totals.items()}


class _FaultLog:
    """Logs tracebacks, but not many."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock, self._quiet_until = clock, -math.inf

    def log(self, text: str) -> None:
        """Log the exception that is being handled, unless one was logged just before."""
        if (now := self._clock()) >= self._quiet_until:
            self._quiet_until = now + FAULT_LOG_INTERVAL_S
            log.exception("%s (logged once in %g s)", text, FAULT_LOG_INTERVAL_S)


def _limits(monitor: Monitor) -> SegmentLimits:
    return SegmentLimits(bytes_max=max(1, int(monitor.max_mb * 2**20)), age_s_max=monitor.max_age_days * DAY_S)


def _warn_of_unknown(interface: Interface, monitor: Monitor) -> None:
    """A name that is misspelt must not keep a column out of the journal, or in it, without a word."""
    columns = {source.name: source.is_text for source in sources_of(interface)}
    own = [name for name in (monitor.entity, monitor.event_time) if name is not None]
    for name in unmatched(columns, monitor.keep, monitor.drop, monitor.hash, own, monitor.segments):
        log.warning(
            "%s/%d: model.toml: [monitor] names %r, but the model has no such column: expected some of %s",
            interface.model, interface.version, name, listed(map(repr, columns)),
        )  # fmt: skip
