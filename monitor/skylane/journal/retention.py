"""Removes the oldest closed segments of a directory, by bytes and by age."""

from dataclasses import dataclass
from pathlib import Path

from skylane.journal import layout


@dataclass(frozen=True)
class Removed:
    """What was removed."""

    segments: int = 0
    bytes: int = 0

    def __add__(self, other: "Removed") -> "Removed":
        return Removed(self.segments + other.segments, self.bytes + other.bytes)


def remove_old(directory: Path, bytes_max: int, started_before: float | None) -> Removed:
    """Remove closed segments, oldest first, until all segments have at most `bytes_max` bytes, and those that were
    started before the Unix time `started_before`. Several processes may do so at once. Raises OSError.
    """
    listed = layout.segments(directory)
    size = sum(segment.size for segment in listed)
    removed = Removed()
    for segment in listed:
        expired = started_before is not None and segment.name.started_at.timestamp() < started_before
        if not segment.closed or not (expired or size > bytes_max):
            continue
        try:
            segment.path.unlink()
        except FileNotFoundError:
            continue  # another process was first, and counts it
        finally:
            size -= segment.size
        removed += Removed(1, segment.size)
    return removed
