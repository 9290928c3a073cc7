"""The content of a segment as it is on the disk now: its complete batches, decoded only as far as asked for."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa

from skylane.journal import layout
from skylane.journal.errors import DamagedSegment, JournalError, UnsupportedFormat
from skylane.journal.framing import BATCH, scan
from skylane.journal.layout import Segment
from skylane.journal.recovery import read_all
from skylane.journal.segment_writer import FORMAT, FORMAT_KEY

REMOVED_KEY: Final = b"skylane.removed"
"""The numbers of rows that were removed from a segment, so that the numbers of the others stay what they were."""


class SegmentContent:
    """The complete batches of a segment. Rows keep their numbers, from 0, also when others are removed."""

    def __init__(self, segment: Segment, data: bytes, *, closed: bool) -> None:
        self.segment: Final = segment
        self.closed: Final = closed
        self._data = data
        self.removed: np.ndarray[Any, np.dtype[np.int64]]
        """Numbers of rows that are no longer there, ascending."""
        self._framing = scan(data)
        if not self._framing.messages:
            if closed:
                raise DamagedSegment(f"{segment.path}: it is no segment of a journal: there is no Arrow schema in it")
            self.schema: pa.Schema = pa.schema([])
            self.removed = np.zeros(0, np.int64)
            return
        self.schema = _schema(segment.path, data[: self._framing.messages[0].end])
        self.metadata: Mapping[bytes, bytes] = self.schema.metadata
        removed = json.loads(self.metadata.get(REMOVED_KEY, b"[]"))
        self.removed = np.asarray(removed, np.int64)

    @property
    def rows(self) -> int:
        """Rows that are there."""
        return self._framing.rows

    @property
    def size(self) -> int:
        """Bytes that were read."""
        return len(self._data)

    @property
    def end(self) -> int:
        """The number after that of the last row."""
        return self._framing.rows + len(self.removed)

    def batches(self, start: int = 0, names: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """The rows from number `start` on, with these columns; all if None. Raises DamagedSegment."""
        if start >= self.end:
            return
        skip = start - int(np.searchsorted(self.removed, start))
        place, parts, rest = 0, list[bytes](), skip
        for message in self._framing.messages:
            if message.kind == BATCH and place + message.rows <= skip:
                place += message.rows
                rest = skip - place
                continue
            parts.append(self._data[message.start : message.end])
        fields = None if names is None else [self.schema.get_field_index(name) for name in names]
        options = pa.ipc.IpcReadOptions(included_fields=fields)
        try:
            for batch in pa.ipc.open_stream(b"".join(parts), options=options):
                yield batch.slice(rest) if rest else batch
                rest = 0
        except (pa.ArrowException, OSError) as error:
            raise DamagedSegment(f"{self.segment.path}: its content is damaged ({error}); move it away") from error

    def table(self, names: Sequence[str] | None = None) -> pa.Table:
        """All rows."""
        return pa.Table.from_batches(list(self.batches(names=names)), self._selected(names))

    def empty(self) -> pa.RecordBatch:
        """No rows, with all columns."""
        columns = [pa.nulls(0, field.type) for field in self.schema]
        return pa.RecordBatch.from_arrays(columns, schema=self.schema)

    def _selected(self, names: Sequence[str] | None) -> pa.Schema:
        if names is None:
            return self.schema
        chosen = sorted(self.schema.get_field_index(name) for name in names)
        return pa.schema([self.schema.field(place) for place in chosen], self.schema.metadata)


def load(segment: Segment) -> SegmentContent | None:
    """The segment's content now, wherever it lies meanwhile; None if it was removed. Raises JournalError."""
    for suffix in (segment.path.suffix, layout.CLOSED):
        path = segment.path.with_suffix(suffix)
        try:
            descriptor = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise JournalError(f"{path}: cannot be read: {error.strerror}") from error
        try:
            return SegmentContent(segment, read_all(descriptor), closed=suffix == layout.CLOSED)
        finally:
            os.close(descriptor)
    return None


def _schema(path: Path, message: bytes) -> pa.Schema:
    try:
        schema = pa.ipc.read_schema(pa.py_buffer(message))
    except (pa.ArrowException, OSError) as error:
        raise DamagedSegment(f"{path}: its schema is damaged ({error}); move it away") from error
    found = (schema.metadata or {}).get(FORMAT_KEY)
    if found is None:
        raise UnsupportedFormat(
            f"{path}: it is an Arrow stream, but no segment of a journal: it has no {FORMAT_KEY.decode()}"
        )
    if found != FORMAT.encode():
        raise UnsupportedFormat(
            f"{path}: it has format {found.decode(errors='replace')} of the journal, and this release of skylane reads "
            f"format {FORMAT}: read it with the release that wrote it"
        )
    return schema
