"""LoopWorkers: everything given is done, as many at once as are given, and faults cost no thread."""

import asyncio
import threading
from collections.abc import Iterator

import pytest

from skylane.server.engine.worker_pool import LoopWorkers


@pytest.fixture
def workers() -> Iterator[LoopWorkers]:
    loop = asyncio.new_event_loop()
    made = LoopWorkers(loop)
    yield made
    made.close()
    loop.close()


def test_everything_given_is_done(workers: LoopWorkers) -> None:
    done = threading.Semaphore(0)
    for _ in range(1000):
        workers.run(done.release)
    for _ in range(1000):
        assert done.acquire(timeout=30)


def test_work_that_waits_for_each_other_runs_at_once(workers: LoopWorkers) -> None:
    """Otherwise a model's slow run would hold up another model's."""
    for count in (2, 5, 5):
        together, done = threading.Barrier(count), threading.Semaphore(0)

        def meet(together: threading.Barrier = together, done: threading.Semaphore = done) -> None:
            together.wait(30)
            done.release()

        for _ in range(count):
            workers.run(meet)
        for _ in range(count):
            assert done.acquire(timeout=30)


def test_a_fault_is_logged_and_costs_no_thread(workers: LoopWorkers, caplog: pytest.LogCaptureFixture) -> None:
    done = threading.Semaphore(0)

    def fail() -> None:
        raise ValueError("ours")

    for _ in range(20):
        workers.run(fail)
        workers.run(done.release)
        assert done.acquire(timeout=30)
    assert "a run failed with an internal error" in caplog.text


def test_the_threads_end_when_closed() -> None:
    loop = asyncio.new_event_loop()
    workers, done, names = LoopWorkers(loop), threading.Semaphore(0), list[threading.Thread]()

    def note() -> None:
        names.append(threading.current_thread())
        done.release()

    workers.run(note)
    assert done.acquire(timeout=30)
    workers.close()
    names[0].join(30)
    assert not names[0].is_alive()
    loop.close()
