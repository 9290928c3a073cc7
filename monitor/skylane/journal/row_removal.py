"""Removes rows from segments, such as all of one person. Works while servers write.

Open segments are closed first: the file `.seal` in a model's directory is touched. Each writer notices it at its next
tick and closes its segments at the one after, so that rows which it had captured before are in them. Then every closed
segment with such rows is written anew without them and takes the place of the old one at once, so that it may be
interrupted anywhere and started again. The other rows keep their numbers, so that positions of readers stay valid.
"""

import contextlib
import fcntl
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from skylane.journal import layout
from skylane.journal.compaction import write_segment
from skylane.journal.errors import JournalError
from skylane.journal.layout import Segment
from skylane.journal.recovery import recover
from skylane.journal.segment_content import REMOVED_KEY, SegmentContent, load

LOCK_FILE: Final = ".forget"
"""Locked by whoever writes segments anew, in the journal's directory: two at once would undo each other."""

Mask = np.ndarray[Any, np.dtype[np.bool_]]
Chooses = Callable[[SegmentContent], Mask]
"""Which rows of a segment are meant."""


@dataclass(frozen=True)
class Forgotten:
    """What was removed."""

    rows: int = 0
    segments: int = 0
    """Segments that were written anew."""

    def __add__(self, other: "Forgotten") -> "Forgotten":
        return Forgotten(self.rows + other.rows, self.segments + other.segments)


@contextlib.contextmanager
def exclusive(directory: Path) -> Iterator[None]:
    """Hold the journal's lock for writing segments anew. Raises JournalError if another process has it, and OSError."""
    descriptor = os.open(directory / LOCK_FILE, os.O_RDWR | os.O_CREAT, layout.FILE_MODE)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise JournalError(
            f"{directory}: another process is removing rows from it; try again when it is done"
        ) from None
    finally:
        os.close(descriptor)


def request_seal(directory: Path) -> None:
    """Ask the writers of a model's directory to close their segments. Raises OSError."""
    if directory.is_dir():
        path = directory / layout.SEAL_FILE
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT, layout.FILE_MODE))
        os.utime(path)


def open_with(directory: Path, chooses: Chooses) -> list[Segment]:
    """The segments that have chosen rows and are still open. Closes those of dead writers first.

    Raises JournalError and OSError.
    """
    recover(directory)
    result = []
    for segment in layout.segments(directory):
        content = None if segment.closed else load(segment)
        if content is not None and not content.closed and content.rows and chooses(content).any():
            result.append(segment)
    return result


def remove_rows(directory: Path, chooses: Chooses) -> Forgotten:
    """Remove the chosen rows from all closed segments of a model's directory. Raises JournalError and OSError."""
    removed = Forgotten()
    for segment in layout.segments(directory):
        if segment.closed:
            removed += _remove(segment, chooses)
    return removed


def _remove(segment: Segment, chooses: Chooses) -> Forgotten:
    content = load(segment)
    if content is None or not content.rows or not (mask := chooses(content)).any():
        return Forgotten()
    numbers = np.setdiff1d(np.arange(content.end), content.removed)
    removed = np.union1d(content.removed, numbers[mask])
    metadata = {**content.metadata, REMOVED_KEY: json.dumps(removed.tolist()).encode()}
    rest = content.table().filter(~mask).replace_schema_metadata(metadata)
    with contextlib.suppress(FileNotFoundError):  # retention removed it meanwhile
        write_segment(segment.path, rest, segment.path.stat())
    return Forgotten(int(mask.sum()), 1)
