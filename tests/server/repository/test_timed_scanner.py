"""A file system that does not answer for one directory, for the whole repository, and then does again."""

import threading
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from skylane.server.repository import scanner
from skylane.server.repository.scanner import RepositoryScan
from skylane.server.repository.timed_scanner import NO_ANSWER, BeforeReading, TimedScanner


class Disk:
    """The real one, but for what hangs: whoever reads there waits."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._hangs, self._reached, self._answers = "", threading.Event(), threading.Event()
        self._threads: list[threading.Thread] = []
        self.reads = 0
        self.scanner = TimedScanner(root, self.start, hung_s=0.001, scan=self.scan)

    def hang(self, path: Path) -> None:
        self._hangs = str(path)

    def answer(self) -> None:
        """And wait until who waited has its answer."""
        self._hangs = ""
        self._answers.set()
        for thread in self._threads:
            thread.join(60)

    def start(self, work: Callable[[], None], name: str) -> None:
        """See Start. A read is over when this returns, or hangs."""
        self.reads += 1
        if not self._hangs:
            return work()

        def read() -> None:
            work()
            self._reached.set()

        self._reached.clear()
        self._threads.append(threading.Thread(target=read, daemon=True))
        self._threads[-1].start()
        assert self._reached.wait(60)
        return None

    def scan(self, root: Path, before_reading: BeforeReading, skipped: Mapping[str, str]) -> RepositoryScan:
        """As `scanner.scan`, but waits at the directory that hangs."""

        def read(path: str) -> None:
            before_reading(path)
            if path == self._hangs:
                self._reached.set()
                assert self._answers.wait(60)

        return scanner.scan(root, read, skipped)


@pytest.fixture
def hanging(tmp_path: Path) -> Disk:
    for name in "abc":
        (tmp_path / name / "1").mkdir(parents=True)
    return Disk(tmp_path)


def unreadable(scan: RepositoryScan) -> dict[str, str]:
    return {name: model.unreadable for name, model in scan.models.items()}


def test_a_directory_that_does_not_answer_is_left_alone_until_it_does(hanging: Disk) -> None:
    assert unreadable(hanging.scanner.scan()) == {"a": "", "b": "", "c": ""}
    hanging.hang(hanging.root / "b")
    for _ in range(2):
        assert unreadable(hanging.scanner.scan()) == {"a": "", "b": NO_ANSWER, "c": ""}
    assert hanging.reads == 4, "one thread waits, however often it is scanned"
    hanging.answer()
    assert unreadable(hanging.scanner.scan()) == {"a": "", "b": "", "c": ""}


def test_a_repository_that_does_not_answer_is_not_read_until_it_does(hanging: Disk) -> None:
    hanging.hang(hanging.root)
    for _ in range(3):
        with pytest.raises(OSError, match=NO_ANSWER):
            hanging.scanner.scan()
    assert hanging.reads == 1
    assert hanging.scanner.time_stamps([str(hanging.root)]) == ()
    hanging.answer()
    assert unreadable(hanging.scanner.scan()) == {"a": "", "b": "", "c": ""}


def test_a_check_of_time_stamps_leaves_out_what_does_not_answer(hanging: Disk) -> None:
    paths = [str(hanging.root / path) for path in ("a", "b", "b/1", "c")]
    whole = hanging.scanner.time_stamps(paths)
    assert whole == scanner.time_stamps(paths)
    hanging.hang(hanging.root / "b")
    hanging.scanner.scan()
    assert hanging.scanner.time_stamps(paths) == scanner.time_stamps([paths[0], paths[3]])
    hanging.answer()
    assert hanging.scanner.time_stamps(paths) == whole


def test_what_a_read_raises_is_raised_here(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Disk(tmp_path / "nowhere").scanner.scan()
