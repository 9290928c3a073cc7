"""The outcomes of a directory on disk: an append-only log for each model, written by whole batches.

    DIR/outcomes/<model>/<segment>.arrow    Arrow IPC segments as the journal writes them

A batch is on the disk itself when `record` returns. Every process that records has a store of its own; readers need
none. Raises OSError if the disk refuses, then nothing of the batch is recorded.
"""

import os
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa

from skylane.journal.segment_writer import SegmentLimits, SegmentWriter
from skylane.outcomes.checks import REFUSALS_MAX, Checked, Refusal, check
from skylane.outcomes.entities import EntityForms
from skylane.outcomes.keys import microseconds
from skylane.outcomes.log_files import Directories, known_writers, log_directory, newest_tables, read_log
from skylane.outcomes.recorded import RecordedOutcomes, Tally
from skylane.outcomes.resolution import instant, resolve
from skylane.outcomes.schema import LOG, TIME
from skylane.prediction_ids import WRITER_DIGITS

LIMITS: Final = SegmentLimits(bytes_max=2**50, age_s_max=None, segment_s_max=86_400.0)
"""Outcomes are never removed by age or size: reports depend on them."""
KNOWN_WRITERS_S: Final = 1.0
"""How often the writers of predictions are listed anew at most, while ids of others come."""


@dataclass(frozen=True)
class Submission:
    """Outcomes of one sender for one model."""

    model: str
    sender: str
    table: Any
    """Columns as in schema.SUBMISSION."""
    problems: Mapping[int, str]
    """Index → why a value of this row could not be read."""


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """What became of a submission. What is accepted is on the disk."""

    accepted: int
    """Outcomes that are recorded: new, repeated and corrected ones."""
    repeated: int = 0
    """Of these, those that say what was recorded already."""
    corrected: int = 0
    """Of these, those that replace what was recorded before."""
    unknown: int = 0
    """Of these, those with a prediction id that no server of this directory has given, as far as it knows."""
    refused: int = 0
    refusals: tuple[Refusal, ...] = ()
    """The first of those that were refused, by index."""


