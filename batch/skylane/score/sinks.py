"""Output files: written under another name, complete on disk, and only then renamed."""

import contextlib
import io
import os
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Final, Self

import pyarrow as pa
import pyarrow.csv as arrow_csv
import pyarrow.parquet as parquet

from skylane.score.hashes import sha256_of
from skylane.score.selection import ScoreError
from skylane.score.sources import Format

TEMPORARY: Final = ".skylane-part"
"""Ending of the name of a file that is not complete."""


class Sink:
    """One output file. Use as a context: it has its name after `close`, and leaves nothing behind after an error."""

    def __init__(self, path: Path, schema: pa.Schema, form: Format) -> None:
        """Raises ScoreError for a column that the format cannot hold, before anything is written."""
        self._schema, self._form = written_schema(schema, form), form
        refuse_unwritable(self._schema, form)
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path, self._temporary = path, path.with_name(f".{path.name}{TEMPORARY}")
        self._file = open_new(self._temporary)
        try:
            self._writer = _writer(self._file, self._schema, form)
        except BaseException:
            self._discard_file()
            raise
        self.sha256 = ""
        """Of the content, after `close`."""

    def write(self, batch: pa.RecordBatch) -> None:
        """Append rows. Raises ScoreError for a value that the format cannot hold."""
        if not len(batch):
            return
        try:
            self._writer.write_batch(batch if batch.schema.equals(self._schema) else batch.cast(self._schema))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError) as error:
            raise ScoreError(f"{self.path}: it cannot be written as {self._form}: {error}") from error

    def close(self) -> None:
        """Put the complete file in its place."""
        self._writer.close()
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self.sha256 = sha256_of(self._temporary)
        os.replace(self._temporary, self.path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is not None:
            self._discard()

    def _discard(self) -> None:
        with contextlib.suppress(Exception):  # the writer complains about what it could not write; that was raised
            self._writer.close()
        self._discard_file()

    def _discard_file(self) -> None:
        try:
            with contextlib.suppress(OSError):  # what is still buffered may not fit on the disk either
                self._file.close()
        finally:
            self._temporary.unlink(missing_ok=True)


def write_whole(path: Path, content: bytes) -> None:
    """Write a small file, complete or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}{TEMPORARY}")
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def open_new(path: Path) -> BinaryIO:
    """An empty file to write."""
    return path.open("wb")


def written_schema(schema: pa.Schema, form: Format) -> pa.Schema:
    """Of the file. A file of Arrow has one dictionary for a column, and the batches may have others: values instead."""
    if form != "arrow":
        return schema
    fields = [each.with_type(each.type.value_type) if pa.types.is_dictionary(each.type) else each for each in schema]
    return pa.schema(fields, schema.metadata)


def refuse_unwritable(schema: pa.Schema, form: Format) -> None:
    """Raise ScoreError for the first column whose type the format cannot hold."""
    for field in schema:
        if not _can_hold(form, field):
            other = "arrow" if form == "parquet" else "parquet"
            raise ScoreError(
                f"column {field.name!r}: {form} cannot hold {field.type}: leave it out with --columns, or write {other}"
            )


def _can_hold(form: Format, field: pa.Field) -> bool:
    kind = field.type
    if form == "csv" and (pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind)):
        return False  # bytes that are no text would end the run in the middle of the file
    schema = pa.schema([field.with_nullable(True)])
    try:
        with _writer(io.BytesIO(), schema, form) as writer:
            writer.write_batch(pa.RecordBatch.from_arrays([pa.nulls(1, kind)], schema=schema))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError):
        return False
    return True


def _writer(file: Any, schema: pa.Schema, form: Format) -> Any:
    if form == "parquet":
        return parquet.ParquetWriter(file, schema)
    if form == "arrow":
        return pa.ipc.new_file(file, schema)
    return arrow_csv.CSVWriter(file, schema)
