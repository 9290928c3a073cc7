"""Who may record outcomes, how entities of a model are recorded, and how receipts are counted."""

import asyncio
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest

from skylane.outcomes import Receipt
from skylane.policy import Monitor
from skylane.server.admin.outcome_recording import OutcomeRecording, hashes_entities
from skylane.server.core.errors import ModelNotFound, NotConfigured, NotRecorded, PermissionDenied
from skylane.server.core.outcome_columns import OutcomeColumns
from skylane.server.core.token_scope import ANYONE, Grant
from skylane.server.observability.snapshot import ReceiptSnapshot

TOKEN = Grant("airline", frozenset(("outcome",)), ("flights",))


def recording(*, loopback: bool, configured: bool = True) -> OutcomeRecording:
    """One that refuses before it reads anything of its models."""
    parts: dict[str, Any] = {"recorder": object() if configured else None, "directory": None}
    return OutcomeRecording(loopback=loopback, **parts)


@pytest.mark.parametrize(
    ("grant", "loopback", "refused"),
    [
        pytest.param(ANYONE, True, None, id="anybody on this machine"),
        pytest.param(ANYONE, False, PermissionDenied, id="anybody elsewhere"),
        pytest.param(TOKEN, False, None, id="a token for some model"),
        pytest.param(
            Grant("a", frozenset(("predict", "admin")), ("*",)), True, PermissionDenied, id="a token without the action"
        ),
    ],
)
def test_a_caller_is_refused_before_its_message_is_decoded(
    grant: Grant, refused: type[Exception] | None, *, loopback: bool
) -> None:
    if refused is None:
        recording(loopback=loopback).check_caller(grant)
    else:
        with pytest.raises(refused):
            recording(loopback=loopback).check_caller(grant)


def test_a_server_without_a_journal_decodes_nothing() -> None:
    with pytest.raises(NotConfigured):
        recording(loopback=True, configured=False).check_caller(ANYONE)


@pytest.mark.parametrize(
    ("monitors", "expected"),
    [
        pytest.param([Monitor(entity="tail", hash=("tail",))], True, id="the column is hashed"),
        pytest.param([Monitor(entity="tail", hash=("t*",))], True, id="by a pattern"),
        pytest.param([Monitor(entity="tail", hash=("dest",))], False, id="another column is"),
        pytest.param([Monitor(entity="tail"), Monitor(entity="tail", hash=("tail",))], True, id="of one version"),
        pytest.param([Monitor(hash=("tail",))], None, id="there is no entity"),
        pytest.param(None, None, id="the model is not loaded"),
    ],
)
def test_entities_are_hashed_if_the_configuration_says_so(
    monitors: list[Monitor] | None, expected: bool | None
) -> None:
    versions = {number: SimpleNamespace(monitor=monitor) for number, monitor in enumerate(monitors or ())}
    routes: Any = SimpleNamespace(models={} if monitors is None else {"m": SimpleNamespace(versions=versions)})
    assert hashes_entities(routes, "m") is expected


class HeldRecorder:
    """Gives receipts when the test says so."""

    def __init__(self) -> None:
        self.receipts: list[Future[Receipt]] = []

    def submit(self, *_: object) -> "Future[Receipt]":
        """See Recorder. The outcomes are being written, so that their caller can no longer cancel that."""
        receipt: Future[Receipt] = Future()
        receipt.set_running_or_notify_cancel()
        self.receipts.append(receipt)
        return receipt


def held() -> tuple[OutcomeRecording, HeldRecorder]:
    """A recording for the model m."""
    recorder = HeldRecorder()
    directory = SimpleNamespace(status=lambda: {"m": None}, repository=SimpleNamespace(withheld=frozenset[str]()))
    parts: dict[str, Any] = {"recorder": recorder, "directory": directory}
    return OutcomeRecording(loopback=True, **parts), recorder


async def begun(recording: OutcomeRecording, model: str) -> "asyncio.Task[Receipt]":
    """A task that waits for its receipt, or has failed before."""
    task = asyncio.create_task(recording.record(ANYONE, model, OutcomeColumns()))
    await asyncio.sleep(0)
    return task


async def test_receipts_are_added_up_for_each_model() -> None:
    recording, recorder = held()
    tasks = [await begun(recording, "m") for _ in range(2)]
    recorder.receipts[0].set_result(Receipt(accepted=7, repeated=1, corrected=2, unknown=3, refused=4))
    recorder.receipts[1].set_result(Receipt(accepted=10))
    await asyncio.gather(*tasks)

    counts = {"accepted": 17, "repeated": 1, "corrected": 2, "unknown": 3, "refused": 4}
    assert recording.receipts.snapshots() == [ReceiptSnapshot("m", counts)]


async def test_outcomes_are_counted_even_if_their_caller_has_gone() -> None:
    recording, recorder = held()
    task = await begun(recording, "m")
    task.cancel()
    await asyncio.wait([task])
    recorder.receipts[0].set_result(Receipt(accepted=5))

    (snapshot,) = recording.receipts.snapshots()
    assert (task.cancelled(), snapshot.outcomes["accepted"]) == (True, 5)


async def test_what_has_no_receipt_is_not_counted() -> None:
    recording, recorder = held()
    task = await begun(recording, "m")
    recorder.receipts[0].set_exception(OSError("the disk is full"))
    with pytest.raises(NotRecorded):
        await task
    with pytest.raises(ModelNotFound):
        await (await begun(recording, "a name that a caller made up"))

    assert recording.receipts.snapshots() == []
