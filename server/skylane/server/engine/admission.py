"""Accept or refuse, before any work is done: by size, by room, and by when the answer would be ready. Pure."""

import math
import sys
from collections.abc import Sequence

from skylane.policy import Batching
from skylane.server.core.batch_task import BatchTask
from skylane.server.core.errors import Overloaded, TooManyRows
from skylane.server.core.types import Call
from skylane.server.engine.cost import CostModel

Refusal = tuple[Sequence[Call], Overloaded]
"""Calls that hear the same."""

TARGET_RUN_SHARE = 0.4
"""Of `target_p99_ms`, how much one run may take: the worst request waits for a whole run before its own."""
TARGET_RUNS_SHARE = 0.85
"""Of it, how much runs may take: the rest is for runs that take longer than most, and for what is not running. With
three times the load that a forest could answer and a target of 50 ms the p99 was 57 ms without it."""


class Admission:
    """What one model takes on. Its predictions follow the cost model, which follows the runs."""

    def __init__(self, policy: Batching, cost: CostModel) -> None:
        self._policy, self._cost = policy, cost
        self._target_s = math.inf if policy.target_p99_ms is None else policy.target_p99_ms / 1000
        self.batch_rows = policy.max_batch_rows
        """Rows that one run may have: the policy's limit, or fewer if a run must be short for the target."""
        self._target_rows = sys.maxsize
        """Rows that may wait, so that the last of them have their answers within the target although all instances have
        just begun a run; those of one run at least."""
        self.learn()

    def learn(self) -> None:
        """Follow the cost model, which a run has changed."""
        if self._target_s == math.inf:
            return
        rows = self._cost.rows_within(self._target_s * TARGET_RUN_SHARE, self._policy.max_batch_rows)
        self.batch_rows = max(1, rows)
        run_s = self._cost.seconds(self.batch_rows)
        runs = max(1, int((self._target_s * TARGET_RUNS_SHARE - run_s) / run_s))
        self._target_rows = self.batch_rows * self._policy.instances * runs

    def check_size(self, task: BatchTask) -> None:
        """Raise TooManyRows if each call of the task is too large to be served at all."""
        if task.rows_each > self._policy.max_request_rows:
            raise TooManyRows(
                f"the request has {task.rows_each} rows, but this model takes at most "
                f"{self._policy.max_request_rows} (max_request_rows): send it in parts"
            )

    def admit(self, task: BatchTask, queued_rows: int, now: float) -> tuple[BatchTask, list[Refusal]]:
        """Part a task into what may join a queue in which `queued_rows` wait, and what is refused and why.

        Only a queue can make a request late: where nothing waits, it runs and shows what it costs.
        """
        refused: list[Refusal] = []
        if queued_rows:
            task = self._without_late(task, queued_rows, now, refused)
        most, why = self._policy.max_queue_rows, self._full
        if self._target_rows < most:
            most, why = self._target_rows, self._beyond_target
            if not queued_rows:
                most = max(most, task.rows_each)
        room = most - queued_rows
        if task.rows > room:
            fitting = max(0, room // task.rows_each)
            refused.append((task.calls[fitting:], why(queued_rows + fitting * task.rows_each, task.rows_each)))
            task = task.select(range(fitting))
        return task, refused

    def wait_s(self, queued_rows: int) -> float:
        """Seconds until this many rows have run."""
        rows_max = self.batch_rows
        full, rest = divmod(queued_rows, rows_max)
        seconds = full * self._cost.seconds(rows_max) + (self._cost.seconds(rest) if rest else 0.0)
        return seconds / self._policy.instances

    def _without_late(self, task: BatchTask, queued_rows: int, now: float, refused: list[Refusal]) -> BatchTask:
        """The task without calls that would be answered after their deadline."""
        # One whose deadline has passed is no matter of load: the queue drops it, and tells it why. One that others
        # follow is theirs as well.
        wait_s = self.wait_s(queued_rows)
        answer_s = wait_s + self._cost.seconds(task.rows_each)
        late = [now < call.deadline < now + answer_s and call.followers is None for call in task.calls]
        if not any(late):
            return task
        error = Overloaded(
            f"the model is busy: the answer would take {answer_s * 1000:.1f} ms, beyond the deadline of the request",
            _milliseconds(wait_s),
        )
        refused.append(([call for call, is_late in zip(task.calls, late, strict=True) if is_late], error))
        return task.select([place for place, is_late in enumerate(late) if not is_late])

    def _beyond_target(self, queued_rows: int, rows: int) -> Overloaded:
        told = (
            f"the model is busy: {queued_rows} rows wait, at most {self._target_rows} may, or target_p99_ms "
            f"({self._policy.target_p99_ms:g} ms) would not be kept"
        )
        if rows > self._target_rows:
            told += f"; a request of {rows} rows gets in only when none wait: send it in parts"
        return Overloaded(told, _milliseconds(self.wait_s(queued_rows)))

    def _full(self, queued_rows: int, rows: int) -> Overloaded:  # noqa: ARG002  # as the other is asked
        return Overloaded(
            f"the model's queue is full: {queued_rows} rows wait, at most {self._policy.max_queue_rows} may "
            f"(max_queue_rows)",
            _milliseconds(self.wait_s(queued_rows)),
        )


def _milliseconds(seconds: float) -> int:
    """Rounded up, never 0: advice to come back at once would be none."""
    return max(1, math.ceil(seconds * 1000))
