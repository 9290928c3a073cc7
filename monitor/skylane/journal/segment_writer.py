"""Writes segments of one directory for one process: batches in, files out. Raises OSError if the disk refuses.

A segment in progress is an Arrow IPC stream that grows by whole record batches. It is locked while its writer lives,
and renamed when it is closed. Each schema, with its metadata, has a segment of its own. Not thread-safe.
"""

import contextlib
import fcntl
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from skylane.journal import layout
from skylane.journal.compaction import BATCHES_MIN, ROWS_SMALL, compacted
from skylane.journal.framing import END
from skylane.journal.recovery import recover, sync_file
from skylane.journal.retention import Removed, remove_old

FORMAT: Final = "1"
FORMAT_KEY: Final = b"skylane.format"
WRITER_KEY: Final = b"skylane.writer"

OPEN_SEGMENTS_MAX: Final = 8
"""Segments that are open in one directory at once; the one that was started first is closed for another."""
MEMORY_BYTES_MAX: Final = 128 * 2**20
"""Bytes of a segment's rows in memory at which it is closed. Zeros and repeated texts take almost none on the disk, but
whoever reads or rewrites a segment holds all of it."""
HOUSEKEEPING_S: Final = 60.0
"""How often segments of dead writers are closed and old ones removed."""

BUFFER_BYTES: Final = 128 * 1024
"""A batch is joined before Python gets it: else each of its 50 pieces would wait for a busy server's interpreter."""
_LARGE: Final = pa.ipc.IpcWriteOptions(compression="zstd", use_threads=False)
"""2,000 rows of flights take 0.9 ms and 50 bytes each; with LZ4 0.3 ms and 87 bytes."""
_SMALL: Final = pa.ipc.IpcWriteOptions(compression="lz4", use_threads=False)
"""A row of 784 columns takes 1.1 ms; with Zstandard 8.3. Rewritten with Zstandard when the segment is closed."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class SegmentLimits:
    """How large and old segments, and all of a directory together, may become."""

    bytes_max: int = 1024 * 2**20
    """Bytes of the directory. Each writer may exceed it by one segment."""
    age_s_max: float | None = 90 * 86_400.0
    """Age at which a row is removed at the latest, give or take `segment_s_max`; None: never."""
    segment_bytes_max: int = 16 * 2**20
    segment_s_max: float = 3600.0

    def __post_init__(self) -> None:
        if min(self.bytes_max, self.segment_bytes_max) < 1 or self.segment_s_max <= 0:
            raise ValueError(f"limits must be above 0: {self}")

    @property
    def segment_bytes(self) -> int:
        """Bytes at which a segment is closed: so few that removing the oldest one leaves most of the journal."""
        return min(self.segment_bytes_max, max(1, self.bytes_max // 8))


class SegmentWriter:
    """The segments of one directory that this process writes."""

    def __init__(self, directory: Path, writer: str, limits: SegmentLimits | None = None) -> None:
        self.directory: Final = directory
        self.writer: Final = writer
        self.limits = limits or SegmentLimits()
        self.removed = Removed()
        """What retention removed, by this process."""
        self.bytes_written = 0
        self._open: dict[bytes, _OpenSegment] = {}
        self._number = 0
        self._housekeeping_at = float("-inf")
        self._seal = _Seal(directory / layout.SEAL_FILE)

    def write(self, batch: pa.RecordBatch, now: float, *, sync: bool = False) -> None:
        """Append the batch; with `sync`, return when it is on the disk itself. Raises OSError, then nothing is written.

        `now` is the Unix time. After an error the next call starts a new segment.
        """
        if not batch.num_rows:
            return
        schema = self._stamped(batch.schema)
        key = schema.serialize().to_pybytes()
        segment = self._open.get(key)
        if segment is not None and (segment.is_full(self.limits, now) or segment.is_removed):
            self._close(key)
            segment = None
        batch = batch.replace_schema_metadata(schema.metadata)
        if segment is None:
            segment = self._start(key, batch, now)
        else:
            try:
                segment.append(batch)
            except OSError:
                self._close(key)
                raise
        self.bytes_written += segment.appended
        if sync:
            sync_file(segment.descriptor)

    def tick(self, now: float) -> None:
        """What is due without rows: close old segments, or all if asked to; remove old ones. Call about once a second.

        Raises OSError.
        """
        if self._seal.due():
            self.close()
        for key in [key for key, segment in self._open.items() if segment.is_full(self.limits, now)]:
            self._close(key)
        if now - self._housekeeping_at >= HOUSEKEEPING_S or now < self._housekeeping_at:
            self._housekeep(now, 0)

    def close(self) -> None:
        """Close all segments. Raises OSError."""
        for key in list(self._open):
            self._close(key)

    def _stamped(self, schema: pa.Schema) -> pa.Schema:
        metadata: Mapping[bytes, bytes] = schema.metadata or {}
        return schema.with_metadata({**metadata, FORMAT_KEY: FORMAT.encode(), WRITER_KEY: self.writer.encode()})

    def _start(self, key: bytes, batch: pa.RecordBatch, now: float) -> "_OpenSegment":
        """A new segment that begins with the batch. It gets its name when the batch is in it."""
        layout.make_directory(self.directory)
        if len(self._open) >= OPEN_SEGMENTS_MAX:
            self._close(next(iter(self._open)))
        self._housekeep(now, self.limits.segment_bytes)
        name = layout.segment_name(now, self.writer, self._number + 1)
        segment = _OpenSegment(self.directory / str(name), batch, now)
        try:
            segment.append(batch)
            segment.publish()
        except BaseException:
            segment.discard()
            raise
        self._number += 1
        self._open[key] = segment
        return segment

    def _close(self, key: bytes) -> None:
        self._open.pop(key).close()

    def _housekeep(self, now: float, reserve: int) -> None:
        self._housekeeping_at = now
        recover(self.directory)
        removed = remove_old(self.directory, self.limits.bytes_max - reserve, self._oldest(now))
        if removed.segments:
            self.removed += removed
            _log.info("%s: removed %d old segments, %d bytes", self.directory, removed.segments, removed.bytes)

    def _oldest(self, now: float) -> float | None:
        """Segments that were started before this instant have no row that may be kept."""
        return None if self.limits.age_s_max is None else now - self.limits.age_s_max - self.limits.segment_s_max


class _OpenSegment:
    """A segment in progress: its locked file, and the stream that encodes its batches."""

    def __init__(self, path: Path, first: pa.RecordBatch, now: float) -> None:
        self._path, self._started_at = path, now
        self._small = first.num_rows < ROWS_SMALL
        self._file = path.with_name(path.name + layout.STAGING)
        self.descriptor: Final = os.open(self._file, os.O_RDWR | os.O_CREAT | os.O_EXCL, layout.FILE_MODE)
        fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self._sink = _Sink()
        options = _SMALL if self._small else _LARGE
        self._buffer = pa.BufferedOutputStream(pa.PythonFile(self._sink, "w"), BUFFER_BYTES)
        self._stream = pa.ipc.new_stream(self._buffer, first.schema, options=options)
        self._size = self._memory = self._rows = self._batches = 0
        self._failed = False
        self.appended = 0
        """Bytes of the last append."""

    def is_full(self, limits: SegmentLimits, now: float) -> bool:
        age = now - self._started_at
        is_large = self._size >= limits.segment_bytes or self._memory >= MEMORY_BYTES_MAX
        return is_large or not 0 <= age < limits.segment_s_max

    @property
    def is_removed(self) -> bool:
        """Whether somebody removed its file: what is written to it now is lost when it is closed."""
        return os.fstat(self.descriptor).st_nlink == 0

    def append(self, batch: pa.RecordBatch) -> None:
        """Write the batch, or nothing: a file that the disk cuts short is cut to the batch before. Raises OSError."""
        self._stream.write_batch(batch)
        self._buffer.flush()
        data = self._sink.take()
        try:
            _write_all(self.descriptor, data)
        except OSError:
            self._failed = True
            with contextlib.suppress(OSError):  # readers and recovery stop at a torn batch by themselves
                os.ftruncate(self.descriptor, self._size)
            raise
        self.appended = len(data)
        self._size += len(data)
        self._memory += batch.nbytes
        self._rows += batch.num_rows
        self._batches += 1

    def publish(self) -> None:
        """Give it the name under which it is read."""
        named = self._path.with_name(self._path.name + layout.OPEN)
        self._file.rename(named)
        self._file = named

    def discard(self) -> None:
        """Remove a segment that has no batch."""
        with contextlib.suppress(OSError):
            self._file.unlink()
        os.close(self.descriptor)

    def close(self) -> None:
        """End the stream and give it its final name. Raises OSError; `recover` then closes it later."""
        closed = self._path.with_name(self._path.name + layout.CLOSED)
        try:
            if self.is_removed:
                _log.warning("%s: the segment was removed while it was written; its rows are lost", self._file)
                return
            with contextlib.suppress(OSError):  # no room for the end, or a smaller copy: it is complete without
                if not self._failed and self._is_worth_compacting():
                    compacted(self._file, closed)
                    self._file.unlink()
                    return
                if not self._failed:
                    _write_all(self.descriptor, END)
            sync_file(self.descriptor)
            self._file.rename(closed)
        finally:
            os.close(self.descriptor)

    def _is_worth_compacting(self) -> bool:
        """Whether it has many batches, and they were small at the beginning or are on average."""
        return self._batches >= BATCHES_MIN and (self._small or self._rows < ROWS_SMALL * self._batches)


class _Seal:
    """Notices that writers are asked to close their segments.

    It takes effect one tick after it was noticed, so that rows which were captured before are written by then.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen = self._read()
        self._noticed = False

    def due(self) -> bool:
        due, self._noticed = self._noticed, False
        if (now := self._read()) != self._seen:
            self._seen, self._noticed = now, True
        return due

    def _read(self) -> int | None:
        try:
            return self._path.stat().st_mtime_ns
        except OSError:
            return None


class _Sink:
    """What the stream's encoder writes to: bytes that are taken after each batch."""

    closed = False

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def write(self, data: Any) -> int:
        self._parts.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        """Nothing is held back."""

    def close(self) -> None:
        """Nothing is held open."""

    def take(self) -> bytes:
        data = b"".join(self._parts)
        self._parts.clear()
        return data


def _write_all(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]
