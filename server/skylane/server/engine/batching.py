"""The queue of one model: which waiting calls form the next batch, and when. Pure: time arrives as `now`."""

from collections import deque
from dataclasses import dataclass, field

from skylane.server.core.batch_task import BatchTask
from skylane.server.core.types import Call


@dataclass(slots=True)
class Batch:
    """What was taken from the queue at one instant."""

    tasks: list[BatchTask] = field(default_factory=list)
    """The tasks of the batch, oldest first; empty if nothing is due."""
    arrivals: list[float] = field(default_factory=list)
    """When each task was queued."""
    gone: list[Call] = field(default_factory=list)
    """Calls whose callers no longer wait. The model does not run for them."""

    @property
    def rows(self) -> int:
        """Rows of the batch."""
        return sum([task.rows for task in self.tasks])

    def halves(self) -> "tuple[Batch, Batch]":
        """The batch in two halves: by task, or by call if it has a single task. It must have more than one call."""
        if len(self.tasks) > 1:
            half = len(self.tasks) // 2
            return Batch(self.tasks[:half], self.arrivals[:half]), Batch(self.tasks[half:], self.arrivals[half:])
        (task,) = self.tasks
        half, count = len(task.calls) // 2, len(task.calls)
        first, second = task.select(range(half)), task.select(range(half, count))
        return Batch([first], self.arrivals), Batch([second], self.arrivals)


class BatchQueue:
    """Calls that wait for one model, in order of arrival. Times are seconds on the caller's clock."""

    def __init__(self, rows_max: int, wait_s_max: float) -> None:
        self.rows_max, self._wait_s_max = rows_max, wait_s_max
        self._waiting: deque[tuple[float, BatchTask]] = deque()
        self.rows = 0
        """Rows that wait."""

    def add(self, task: BatchTask, now: float) -> None:
        """Queue a task. Admission has already refused the calls that must not wait."""
        self._waiting.append((now, task))
        self.rows += task.rows

    def due_at(self) -> float | None:
        """Instant from which `take` returns a batch; None while the queue is empty."""
        if not self._waiting:
            return None
        arrived_at = self._waiting[0][0]
        return arrived_at if self.rows >= self.rows_max else arrived_at + self._wait_s_max

    def take(self, now: float) -> Batch:
        """Remove and return the oldest calls that fit into one batch; an empty batch before `due_at()`.

        A request is never split. A batch exceeds the limit only if it is a single request that exceeds it alone.
        """
        batch, due_at, room = Batch(), self.due_at(), self.rows_max
        if due_at is None or due_at > now:
            return batch
        while self._waiting and room > 0:
            arrived_at, task = self._waiting.popleft()
            self.rows -= task.rows
            task = _drop_gone(task, now, batch.gone)
            alone = not batch.tasks
            fitting = len(task.calls) if task.rows <= room else max(room // task.rows_each, int(alone))
            if fitting < len(task.calls):
                self._put_back(arrived_at, task.select(range(fitting, len(task.calls))))
                task, room = task.select(range(fitting)), 0
            if task.calls:
                batch.tasks.append(task)
                batch.arrivals.append(arrived_at)
                room -= task.rows
        return batch

    def _put_back(self, arrived_at: float, rest: BatchTask) -> None:
        self._waiting.appendleft((arrived_at, rest))
        self.rows += rest.rows


def _drop_gone(task: BatchTask, now: float, gone: list[Call]) -> BatchTask:
    """The task without the calls that nobody waits for, which are appended to `gone`."""
    calls = task.calls
    # Runs for each call of each batch, so it is inlined: a method call took 0.25 of the 7 µs of a whole request.
    unwanted = [call for call in calls if (call.cancelled or call.deadline <= now) and not is_wanted(call, now)]
    if not unwanted:
        return task
    gone += unwanted
    # Not evaluated a second time: a call that the transport cancels meanwhile would be in neither list.
    removed = set(map(id, unwanted))
    return task.select([place for place, call in enumerate(calls) if id(call) not in removed])


def is_wanted(call: Call, now: float) -> bool:
    """Whether the call's caller, or one of those who share its answer, still waits."""
    return call.is_live(now) or (
        call.followers is not None and any(follower.is_live(now) for follower in call.followers)
    )
