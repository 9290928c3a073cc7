"""Reads of the repository's directories. A file system may never answer: whoever follows the repository must not wait.

Each read is done on a thread of its own. Where it gets no further for a while, the directory that it is in is left
alone until that thread goes on, and the others are read without it.
"""

import contextlib
import errno
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, Generic, TypeVar

from skylane.server.repository.loading import Start, start_thread
from skylane.server.repository.scanner import Glance, Survey, glance, survey

T = TypeVar("T")

HUNG_S: Final = 2.5
"""A read that is still where it was so long ago is left alone."""
NO_ANSWER: Final = "its file system does not answer"

Reading = Callable[[str], object]
"""Is called with each path before it is read."""


class _NoAnswer(Exception):
    """A read gets no further."""


class _Read(Generic[T]):
    """One read, under way or ended."""

    def __init__(self, work: Callable[[Reading], T], root: str) -> None:
        self._work = work
        self.at = (0, root)
        """A number that grows with each path, and the path."""
        self.ended = threading.Event()
        self.result: list[T] = []
        self.error: Exception | None = None

    def run(self) -> None:
        try:
            self.result = [self._work(self._reading)]
        except Exception as error:  # whoever waits handles it
            self.error = error
        finally:
            self.ended.set()

    def _reading(self, path: str) -> None:
        self.at = self.at[0] + 1, path


class RepositoryReader:
    """Reads one repository. For one thread at a time."""

    def __init__(
        self,
        root: Path,
        start: Start = start_thread,
        hung_s: float = HUNG_S,
        survey: Callable[[Path, Reading, Mapping[str, str]], Survey] = survey,
    ) -> None:
        self._root, self._start, self._hung_s, self._survey = root, start, hung_s, survey
        self._hung: dict[str, threading.Event] = {}
        """Directories that did not answer → set when they have."""

    def survey(self) -> Survey:
        """See disk.survey; nothing is known of models whose directories do not answer. Raises OSError."""
        while True:
            self._forget_what_answered()
            if str(self._root) in self._hung:
                raise OSError(errno.ETIMEDOUT, NO_ANSWER)
            with contextlib.suppress(_NoAnswer):
                return self._read(self._survey_others)

    def glance(self, paths: Sequence[str]) -> Glance | None:
        """See disk.glance; None if a directory does not answer, for the first time."""
        self._forget_what_answered()
        if self._hung:
            paths = [path for path in paths if self._directory_of(path) not in self._hung]
        if str(self._root) in self._hung:
            return ()
        try:
            return self._read(lambda reading: glance(paths, reading))
        except _NoAnswer:
            return None

    def _survey_others(self, reading: Reading) -> Survey:
        return self._survey(self._root, reading, dict.fromkeys(self._hung, NO_ANSWER))

    def _forget_what_answered(self) -> None:
        self._hung = {path: answered for path, answered in self._hung.items() if not answered.is_set()}

    def _read(self, work: Callable[[Reading], T]) -> T:
        read = _Read(work, str(self._root))
        self._start(read.run, "skylane-repository-read")
        before = None
        while not read.ended.wait(self._hung_s):
            if read.at == before:
                self._hung[self._directory_of(read.at[1])] = read.ended
                raise _NoAnswer
            before = read.at
        if read.error is not None:
            raise read.error
        return read.result[0]

    def _directory_of(self, path: str) -> str:
        """The model's directory that a path lies in, or the repository itself."""
        root = str(self._root)
        inside = path.removeprefix(root).lstrip(os.sep)
        return os.path.join(root, inside.split(os.sep)[0]) if inside else root
