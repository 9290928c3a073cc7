"""Admission control: refuses a request before any work is done if it is too large, if the queue is full, or if its
answer would come too late. Pure."""

import math
import sys
from collections.abc import Sequence

from skylane.policy import Batching
from skylane.server.core.batch_task import BatchTask
from skylane.server.core.errors import Overloaded, TooManyRows
from skylane.server.core.types import Call
from skylane.server.engine.cost import CostModel

Refusal = tuple[Sequence[Call], Overloaded]
"""Calls refused with one error."""

TARGET_RUN_SHARE = 0.4
"""The share of `target_p99_ms` that one run may take: the slowest request waits for a whole run before its own."""
TARGET_RUNS_SHARE = 0.85
"""The share of `target_p99_ms` that all runs up to the answer may take. The rest is reserve: for runs slower than
predicted, and for the time outside the model. Without it, a forest under three times the load that it can serve had a
p99 of 57 ms with a target of 50 ms."""


class Admission:
    """Decides which requests join one model's queue. It predicts waiting times with the model's cost model."""

    def __init__(self, policy: Batching, cost: CostModel) -> None:
        self._policy, self._cost = policy, cost
        self._target_s = math.inf if policy.target_p99_ms is None else policy.target_p99_ms / 1000
        self.batch_rows = policy.max_batch_rows
        """Most rows of one run: the policy's limit, or fewer if the latency target requires shorter runs."""
        self._target_rows = sys.maxsize
        """Most rows that may wait for the last of them to be answered within the target, even if every instance has
        just begun a run. At least the rows of one run."""
        self.learn()

    def learn(self) -> None:
        """Derive the limits anew from the cost model, after a run has updated it."""
        if self._target_s == math.inf:
            return
        rows = self._cost.rows_within(self._target_s * TARGET_RUN_SHARE, self._policy.max_batch_rows)
        self.batch_rows = max(1, rows)
        run_s = self._cost.seconds(self.batch_rows)
        runs = max(1, int((self._target_s * TARGET_RUNS_SHARE - run_s) / run_s))
        self._target_rows = self.batch_rows * self._policy.instances * runs

    def check_size(self, task: BatchTask) -> None:
        """Raise TooManyRows if the calls of the task have more rows than the model ever accepts."""
        if task.rows_each > self._policy.max_request_rows:
            raise TooManyRows(
                f"the request has {task.rows_each} rows, but this model takes at most "
                f"{self._policy.max_request_rows} (max_request_rows): send it in parts"
            )

    def admit(self, task: BatchTask, queued_rows: int, now: float) -> tuple[BatchTask, list[Refusal]]:
        """Split a task into the calls that may join a queue of `queued_rows` rows, and the refused ones with reasons.

        With an empty queue no call is refused for lateness: it runs, and the run updates the cost model.
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
        """Predicted seconds until this many rows have run."""
        rows_max = self.batch_rows
        full, rest = divmod(queued_rows, rows_max)
        seconds = full * self._cost.seconds(rows_max) + (self._cost.seconds(rest) if rest else 0.0)
        return seconds / self._policy.instances

    def _without_late(self, task: BatchTask, queued_rows: int, now: float, refused: list[Refusal]) -> BatchTask:
        """The task without the calls that would be answered after their deadline."""
        # A call whose deadline has already passed is left to the queue, which drops it with DeadlineExpired. A call
        # with followers stays: their deadlines may be later.
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
        message = (
            f"the model is busy: {queued_rows} rows wait, at most {self._target_rows} may, or target_p99_ms "
            f"({self._policy.target_p99_ms:g} ms) would not be kept"
        )
        if rows > self._target_rows:
            message += f"; a request of {rows} rows gets in only when none wait: send it in parts"
        return Overloaded(message, _milliseconds(self.wait_s(queued_rows)))

    def _full(self, queued_rows: int, rows: int) -> Overloaded:  # noqa: ARG002  # the signature of _beyond_target
        return Overloaded(
            f"the model's queue is full: {queued_rows} rows wait, at most {self._policy.max_queue_rows} may "
            f"(max_queue_rows)",
            _milliseconds(self.wait_s(queued_rows)),
        )


def _milliseconds(seconds: float) -> int:
    """Rounded up to at least 1: a delay of 0 would make clients retry at once."""
    return max(1, math.ceil(seconds * 1000))
