"""Files to score: which they are, and their rows as batches of Arrow."""

import csv
import glob
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any, Final, Literal
from urllib.parse import unquote

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

_NULL_PARTITION: Final = "__HIVE_DEFAULT_PARTITION__"


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
        """Of the content."""
        return sha256_of(self.path)


class Reader:
    """The rows of one source. Use once."""

    def __init__(self, source: Source) -> None:
        """Opens the file. Raises ScoreError if it is not of its format."""
        self.unreadable: Final[list[str]] = []
        """Of each line of CSV that is no row, why; filled as the batches are read."""
        self.rows: int | None = None
        """How many there are, where the format tells."""
        try:
            self.schema, self._batches = _OPEN[source.format](source, self)
        except (pa.ArrowInvalid, pa.ArrowKeyError, OSError, UnicodeDecodeError, csv.Error) as error:
            raise ScoreError(f"{source.path}: it cannot be read as {source.format}: {_one_line(error)}") from error
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
            for whole in self._batches:
                for start in range(0, len(whole), BATCH_ROWS):
                    yield self._with_partitions(whole.slice(start, BATCH_ROWS))
        except (pa.ArrowInvalid, OSError) as error:
            raise ScoreError(f"{self._source.path}: it cannot be read to its end: {_one_line(error)}") from error

    def _with_partitions(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        columns = [pa.repeat(pa.scalar(value, pa.string()), len(batch)) for value in self._source.partitions.values()]
        return pa.RecordBatch.from_arrays([*batch.columns, *columns], schema=self.schema) if columns else batch


def sources(pattern: str) -> list[Source]:
    """The files that a path names: a file, a directory with all below it, or a glob such as `2024/*/part-*.parquet`.

    Names that begin with `_` or `.` are left out. Raises ScoreError if there is none, or one of an unknown format.
    """
    path = Path(pattern)
    if path.is_file():
        return [_source(path, path.parent)]
    if path.is_dir():
        base, found = path, sorted(path.rglob("*"))
    else:
        base = _fixed_part(pattern)
        found = sorted({each for match in glob.glob(pattern, recursive=True) for each in _files_of(Path(match))})
    files = [each for each in found if each.is_file() and not _is_hidden(each.relative_to(base))]
    if not files:
        raise ScoreError(f"input: there is no file {pattern}" + (" in this directory" if path.is_dir() else ""))
    return [_source(each, base) for each in files]


def _source(path: Path, base: Path) -> Source:
    ending = path.suffix.lower()
    if ending not in FORMATS:
        raise ScoreError(f"{path}: expected a file that ends with {', '.join(FORMATS)}, received {ending or 'none'}")
    relative = path.relative_to(base)
    named = [part.partition("=") for part in relative.parent.parts if "=" in part]
    partitions = {name: None if value == _NULL_PARTITION else unquote(value) for name, _, value in named}
    return Source(path, PurePosixPath(relative).as_posix(), FORMATS[ending], partitions)


def _files_of(match: Path) -> Iterator[Path]:
    return match.rglob("*") if match.is_dir() else iter([match])


def _fixed_part(pattern: str) -> Path:
    """The directories of a glob before its first special character."""
    parts = Path(pattern).parts[:-1]
    fixed = next((i for i, part in enumerate(parts) if glob.has_magic(part)), len(parts))
    return Path(*parts[:fixed])


def _is_hidden(relative: Path) -> bool:
    return any(part.startswith(("_", ".")) for part in relative.parts)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


Opened = tuple[pa.Schema, Iterator[pa.RecordBatch]]


def _open_parquet(source: Source, reader: Reader) -> Opened:
    file = parquet.ParquetFile(source.path)
    reader.rows = file.metadata.num_rows
    return file.schema_arrow, file.iter_batches(batch_size=BATCH_ROWS)


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
    if repeated := {name for name in names if names.count(name) > 1}:
        raise ScoreError(f"{source.path}: column {min(repeated)!r} is there more than once")

    def skip(row: Any) -> str:
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
