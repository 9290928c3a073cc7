"""Files to score: their rows as batches of Arrow."""

import csv
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Event
from typing import Any, Final, Literal

import pyarrow as pa
import pyarrow.csv as arrow_csv
import pyarrow.parquet as parquet

from skylane.score.frames import BATCH_ROWS
from skylane.score.hashes import sha256_of
from skylane.score.selection import ScoreError

Format = Literal["parquet", "csv", "arrow"]

FORMATS: Final[dict[str, Format]] = {
    ".parquet": "parquet", ".pq": "parquet", ".csv": "csv", ".arrow": "arrow", ".feather": "arrow", ".ipc": "arrow",
}  # fmt: skip
"""Ending of a file's name → its format."""

CSV_BLOCK_BYTES: Final = 8 * 2**20
"""Of a CSV file read at a time; the longest line that can be read."""

LONG_LINE: Final = f"a line is longer than {CSV_BLOCK_BYTES // 2**20} MiB, or a quote is not closed"

READ_BYTES: Final = 2**20
"""Of a column of Parquet that are read at a time."""

BATCH_BYTES: Final = 16 * 2**20
"""Of a batch, where its rows are so large that BATCH_ROWS of them would be more."""

UNREADABLE_MAX: Final = 100_000
"""Lines of a CSV file that are no rows, and are kept as rejected: with more it is no file of these columns."""


@dataclass(frozen=True)
class Source:
    """One file."""

    path: Path
    relative: str
    """Its path below the directory that is scored, with slashes; so is its output's."""
    format: Format
    partitions: dict[str, str | None] = field(default_factory=dict)
    """Columns that the directories name, as in `carrier=UA/`, with their values."""

    def renamed(self, relative: str) -> "Source":
        """The same, for an output of another name."""
        return replace(self, relative=relative)

    def open(self) -> "Reader":
        """Raises ScoreError if it is not of its format."""
        return Reader(self)

    def sha256(self) -> str:
        """Of the content. Raises ScoreError if it cannot be read."""
        return self.hashed(None)

    def hashed(self, stop: Event | None) -> str:
        """See `sha256_of`."""
        try:
            return sha256_of(self.path, stop)
        except OSError as error:
            raise ScoreError(f"{self.path}: it cannot be read: {error.strerror}") from error


class Reader:
    """The rows of one source. Use once."""

    def __init__(self, source: Source) -> None:
        """Opens the file. Raises ScoreError if it is not of its format."""
        self.unreadable: Final[list[str]] = []
        """Of each line of CSV that is no row, why; filled as the batches are read."""
        self.rows: int | None = None
        """How many there are, where the format tells."""
        try:
            self._identity = _identity(source.path)
            self.schema, self._batches = _OPEN[source.format](source, self)
        except (pa.ArrowException, OSError, UnicodeDecodeError, csv.Error) as error:
            raise ScoreError(f"{source.path}: it cannot be read as {source.format}: {_reason(error)}") from error
        self.texts: Final = frozenset(self.schema.names if source.format == "csv" else ()) | source.partitions.keys()
        """Columns without a type of their own: all of CSV, and those that directories name."""
        self._source = source
        if clash := [name for name in source.partitions if name in self.schema.names]:
            raise ScoreError(f"{source.path}: column {clash[0]!r} is in the file and in the name of its directory")
        self.file_schema: Final = self.schema
        for name in source.partitions:
            self.schema = self.schema.append(pa.field(name, pa.string()))

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The rows in order, BATCH_ROWS at most at a time. Raises ScoreError for a file that is damaged."""
        try:
            for batch in batches_of_size(self._batches):
                yield self._with_partitions(batch)
        except (pa.ArrowException, OSError) as error:
            raise ScoreError(f"{self._source.path}: it cannot be read to its end: {_reason(error)}") from error

    def begin_hash(self, pool: Executor, stop: Event) -> Callable[[], str]:
        """See Rows."""
        hashed = pool.submit(self._source.hashed, stop)

        def result() -> str:
            digest = hashed.result()
            if _identity(self._source.path) != self._identity:
                raise ScoreError(
                    f"{self._source.path}: it was changed while it was read: start again when it is complete"
                )
            return digest

        return result

    def _with_partitions(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        columns = [pa.repeat(pa.scalar(value, pa.string()), len(batch)) for value in self._source.partitions.values()]
        return pa.RecordBatch.from_arrays([*batch.columns, *columns], schema=self.schema) if columns else batch


def batches_of_size(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The same rows, BATCH_ROWS at most in a batch. Small batches are joined, because each becomes a group of rows of
    the output: what one row costs to read and to score would else depend on who wrote the file."""
    waiting: list[pa.RecordBatch] = []
    rows = size = 0
    for whole in batches:
        for start in range(0, len(whole), BATCH_ROWS):
            part = whole.slice(start, BATCH_ROWS)
            if waiting and (rows + len(part) > BATCH_ROWS or size + part.nbytes > BATCH_BYTES):
                yield _joined(waiting)
                waiting, rows, size = [], 0, 0
            waiting.append(part)
            rows, size = rows + len(part), size + part.nbytes
    if waiting:
        yield _joined(waiting)


