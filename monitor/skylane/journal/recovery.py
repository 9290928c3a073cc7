"""Closes segments whose writer died: a torn end is cut off, and the segment gets its final name.

Writers do so when they start a segment and every minute, and so does whatever changes closed segments. Reading needs
none of it: readers stop at the last complete batch by themselves.
"""

import contextlib
import fcntl
import os
from pathlib import Path

from skylane.journal import layout
from skylane.journal.framing import BATCH, scan


def recover(directory: Path) -> int:
    """Close the segments of dead writers and remove what they left unfinished. Returns the number of segments closed.

    Raises OSError if files cannot be changed.
    """
    closed = 0
    with contextlib.suppress(FileNotFoundError):
        for entry in list(os.scandir(directory)):
            if entry.name.endswith((layout.OPEN, layout.STAGING)):
                closed += _close_if_dead(Path(entry.path))
    return closed


def _close_if_dead(path: Path) -> int:
    try:
        descriptor = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return 0
    try:
        if not _is_dead(descriptor, path):
            return 0
        if path.suffix == layout.STAGING or path.with_suffix(layout.CLOSED).exists():
            path.unlink()  # never had its name, or was written anew in full under its final name
            return 0
        return _close(descriptor, path)
    finally:
        os.close(descriptor)


def _is_dead(descriptor: int, path: Path) -> bool:
    """Whether no process writes the file. The lock is then ours until the descriptor is closed."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    with contextlib.suppress(FileNotFoundError):  # closed by its writer, or by another that recovers
        return os.path.samestat(os.fstat(descriptor), path.stat())
    return False


def _close(descriptor: int, path: Path) -> int:
    framing = scan(read_all(descriptor))
    if not any(message.kind == BATCH for message in framing.messages):
        path.unlink()
        return 0
    if not framing.ended:
        os.ftruncate(descriptor, framing.complete_to)
    sync_file(descriptor)
    path.rename(path.with_suffix(layout.CLOSED))
    return 1


def read_all(descriptor: int) -> bytes:
    """The content of the file, up to its size now."""
    size, parts, place = os.fstat(descriptor).st_size, list[bytes](), 0
    while place < size and (part := os.pread(descriptor, size - place, place)):
        parts.append(part)
        place += len(part)
    return b"".join(parts)


def sync_file(descriptor: int) -> None:
    """Return when the file's content is on the disk."""
    os.fsync(descriptor)
