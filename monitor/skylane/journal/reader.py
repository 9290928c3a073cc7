"""Reads a model's predictions as they come: each row exactly once, also over restarts of the one who reads."""

import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from skylane.journal import layout
from skylane.journal.errors import DamagedSegment, InvalidArgument
from skylane.journal.layout import PREDICTIONS, Segment
from skylane.journal.predictions import NAMES, as_read, stored_names
from skylane.journal.segment_content import load

POSITION_FORMAT: Final = 1
ROWS_MAX: Final = 262_144
"""Rows after which a poll returns, give or take a batch."""

Position = Mapping[str, Any]
"""Where to go on, as plain JSON values. Opaque: store it together with what was made of the rows."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Polled:
    """What a poll found."""

    batches: Sequence[pa.RecordBatch]
    """In the order of their segments, each of one version, with the columns that `read` returns."""
    position: Position
    """Where the next poll goes on."""
    more: bool
    """Whether rows were left for the next poll, because this one has enough."""

    @property
    def rows(self) -> int:
        """Rows of all batches."""
        return sum(batch.num_rows for batch in self.batches)


class Reader:
    """Follows the segments of one model. Not thread-safe."""

    def __init__(
        self,
        directory: str | os.PathLike[str],
        model: str,
        position: Position | None = None,
        *,
        columns: Sequence[str] | None = None,
        rows_max: int = ROWS_MAX,
    ) -> None:
        """From a position that a poll returned, or from the beginning. Raises InvalidArgument for another position."""
        self._directory = Path(directory) / PREDICTIONS / model
        self._names = _known(columns)
        self._rows_max = rows_max
        self._writers = _decoded(position)
        self._sizes: dict[Path, int] = {}
        self._damaged: set[Path] = set()

    @property
    def position(self) -> Position:
        """Where the next poll goes on."""
        return {
            "format": POSITION_FORMAT,
            "writers": {writer: progress.to_json() for writer, progress in sorted(self._writers.items())},
        }

    def poll(self) -> Polled:
        """The rows since the last poll, up to about `rows_max`. A directory that does not exist yet has none.

        A damaged segment is logged and skipped. Raises JournalError for a segment that cannot be read, and OSError.
        """
        listed = layout.segments(self._directory)
        self._forget_writers_without(listed)
        batches: list[pa.RecordBatch] = []
        for segment in listed:
            if sum(batch.num_rows for batch in batches) >= self._rows_max:
                return Polled(batches, self.position, more=True)
            progress = self._writers.setdefault(segment.name.writer, _Progress())
            if progress.is_done(segment.name.number) or self._is_skipped(segment):
                continue
            batches += self._new(segment, progress)
        return Polled(batches, self.position, more=False)

    def _new(self, segment: Segment, progress: "_Progress") -> list[pa.RecordBatch]:
        number = segment.name.number
        try:
            content = load(segment)
            if content is None:
                return []
            start = progress.reading.get(number, 0)
            new = [as_read(batch, self._names) for batch in content.batches(start, self._stored())]
        except DamagedSegment as error:
            _log.error("%s", error)
            self._damaged.add(segment.path)
            return []
        if content.closed:
            progress.finish(number)
            self._sizes.pop(segment.path, None)
        else:
            progress.reading[number] = max(start, content.end)
            self._sizes[segment.path] = content.size
        return [batch for batch in new if batch.num_rows]

    def _stored(self) -> list[str]:
        return list(dict.fromkeys([*stored_names(self._names), "call"]))

    def _is_skipped(self, segment: Segment) -> bool:
        """Whether it is damaged, or open and read as far as it has grown."""
        unchanged = not segment.closed and self._sizes.get(segment.path) == segment.size
        return unchanged or segment.path in self._damaged

    def _forget_writers_without(self, listed: Iterable[Segment]) -> None:
        """Drop writers whose segments were all removed. An empty directory may be one that is not mounted."""
        there = {segment.name.writer for segment in listed}
        if there:
            self._writers = {writer: progress for writer, progress in self._writers.items() if writer in there}


@dataclass
class _Progress:
    """What was read of one writer: ranges of numbers of segments read to their end, and rows read of others."""

    done: list[list[int]] = field(default_factory=list)
    reading: dict[int, int] = field(default_factory=dict)

    def is_done(self, number: int) -> bool:
        return any(first <= number <= last for first, last in self.done)

    def finish(self, number: int) -> None:
        self.reading.pop(number, None)
        self.done.append([number, number])
        self.done.sort()
        joined: list[list[int]] = []
        for first, last in self.done:
            if joined and first <= joined[-1][1] + 1:
                joined[-1][1] = max(last, joined[-1][1])
            else:
                joined.append([first, last])
        self.done = joined

    def to_json(self) -> dict[str, Any]:
        return {
            "done": [list(each) for each in self.done],
            "reading": {str(number): rows for number, rows in sorted(self.reading.items())},
        }


def _decoded(position: Position | None) -> dict[str, _Progress]:
    if position is None:
        return {}
    if position.get("format") != POSITION_FORMAT:
        raise InvalidArgument(f"position: expected format {POSITION_FORMAT}, received {position.get('format')!r}")
    return {
        writer: _Progress(
            [[int(first), int(last)] for first, last in each["done"]],
            {int(number): int(rows) for number, rows in each["reading"].items()},
        )
        for writer, each in position["writers"].items()
    }


def _known(columns: Sequence[str] | None) -> Sequence[str]:
    unknown = [name for name in columns or () if name not in NAMES]
    if unknown:
        raise InvalidArgument(f"columns: {unknown[0]!r} is not one of {', '.join(NAMES)}")
    return NAMES if columns is None else list(columns)
