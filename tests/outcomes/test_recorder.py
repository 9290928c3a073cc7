"""The thread that records outcomes: what waits is written together, and every caller hears what became of it."""

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from skylane import outcomes
from skylane.outcomes.recorder import OutcomeRecorder
from skylane.outcomes.schema import SUBMISSION
from skylane.outcomes.store import OutcomeStore, Receipt, Submission

TIMEOUT_S = 30


def columns(*calls: int) -> dict[str, list[Any]]:
    made: dict[str, list[Any]] = {name: [None] * len(calls) for name in SUBMISSION.names}
    return made | {"prediction_id": [f"9f2c1a7be04d5538-{each:x}" for each in calls], "label": ["1"] * len(calls)}


class HeldStore(OutcomeStore):
    """Its first write waits until the test opens it."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.entered, self.opened = threading.Event(), threading.Event()
        self.writes: list[int] = []
        self.fault: Exception | None = None

    def record(self, submissions: Sequence[Submission]) -> list[Receipt | OSError]:
        self.writes.append(len(submissions))
        self.entered.set()
        assert self.opened.wait(TIMEOUT_S), "the test never opened the store"
        if self.fault is not None:
            raise self.fault
        return super().record(submissions)


@pytest.fixture
def store(tmp_path: Path) -> HeldStore:
    return HeldStore(tmp_path)


@pytest.fixture
def recorder(store: HeldStore) -> Iterator[OutcomeRecorder]:
    recorder = OutcomeRecorder(store, waiting_max=10)
    yield recorder
    store.opened.set()
    recorder.close()


def test_what_arrives_during_a_write_is_one_write(store: HeldStore, recorder: OutcomeRecorder, tmp_path: Path) -> None:
    first = recorder.submit("flights", None, columns(1), {})
    assert store.entered.wait(TIMEOUT_S)
    later = [recorder.submit("flights", "airline", columns(number), {}) for number in range(2, 7)]
    store.opened.set()

    for receipt in (first, *later):
        assert receipt is not None
        assert receipt.result(TIMEOUT_S).accepted == 1
    assert store.writes == [1, 5]
    assert set(outcomes.read(tmp_path, "flights")["sender"].to_pylist()) == {"(loopback)", "airline"}


def test_what_waits_is_bounded(store: HeldStore, recorder: OutcomeRecorder) -> None:
    first = recorder.submit("flights", None, columns(*range(1, 11)), {})

    assert recorder.submit("flights", None, columns(11), {}) is None

    store.opened.set()
    assert first is not None
    assert first.result(TIMEOUT_S).accepted == 10
    after = recorder.submit("flights", None, columns(11), {})
    assert after is not None
    assert after.result(TIMEOUT_S).accepted == 1


def test_a_fault_is_told_to_every_caller_and_the_next_ones_are_recorded(
    store: HeldStore, recorder: OutcomeRecorder
) -> None:
    store.fault = RuntimeError("a fault of ours")
    receipts = [recorder.submit("flights", None, columns(number), {}) for number in (1, 2)]
    store.opened.set()
    for receipt in receipts:
        assert receipt is not None
        assert isinstance(receipt.exception(TIMEOUT_S), RuntimeError)

    store.fault = None
    after = recorder.submit("flights", None, columns(3), {})
    assert after is not None
    assert after.result(TIMEOUT_S).accepted == 1


def test_closing_writes_what_waits(store: HeldStore, tmp_path: Path) -> None:
    recorder = OutcomeRecorder(store)
    recorder.submit("flights", None, columns(1), {})
    assert store.entered.wait(TIMEOUT_S)
    recorder.submit("flights", None, columns(2), {})
    store.opened.set()

    recorder.close()

    assert len(outcomes.read(tmp_path, "flights")) == 2
    assert [path.suffix for path in (tmp_path / "outcomes" / "flights").iterdir()] == [".arrow"]