def _joined(batches: list[pa.RecordBatch]) -> pa.RecordBatch:
    filled = [each for each in batches if len(each)]
    if len(filled) < 2:
        return (filled or batches)[0]
    return pa.Table.from_batches(filled).unify_dictionaries().combine_chunks().to_batches()[0]


def _identity(path: Path) -> tuple[int, int, int]:
    """Changes with the content."""
    status = path.stat()
    return status.st_ino, status.st_size, status.st_mtime_ns


def _reason(error: Exception) -> str:
    """In one line."""
    text = " ".join(str(error).split())
    return LONG_LINE if "straddling object" in text else text


Opened = tuple[pa.Schema, Iterator[pa.RecordBatch]]


def _open_parquet(source: Source, reader: Reader) -> Opened:
    # What is read ahead (`pre_buffer`) stays in memory until the end of the file: all of it.
    file = parquet.ParquetFile(source.path, pre_buffer=False, buffer_size=READ_BYTES)
    reader.rows = file.metadata.num_rows
    return file.schema_arrow, file.iter_batches(batch_size=_batch_rows(file.metadata))


def _batch_rows(metadata: Any) -> int:
    """Rows of BATCH_BYTES together, by the group with the largest rows; BATCH_ROWS at most."""
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    largest = max((group.total_byte_size // group.num_rows for group in groups if group.num_rows), default=0)
    return max(1, min(BATCH_ROWS, BATCH_BYTES // max(largest, 1)))


def _open_arrow(source: Source, _: Reader) -> Opened:
    file = pa.OSFile(str(source.path))
    try:
        opened = pa.ipc.open_file(file)
    except pa.ArrowInvalid:
        file.seek(0)
        stream = pa.ipc.open_stream(file)
        return stream.schema, iter(stream)
    return opened.schema, (opened.get_batch(i) for i in range(opened.num_record_batches))


def _open_csv(source: Source, reader: Reader) -> Opened:
    """All columns as text: a code such as 0017 stays what it is, and one bad number rejects a row and not the file."""
    with source.path.open(encoding="utf-8-sig", newline="") as file:
        names = next(csv.reader(file), None)
    if not names:
        raise ScoreError(f"{source.path}: expected column names in the first line, received an empty file")
    if len(names) == 1 and (other := next((mark for mark in ";\t|" if mark in names[0]), None)):
        raise ScoreError(
            f"{source.path}: expected commas between the columns, received {other!r} in the first line: "
            f"{names[0][:80]!r}"
        )

    def skip(row: Any) -> str:
        if len(reader.unreadable) >= UNREADABLE_MAX:
            return "error"
        reason = f"expected {row.expected_columns} columns, received {row.actual_columns}: {row.text[:200]!r}"
        reader.unreadable.append(reason)
        return "skip"

    stream = arrow_csv.open_csv(
        source.path,
        read_options=arrow_csv.ReadOptions(block_size=CSV_BLOCK_BYTES),
        parse_options=arrow_csv.ParseOptions(newlines_in_values=True, invalid_row_handler=skip),
        convert_options=arrow_csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=True, null_values=[""]
        ),
    )
    return stream.schema, iter(stream)


_OPEN: Final[dict[Format, Callable[[Source, Reader], Opened]]] = {
    "parquet": _open_parquet,
    "arrow": _open_arrow,
    "csv": _open_csv,
}
