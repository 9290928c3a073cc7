"""Output files: written under another name, complete on disk, and only then renamed."""

import contextlib
import os
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import pyarrow as pa
import pyarrow.csv as arrow_csv
import pyarrow.parquet as parquet

from skylane.score.hashes import sha256_of
from skylane.score.sources import Format

TEMPORARY: Final = ".skylane-part"
"""Ending of the name of a file that is not complete."""


class Sink:
    """One output file. Use as a context: it has its name after `close`, and leaves nothing behind after an error."""

    def __init__(self, path: Path, schema: pa.Schema, form: Format) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path, self._temporary = path, path.with_name(f".{path.name}{TEMPORARY}")
        self._file = self._temporary.open("wb")
        try:
            self._writer = _writer(self._file, schema, form)
        except BaseException:
            self._discard()
            raise
        self.sha256 = ""
        """Of the content, after `close`."""

    def write(self, batch: pa.RecordBatch) -> None:
        """Append rows."""
        if len(batch):
            self._writer.write_batch(batch)

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
        self._file.close()
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


def _writer(file: Any, schema: pa.Schema, form: Format) -> Any:
    if form == "parquet":
        return parquet.ParquetWriter(file, schema)
    if form == "arrow":
        return pa.ipc.new_file(file, schema)
    return arrow_csv.CSVWriter(file, schema)
