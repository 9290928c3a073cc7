"""Scans of the repository with a time limit: a file system may never answer, and the caller must not wait for it.

Each scan runs on a thread of its own. A directory whose read makes no progress for a while is skipped until the thread
that reads it continues; the other directories are scanned without it.
"""

import contextlib
import errno
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, Generic, TypeVar

from skylane.server.repository.background_loads import Start, start_thread
from skylane.server.repository.scanner import RepositoryScan, TimeStamps, scan, time_stamps

T = TypeVar("T")

HUNG_S: Final = 2.5
"""A read that has made no progress for this long is left behind."""
NO_ANSWER: Final = "its file system does not answer"

BeforeReading = Callable[[str], object]
"""Is called with each path before it is read."""


class _NoProgress(Exception):
    """A read makes no progress."""


class _Read(Generic[T]):
    """One read, running or ended."""

    def __init__(self, work: Callable[[BeforeReading], T], root: str) -> None:
        self._work = work
        self.position = (0, root)
        """A number that grows with each path, and the path."""
        self.ended = threading.Event()
        self.result: list[T] = []
        self.error: Exception | None = None

    def run(self) -> None:
        try:
            self.result = [self._work(self._before_reading)]
        except Exception as error:  # raised again on the waiting thread
            self.error = error
        finally:
            self.ended.set()

    def _before_reading(self, path: str) -> None:
        self.position = self.position[0] + 1, path


class TimedScanner:
    """Scans one repository. For one thread at a time."""

    def __init__(
        self,
        root: Path,
        start: Start = start_thread,
        hung_s: float = HUNG_S,
        scan: Callable[[Path, BeforeReading, Mapping[str, str]], RepositoryScan] = scan,
    ) -> None:
        self._root, self._start, self._hung_s, self._scan = root, start, hung_s, scan
        self._hung: dict[str, threading.Event] = {}
        """Directories whose read hangs → set when it has ended."""

    def scan(self) -> RepositoryScan:
        """`scanner.scan`; models whose directories do not answer are marked as unreadable. Raises OSError."""
        while True:
            self._drop_recovered()
            if str(self._root) in self._hung:
                raise OSError(errno.ETIMEDOUT, NO_ANSWER)
            with contextlib.suppress(_NoProgress):
                return self._read(self._scan_responding)

    def time_stamps(self, paths: Sequence[str]) -> TimeStamps | None:
        """`scanner.time_stamps`; None when a directory has just stopped answering."""
        self._drop_recovered()
        if self._hung:
            paths = [path for path in paths if self._directory_of(path) not in self._hung]
        if str(self._root) in self._hung:
            return ()
        try:
            return self._read(lambda before_reading: time_stamps(paths, before_reading))
        except _NoProgress:
            return None

    def _scan_responding(self, before_reading: BeforeReading) -> RepositoryScan:
        return self._scan(self._root, before_reading, dict.fromkeys(self._hung, NO_ANSWER))

    def _drop_recovered(self) -> None:
        self._hung = {path: ended for path, ended in self._hung.items() if not ended.is_set()}

    def _read(self, work: Callable[[BeforeReading], T]) -> T:
        read = _Read(work, str(self._root))
        self._start(read.run, "skylane-repository-read")
        before = None
        while not read.ended.wait(self._hung_s):
            if read.position == before:
                self._hung[self._directory_of(read.position[1])] = read.ended
                raise _NoProgress
            before = read.position
        if read.error is not None:
            raise read.error
        return read.result[0]

    def _directory_of(self, path: str) -> str:
        """The directory of the model that a path lies in, or the repository itself."""
        root = str(self._root)
        inside = path.removeprefix(root).lstrip(os.sep)
        return os.path.join(root, inside.split(os.sep)[0]) if inside else root
