"""Records outcomes on a thread of its own: what arrives while a write is under way goes into the next one."""

import logging
import queue
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from typing import Any, Final, NamedTuple

import pyarrow as pa

from skylane.outcomes.schema import SUBMISSION, WITHOUT_TOKEN
from skylane.outcomes.store import OutcomeStore, Receipt, Submission

log = logging.getLogger(__name__)

WAITING_MAX: Final = 100_000
"""Outcomes that may wait to be written."""
TICK_S: Final = 1.0
"""How often segments are closed that are due, or that somebody asks to close."""


class _Waiting(NamedTuple):
    model: str
    sender: str
    columns: Mapping[str, Sequence[Any]]
    problems: Mapping[int, str]
    receipt: "Future[Receipt]"

    def submission(self) -> Submission:
        return Submission(self.model, self.sender, table_of(self.columns), self.problems)


class OutcomeRecorder:
    """Gives a store what callers submit, from any thread. Its thread runs until `close`."""

    def __init__(self, store: OutcomeStore, waiting_max: int = WAITING_MAX) -> None:
        self._store, self._waiting_max = store, waiting_max
        self._queue: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._waiting = 0
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="outcomes", daemon=True)
        self._thread.start()

    def submit(
        self, model: str, sender: str | None, columns: Mapping[str, Sequence[Any]], problems: Mapping[int, str]
    ) -> "Future[Receipt] | None":
        """The receipt, once the outcomes are on the disk; None if too many are waiting already.

        `columns`: as in schema.SUBMISSION; times are microseconds since 1970. `sender`: the token's name; None without
        one. `problems`: index → why a value could not be read.
        """
        rows = len(columns["prediction_id"])
        with self._lock:
            if self._waiting + rows > self._waiting_max:
                return None
            self._waiting += rows
        receipt: Future[Receipt] = Future()
        receipt.set_running_or_notify_cancel()  # what is written is written, whether its caller still waits or not
        self._queue.put(_Waiting(model, WITHOUT_TOKEN if sender is None else sender, columns, problems, receipt))
        return receipt

    def close(self) -> None:
        """Write what is waiting, and close the segments. Raises OSError."""
        self._queue.put(None)
        self._thread.join()
        self._store.close()

    def _run(self) -> None:
        ended, ticked_at = False, time.monotonic()
        while not ended:
            waiting, ended = self._next()
            if waiting:
                self._record(waiting)
            if time.monotonic() - ticked_at >= TICK_S or not waiting:
                self._tick()
                ticked_at = time.monotonic()

    def _next(self) -> tuple[list[_Waiting], bool]:
        """What is waiting now, or after a wait; and whether nothing comes after it."""
        waiting: list[_Waiting] = []
        try:
            each = self._queue.get(timeout=TICK_S)
            while each is not None:
                waiting.append(each)
                each = self._queue.get_nowait()
        except queue.Empty:
            return waiting, False
        return waiting, True

    def _record(self, waiting: Sequence[_Waiting]) -> None:
        try:
            submissions = [
                Submission(each.model, each.sender, table_of(each.columns), each.problems) for each in waiting
            ]
            receipts: Sequence[Receipt | Exception] = self._store.record(submissions)
        except Exception as error:  # a fault of ours, which every caller must hear of
            receipts = [error] * len(waiting)
        with self._lock:
            self._waiting -= sum(len(each.columns["prediction_id"]) for each in waiting)
        for each, receipt in zip(waiting, receipts, strict=True):
            if isinstance(receipt, Exception):
                each.receipt.set_exception(receipt)
            else:
                each.receipt.set_result(receipt)

    def _tick(self) -> None:
        try:
            self._store.tick()
        except OSError as error:
            log.warning("outcomes: segments could not be closed: %s", error)


def table_of(columns: Mapping[str, Sequence[Any]]) -> Any:
    """A table as in schema.SUBMISSION from lists of values."""
    return pa.table([pa.array(columns[field.name], field.type) for field in SUBMISSION], schema=SUBMISSION)
