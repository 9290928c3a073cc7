"""Scores one file into one file."""

from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import Executor, Future
from pathlib import Path
from threading import Event
from typing import Final, TypeVar

import pyarrow as pa

from skylane.score.frames import repeated_names, scored_schema
from skylane.score.hashes import sha256_of
from skylane.score.layout import Layout
from skylane.score.records import PartitionRecord, Records
from skylane.score.rejected_rows import RejectedRows
from skylane.score.row_sources import Rows, Source
from skylane.score.scorer import Scored, Scorer
from skylane.score.selection import ScoreError
from skylane.score.sinks import Sink

BATCHES_AHEAD: Final = 2
"""Batches for each worker that are read before they are written."""

A = TypeVar("A")
B = TypeVar("B")


class PartitionScorer:
    """Scores the files of one run."""

    def __init__(
        self, scorer: Scorer, layout: Layout, columns: tuple[str, ...] | None, pool: Executor, workers: int,
        progress: Callable[[int], None],
    ) -> None:  # fmt: skip
        """`columns`: of the input that the outputs have as well; None: all. `progress` is called with the number of
        rows whenever some are done."""
        self._scorer, self._layout, self._chosen = scorer, layout, columns
        self._records = Records(layout.records)
        self._pool, self._ahead, self._progress = pool, workers * BATCHES_AHEAD, progress
        self._stop = Event()

    def is_done(self, source: Source) -> PartitionRecord | None:
        """The record of an earlier run, if both files still are what it says."""
        record = self._records.read_partition(source.relative)
        if record is None or record.output != self._layout.name(source):
            return None
        is_same = (
            _sha256(self._layout.target(source)) == record.output_sha256
            and _sha256(self._layout.rejected(source)) == record.rejected_sha256
            and source.sha256() == record.input_sha256
        )
        return record if is_same else None

    def score(self, source: Source) -> PartitionRecord:
        """Score a file. Its record is written last. Raises ScoreError and OSError."""
        try:
            return self._score(source)
        except BaseException:
            self._stop.set()  # the pool ends only when its tasks have ended
            raise

    def _score(self, source: Source) -> PartitionRecord:
        reader = source.open()
        try:
            written, schema = self._schema(reader)
            sink = Sink(self._layout.target(source), schema, self._layout.format_of(source))
        except ScoreError as error:
            raise ScoreError(f"{source.path}: {error}") from error
        rejected = RejectedRows(self._layout.rejected(source), reader)
        rows = 0
        with sink, rejected:
            sha256 = reader.begin_hash(self._pool, self._stop)
            for batch, scored in self._scored(reader.batches(), reader.texts):
                sink.write(_output(batch, scored, written, schema))
                rejected.add(batch, scored, rows)
                rows += len(batch)
                self._progress(len(batch))
            input_sha256 = sha256()
            rejected.close()
            sink.close()
        record = PartitionRecord(
            input_sha256=input_sha256, output=self._layout.name(source), output_sha256=sink.sha256,
            rows=rows + len(reader.unreadable), rejected=rejected.count, rejected_sha256=rejected.sha256,
        )  # fmt: skip
        self._records.write_partition(source.relative, record)
        return record

    def _schema(self, reader: Rows) -> tuple[list[str], pa.Schema]:
        """The input's columns that are written, and all columns of the output. Raises ScoreError."""
        if repeated := repeated_names(reader.schema.names):
            raise ScoreError(f"column {repeated[0]!r} is there more than once")
        written = self._columns(reader)
        self._scorer.check(reader.schema, reader.texts)
        # What pandas wrote about its index is true as long as all columns are there.
        metadata = reader.file_schema.metadata if self._chosen is None else None
        kept = pa.schema([reader.file_schema.field(name) for name in written], metadata)
        return written, scored_schema(kept, self._scorer)

    def _columns(self, reader: Rows) -> list[str]:
        """The input's columns that are written: not those that directories name, because the outputs' do as well."""
        names = reader.file_schema.names
        if self._chosen is None:
            return list(names)
        if unknown := [name for name in self._chosen if name not in names]:
            raise ScoreError(f"columns: the input has no {unknown[0]!r}: it has {', '.join(names)}")
        return list(self._chosen)

    def _scored(
        self, batches: Iterable[pa.RecordBatch], texts: Collection[str]
    ) -> Iterator[tuple[pa.RecordBatch, Scored]]:
        return in_order(self._pool, lambda batch: (batch, self._scorer.score(batch, texts)), batches, self._ahead)


def in_order(pool: Executor, work: Callable[[A], B], items: Iterable[A], ahead: int) -> Iterator[B]:
    """The results in the items' order, worked on by the pool; at most `ahead` items are taken before their turn."""
    waiting: deque[Future[B]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) >= ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for each in waiting:
            each.cancel()


def _output(batch: pa.RecordBatch, scored: Scored, written: list[str], schema: pa.Schema) -> pa.RecordBatch:
    kept = batch.select(written)
    if scored.kept is not None:
        kept = kept.take(pa.array(scored.kept, pa.int64()))
    return pa.RecordBatch.from_arrays([*kept.columns, *scored.answers.columns], schema=schema)


def _sha256(path: Path) -> str | None:
    try:
        return sha256_of(path)
    except FileNotFoundError:
        return None
