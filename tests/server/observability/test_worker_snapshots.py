"""Workers that ask each other, over real sockets: whoever is asked tells of all, and no sum falls when one ends."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from skylane.server.observability.snapshot import ProcessSnapshot, Snapshot, VersionSnapshot
from skylane.server.observability.worker_snapshots import WorkerSnapshots, fold


class Worker:
    """Counts, and holds rows in a queue."""

    def __init__(self, directory: Path, hits: int) -> None:
        self.hits = hits
        self.shared = WorkerSnapshots(directory, self.figures)

    def figures(self) -> Snapshot:
        """Now."""
        version = VersionSnapshot(model="m", version=1, hits=self.hits, queue_rows=5)
        return Snapshot(versions=[version], processes=[ProcessSnapshot(os.getpid(), 0.0, 1, 0.0)])


@asynccontextmanager
async def two(directory: Path) -> AsyncIterator[tuple[Worker, Worker]]:
    first, second = Worker(directory, 10), Worker(directory, 1)
    await first.shared.start()
    await second.shared.start()
    yield first, second
    await first.shared.close()
    await second.shared.close()


async def told(worker: Worker) -> tuple[int, int, int]:
    """(hits, rows that wait, processes)."""
    figures = await worker.shared.figures()
    (version,) = figures.versions
    return version.hits, version.queue_rows, len(figures.processes)


async def test_each_tells_of_both_as_they_are_now(tmp_path: Path) -> None:
    async with two(tmp_path) as (first, second):
        assert await told(first) == await told(second) == (11, 10, 2)
        first.hits = 20
        assert await told(second) == (21, 10, 2)


async def test_one_that_drained_counts_on(tmp_path: Path) -> None:
    async with two(tmp_path) as (first, second):
        first.hits = 30
        await first.shared.close()
        assert await told(second) == (31, 5, 1)


async def test_one_that_was_killed_counts_as_when_it_was_last_asked(tmp_path: Path) -> None:
    killed, other = Worker(tmp_path, 10), Worker(tmp_path, 1)
    await killed.shared.start()
    (socket,) = tmp_path.glob("*.sock")
    assert await told(other) == (11, 10, 2)
    socket.unlink()
    socket.touch()  # as it lies there when nobody listens any more
    killed.hits = 999
    assert await told(other) == (11, 5, 1)
    await killed.shared.close()


async def test_the_supervisor_adds_up_those_that_ended_and_nothing_counts_twice(tmp_path: Path) -> None:
    third = Worker(tmp_path, 100)
    async with two(tmp_path) as (first, second):
        await first.shared.close()
        await second.shared.close()
        left = {path.name: path.read_bytes() for path in tmp_path.glob("*-*.json")}
        fold(tmp_path, os.getpid())
        assert list(tmp_path.glob("*-*")) == []
        assert await told(third) == (111, 5, 1)
        for name, content in left.items():  # somebody who looked before the files were removed still has them
            (tmp_path / name).write_bytes(content)
        assert await told(third) == (111, 5, 1)


async def test_files_that_are_broken_are_passed_over(tmp_path: Path) -> None:
    async with two(tmp_path) as (first, _):
        (tmp_path / "1-1.json").write_bytes(b"{")
        (tmp_path / "1-2.sock").touch()
        assert (await told(first))[0] == 11
        fold(tmp_path, 1)
        assert not list(tmp_path.glob("1-*"))


async def test_without_its_directory_a_worker_tells_of_itself(tmp_path: Path) -> None:
    worker = Worker(tmp_path / "gone", 3)
    await worker.shared.start()
    assert await told(worker) == (3, 5, 1)
    fold(tmp_path / "gone", 1)
