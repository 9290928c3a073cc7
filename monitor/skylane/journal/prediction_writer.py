"""Writes predictions for one process and never raises for what the disk does: rows that cannot be written are counted.

One thread appends and flushes. What waits for the next flush is bounded.
"""

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pyarrow as pa

from skylane.journal import layout
from skylane.journal.encoding import encode, groups
from skylane.journal.hashing import Hasher, make_key
from skylane.journal.predictions import Rows
from skylane.journal.segment_writer import SegmentLimits, SegmentWriter

PENDING_ROWS_MAX: Final = 65_536
PENDING_BYTES_MAX: Final = 64 * 2**20
"""Rows and their bytes that wait for the next flush; more are lost, and counted."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Counters:
    """What became of the rows of one model since the start, for metrics."""

    written: int = 0
    """Rows."""
    lost: Mapping[str, int] = field(default_factory=dict)
    """Rows that were not written, by reason: `disk` (it refused), `full` (too many waited), `type` (Arrow lacks it)."""
    bytes_written: int = 0
    segments_removed: int = 0
    bytes_removed: int = 0
    event_times_refused: int = 0
    """Rows whose time of the event is no instant, for example because it has no zone."""


class PredictionWriter:
    """The predictions that this process journals, all models. Not thread-safe."""

    def __init__(self, directory: str | os.PathLike[str], writer: str, limits: SegmentLimits | None = None) -> None:
        """`writer` is the one of this process's prediction ids; `limits` hold for models without their own."""
        self.directory: Final = Path(directory)
        self.writer: Final = writer
        self._limits = limits or SegmentLimits()
        self._models: dict[str, _Model] = {}
        self._hashes: Hasher | None = None
        self._pending_rows = self._pending_bytes = 0

    def limit(self, model: str, limits: SegmentLimits) -> None:
        """Set a model's limits, from its [monitor]."""
        self._model(model).segments.limits = limits

    def append(self, rows: Rows) -> None:
        """Take rows for the next flush; costs a few microseconds."""
        model, count, size = self._model(rows.capture.model), rows.rows, rows.nbytes
        if self._pending_rows + count > PENDING_ROWS_MAX or self._pending_bytes + size > PENDING_BYTES_MAX:
            model.lose("full", count)
            return
        self._pending_rows += count
        self._pending_bytes += size
        model.pending.append(rows)

    def flush(self, now: float) -> None:
        """Write what was appended, close what is due, remove what is too old. Call it every second, also without rows.

        `now` is the Unix time. When it returns, another process can read the rows, and no kill can lose them.
        """
        for name, model in self._models.items():
            try:
                model.flush(self._hasher(), now)
            except OSError as error:
                model.failed(name, error)
        self._pending_rows = self._pending_bytes = 0

    def close(self, now: float) -> None:
        """Flush and close all segments."""
        self.flush(now)
        for name, model in self._models.items():
            try:
                model.segments.close()
            except OSError as error:
                model.failed(name, error)

    def counters(self, model: str) -> Counters:
        """What became of this model's rows."""
        return self._models[model].counters() if model in self._models else Counters()

    def models(self) -> list[str]:
        """The models that have rows or limits."""
        return list(self._models)

    def _model(self, name: str) -> "_Model":
        if name not in self._models:
            directory = self.directory / layout.PREDICTIONS / name
            self._models[name] = _Model(SegmentWriter(directory, self.writer, self._limits))
        return self._models[name]

    def _hasher(self) -> Hasher:
        if self._hashes is None:
            self._hashes = Hasher(make_key(self.directory))
        return self._hashes


class _Model:
    """Rows of one model that wait, and what became of those before."""

    def __init__(self, segments: SegmentWriter) -> None:
        self.segments: Final = segments
        self.pending: list[Rows] = []
        self._written = self._event_times_refused = 0
        self._lost: dict[str, int] = {}
        self._failing = False

    def lose(self, reason: str, rows: int) -> None:
        self._lost[reason] = self._lost.get(reason, 0) + rows

    def failed(self, name: str, error: OSError) -> None:
        """The disk refused: what still waits is lost. Logged once until it works again."""
        self.lose("disk", sum(rows.rows for rows in self.pending))
        self.pending = []
        if not self._failing:
            _log.error("%s: rows are lost until the journal can be written again: %s", name, error)
        self._failing = True

    def flush(self, hasher: Hasher, now: float) -> None:
        """Write what waits. Raises OSError; what was not written waits still."""
        waiting = groups(self.pending)
        for group in waiting:
            self._write(group, hasher, now)
            written = set(map(id, group))
            self.pending = [rows for rows in self.pending if id(rows) not in written]
        self.segments.tick(now)
        if self._failing and waiting:
            _log.warning("%s: the journal is written again, after %s rows were lost", self.segments.directory.name,
                         self._lost.get("disk", 0))  # fmt: skip
            self._failing = False

    def _write(self, group: Sequence[Rows], hasher: Hasher, now: float) -> None:
        try:
            encoded = encode(group, hasher)
        except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
            self.lose("type", sum(rows.rows for rows in group))
            _log.error("%s: rows are lost because Arrow cannot hold their values: %s", group[0].capture.model, error)
            return
        self.segments.write(encoded.batch, now)
        self._written += encoded.batch.num_rows
        self._event_times_refused += encoded.event_times_refused

    def counters(self) -> Counters:
        removed = self.segments.removed
        return Counters(
            written=self._written,
            lost=dict(self._lost),
            bytes_written=self.segments.bytes_written,
            segments_removed=removed.segments,
            bytes_removed=removed.bytes,
            event_times_refused=self._event_times_refused,
        )
