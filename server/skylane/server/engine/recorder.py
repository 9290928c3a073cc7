"""Hook into the engine for the journal: what a version answered, and the ids under which its answers are recorded.

A served version whose model is journalled has a recorder; without one, nothing of this runs. Calls are told in the
units in which they were answered, and arrays are handed over by reference: they are never written again.
"""

from collections.abc import Sequence
from operator import attrgetter
from typing import Protocol, TypeAlias

from skylane.server.core.batch_task import BatchTask
from skylane.server.core.types import Array, Call
from skylane.server.engine.reply_cache import Hit

Ids: TypeAlias = tuple[bytes, Sequence[bytes]]
"""Prediction ids of calls that are answered together: their common beginning, and the end of each, of one length. Not a
class, since it is made for each batch: an object with two fields takes 0.2 µs."""


class Run:
    """What a recorder knows of a batch until those who share its answers have theirs."""

    __slots__ = ()


class Recorder(Protocol):
    """Records the predictions of one version, or a sample of them. Thread-safe, quick, and never raises.

    `now`: an instant of the engine's clock.
    """

    def ran(
        self, tasks: Sequence[BatchTask], inputs: Sequence[Array], outputs: Sequence[Array], now: float, *, shared: bool
    ) -> tuple[Ids, Run | None]:
        """A batch was run: all inputs and outputs of the model, with the rows of these tasks in order. The ids of its
        calls, task by task. `shared`: whether others may get the same answers, for which `followed` needs a run.
        """

    def followed(self, run: Run, place: int, followers: Sequence[Sequence[Call]]) -> Ids:
        """For each call of the task at this place of a run, others that get the same answer. One id for each of them,
        in order."""

    def cached(self, task: BatchTask, hits: Sequence[Hit], now: float) -> Ids:
        """Some calls of this task are answered from the cache. One id for each."""


_tail = attrgetter("tail")


def answer(task: BatchTask, calls: Sequence[Call], replies: Sequence[bytes], ids: Ids, start: int = 0) -> None:
    """Send calls of a task their replies, each with its own tail and its prediction id. `start`: where theirs begin."""
    stem, ends = ids
    if len(ends) != len(calls):
        ends = ends[start : start + len(calls)]
    if any(map(_tail, calls)):
        replies = [reply + call.tail for call, reply in zip(calls, replies, strict=True)]
    head = task.id_head(len(stem) + len(ends[0]))
    if head is None:
        calls[0].sink.answer(calls, replies, [stem + end for end in ends])
        return
    # Each reply and its end, joined by what is between them. Of the ways to append an id, this takes the least.
    calls[0].sink.answer(calls, list(map((head + stem).join, zip(replies, ends, strict=True))))