class OutcomeStore:
    """Records outcomes below one directory. Not thread-safe."""

    def __init__(
        self,
        directory: str | Path,
        now: Callable[[], float] = time.time,
        writer: str | None = None,
        recorded: RecordedOutcomes | None = None,
    ) -> None:
        """`now`: the Unix time. `writer`: 16 hexadecimal digits, drawn at random if left out."""
        self._directory, self._now = Path(directory), now
        self._writer = writer or secrets.token_hex(WRITER_DIGITS // 2)
        self._recorded = recorded or RecordedOutcomes()
        self._segments: dict[str, SegmentWriter] = {}
        self._entities = EntityForms(self._directory, now)
        self._recorded_at = 0
        """The last instant of recording: it never goes back, whatever the clock does."""
        self._known_writers: set[str] = set()
        self._listed_at = float("-inf")

    def record(self, submissions: Sequence[Submission]) -> list[Receipt | OSError]:
        """Check and record submissions, with one write for each model. Returns when they are on the disk itself.

        A submission whose model cannot be written has the error in its place.
        """
        for model in {submission.model for submission in submissions}:
            self._open(model)
        at = self._instant()
        by_model: dict[str, list[Any]] = {}
        receipts: list[Receipt | OSError] = []
        for submission in submissions:
            table, receipt = self._accept(submission, at)
            receipts.append(receipt)
            if len(table):
                by_model.setdefault(submission.model, []).append(table)
        failed: dict[str, OSError] = {}
        for model, tables in by_model.items():
            try:
                self._write(model, pa.concat_tables(tables))
            except OSError as error:
                failed[model] = error
        return [failed.get(each.model, receipt) for each, receipt in zip(submissions, receipts, strict=True)]

    def drop(self, model: str, sender: str, since: datetime | None = None) -> None:
        """Undo what a sender has recorded, from an instant on. Reports of earlier instants are not affected."""
        self._open(model)
        at, start = self._instant(), 0 if since is None else instant("since", since)
        times = {"known_at": at, "recorded_at": at, "drops_from": start}
        row = dict.fromkeys(LOG.names) | times | {"sender": sender}
        self._write(model, pa.Table.from_pylist([row], LOG))

    def tick(self) -> None:
        """What is due without outcomes. Call about once a minute."""
        for segments in self._segments.values():
            segments.tick(self._now())

    def close(self) -> None:
        """Close the segments."""
        for segments in self._segments.values():
            segments.close()
        self._segments.clear()

    def _instant(self) -> int:
        self._recorded_at = max(self._recorded_at + 1, int(self._now() * 1e6))
        return self._recorded_at

    def _accept(self, submission: Submission, at: int) -> tuple[Any, Receipt]:
        """What is to be written of a submission, and its receipt."""
        checked = check(submission.table, at, submission.problems)
        checked = replace(checked, table=self._entities.applied(submission.model, checked.table))
        tally = self._recorded.add(submission.model, submission.sender, checked, self._is_known)
        table = checked.table
        if len(tally.places) < len(table):
            table = table.take(pa.array(tally.places, pa.int64()))
        rows = len(table)
        table = table.append_column(LOG.field("recorded_at"), pa.array(np.full(rows, at)).cast(TIME))
        table = table.append_column(LOG.field("sender"), pa.array([submission.sender] * rows, pa.string()))
        table = table.append_column(LOG.field("drops_from"), pa.nulls(rows, TIME))
        return table, _receipt(rows, tally, checked)

    def _write(self, model: str, table: Any) -> None:
        segments = self._open(model)
        for batch in table.combine_chunks().to_batches():
            segments.write(batch, self._now(), sync=True)
        _sync_directory(segments.directory)

    def _open(self, model: str) -> SegmentWriter:
        segments = self._segments.get(model)
        if segments is None:
            directory = log_directory(self._directory, model)
            self._remember(model, directory)
            segments = self._segments[model] = SegmentWriter(directory, self._writer, LIMITS)
        return segments

    def _remember(self, model: str, directory: Path) -> None:
        """Take over what was recorded last, and its instant."""
        tables, rows = list[Any](), 0
        for table in newest_tables(directory):
            tables.append(table)
            rows += len(table)
            if rows >= self._recorded.keys_max:
                break
        if rows:
            log = pa.concat_tables(reversed(tables))
            self._recorded.remember(model, log)
            self._recorded_at = max(self._recorded_at, int(microseconds(log["recorded_at"]).max()))

    def _is_known(self, prediction_id: str) -> bool:
        """Whether a process that journals in this directory has this name."""
        writer = prediction_id[:WRITER_DIGITS]
        if writer not in self._known_writers and self._now() - self._listed_at >= KNOWN_WRITERS_S:
            self._listed_at = self._now()
            self._known_writers = known_writers(self._directory)
        return writer in self._known_writers


def read(
    directories: Directories, model: str, *, known_by: datetime | None = None, recorded_by: datetime | None = None
) -> Any:
    """The outcomes of a model as of two instants: a table as in schema.OUTCOMES, one row for each key.

    `known_by`: what senders knew by then; figures and training sets as of an instant use it. `recorded_by`: what was
    recorded here by then; a report that was made at an instant uses it, and does not change when outcomes come later,
    whatever `known_at` they have. Raises ValueError for an instant without a time zone.
    """
    return resolve(read_log(directories, model), known_by=known_by, recorded_by=recorded_by).table


def _receipt(accepted: int, tally: Tally, checked: Checked) -> Receipt:
    refusals = sorted((*checked.refusals, *tally.refusals), key=lambda refusal: refusal.index)[:REFUSALS_MAX]
    return Receipt(
        accepted=accepted,
        repeated=tally.repeated,
        corrected=tally.corrected,
        unknown=tally.unknown,
        refused=checked.refused + tally.refused,
        refusals=tuple(refusals),
    )


def _sync_directory(directory: Path) -> None:
    """Return when the names of the directory's files are on the disk."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
