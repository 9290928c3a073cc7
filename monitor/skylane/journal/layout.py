"""Names and places of a journal's files.

    DIR/key                                 key of the hashes, see `hashing.py`
    DIR/predictions/<model>/<name>.open     segment that a process is writing, locked by it
    DIR/predictions/<model>/<name>.arrow    closed segment
    DIR/predictions/<model>/.seal           its change asks writers to close their segments, see `forgetting.py`
    DIR/outcomes/<model>/…                  the same for outcomes

A segment's name is `<time>-<writer>-<number>`: the UTC time at which it was started, the process that wrote it, and its
number among that process's segments in the directory, from 1. A segment keeps its name for life; names sort by time.
"""

import os
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from skylane.manifest import MODEL_NAME

PREDICTIONS: Final = "predictions"
OUTCOMES: Final = "outcomes"
OPEN: Final = ".open"
CLOSED: Final = ".arrow"
SEAL_FILE: Final = ".seal"
STAGING: Final = ".staging"
"""End of the names of files that become segments when they are complete."""

FILE_MODE: Final = 0o600
DIRECTORY_MODE: Final = 0o700


_NAME: Final = re.compile(r"(\d{8}T\d{12}Z)-([0-9a-f]{16})-(\d{8,})")
_TIME: Final = "%Y%m%dT%H%M%S%fZ"


@dataclass(frozen=True, order=True)
class SegmentName:
    """The name of a segment, without its suffix. Sorts by time, then writer, then number."""

    started: str
    writer: str
    number: int

    def __str__(self) -> str:
        return f"{self.started}-{self.writer}-{self.number:08d}"

    @property
    def started_at(self) -> datetime:
        """The instant at which it was started."""
        return datetime.strptime(self.started, _TIME).replace(tzinfo=UTC)


@dataclass(frozen=True)
class Segment:
    """A segment's file as it was listed. An open segment may be closed, and a closed one removed, at any time."""

    name: SegmentName
    path: Path
    size: int
    closed: bool


def segment_name(started_at: float, writer: str, number: int) -> SegmentName:
    """The name of a segment that is started at this Unix time."""
    return SegmentName(datetime.fromtimestamp(started_at, UTC).strftime(_TIME), writer, number)


def parse_name(stem: str) -> SegmentName | None:
    """The parts of a segment's name; None for any other name."""
    match = _NAME.fullmatch(stem)
    return SegmentName(match[1], match[2], int(match[3])) if match else None


def segments(directory: Path) -> list[Segment]:
    """The segments in a model's directory, by name. None if it does not exist; raises OSError if it cannot be read."""
    found: dict[SegmentName, Segment] = {}
    try:
        entries = list(os.scandir(directory))
    except FileNotFoundError:
        return []
    for entry in entries:
        stem, suffix = os.path.splitext(entry.name)
        name = parse_name(stem) if suffix in (OPEN, CLOSED) else None
        if name is None or (suffix == OPEN and name in found):
            continue  # closed and open at once for a moment: the closed one is complete
        try:
            status = entry.stat(follow_symlinks=False)
        except FileNotFoundError:
            continue  # closed or removed meanwhile
        found[name] = Segment(name, Path(entry.path), status.st_size, suffix == CLOSED)
    return [found[name] for name in sorted(found)]


def models(directory: Path, kind: str = PREDICTIONS) -> list[str]:
    """The models that have a directory in the journal."""
    try:
        return sorted(entry.name for entry in os.scandir(directory / kind) if entry.is_dir() and _is_model(entry.name))
    except FileNotFoundError:
        return []


def make_directory(path: Path) -> None:
    """Make the directory and those above it that are missing, for the owner alone. Raises OSError."""
    for each in (*reversed(path.parents), path):
        if not each.exists():
            each.mkdir(DIRECTORY_MODE, exist_ok=True)


def _is_model(name: str) -> bool:
    return MODEL_NAME.fullmatch(name) is not None
