"""The file of the rows that a model did not take."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from skylane.score.row_sources import Rows
from skylane.score.scorer import Scored
from skylane.score.sinks import Sink

ROW, REASON = "_row", "_reason"
"""Columns of the rejected rows besides their own: their place in the file from 0 (null for a line of CSV that is no
row), and why."""


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
