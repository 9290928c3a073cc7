"""Scores one file into one file."""

from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future
from pathlib import Path
from threading import Event
from typing import Final, TypeVar

import pyarrow as pa

from skylane.score.frames import repeated_names, scored_schema
from skylane.score.hashes import sha256_of
from skylane.score.layout import Layout
from skylane.score.records import PartitionRecord, Records
from skylane.score.rows import Rows, Source
from skylane.score.scorer import Scored, Scorer
from skylane.score.selection import ScoreError
from skylane.score.sinks import Sink

ROW, REASON = "_row", "_reason"
"""Columns of the rejected rows besides their own: their place in the file from 0 (null for a line of CSV that is no
row), and why."""

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


class RejectedRows:
    """The rows that were not answered, with all their columns and the reason. Its file is made with the first one."""

    def __init__(self, path: Path, reader: Rows) -> None:
        self._path, self._reader = path, reader
        # Rejected rows that were mended and are scored again have these two columns already.
        self._own = pa.schema([field for field in reader.file_schema if field.name not in (ROW, REASON)])
        self._schema = pa.schema([*self._own, pa.field(ROW, pa.int64()), pa.field(REASON, pa.string())])
        self._sink: Sink | None = None
        self.count = 0
        self.sha256: str | None = None
        """Of the file, after `close`; None if no row was rejected."""

    def add(self, batch: pa.RecordBatch, scored: Scored, before: int) -> None:
        """Append what was rejected of a batch. `before`: rows of the file that came before it."""
        if scored.rejections:
            rows = [each.row for each in scored.rejections]
            whole = batch.select(self._own.names).take(pa.array(rows, pa.int64()))
            self._write(whole, [before + row for row in rows], [each.reason for each in scored.rejections])

    def close(self) -> None:
        """Append the lines that are no rows, and complete the file."""
        if lines := self._reader.unreadable:
            empty = pa.RecordBatch.from_arrays(
                [pa.nulls(len(lines), field.type) for field in self._own], schema=self._own
            )
            self._write(empty, [None] * len(lines), lines)
        if self._sink is not None:
            self._sink.close()
            self.sha256 = self._sink.sha256
        else:
            self._path.unlink(missing_ok=True)  # of an earlier input

    def __enter__(self) -> None:
        pass

    def __exit__(self, *error: object) -> None:
        if self._sink is not None:
            self._sink.__exit__(*error)  # type: ignore[arg-type]

    def _write(self, rows: pa.RecordBatch, places: Sequence[int | None], reasons: Sequence[str]) -> None:
        if self._sink is None:
            self._sink = Sink(self._path, self._schema, "parquet")
        columns = [pa.array(places, pa.int64()), pa.array(reasons, pa.string())]
        self._sink.write(pa.RecordBatch.from_arrays([*rows.columns, *columns], schema=self._schema))
        self.count += len(reasons)


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
