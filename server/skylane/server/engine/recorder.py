"""Hook into the engine for the journal: what a version answered, and the ids under which its answers are recorded.

A served version whose model is journalled has a recorder; without one, nothing of this runs. Calls are told in the
units in which they were answered, and arrays are handed over by reference: they are never written again.
"""

from collections.abc import Sequence
from typing import Protocol

from skylane.server.core.batch_task import BatchTask
from skylane.server.core.types import Array, Call
from skylane.server.engine.reply_cache import Hit


class Ids:
    """Prediction ids of calls that are answered together: texts with a common beginning and ends of one length."""

    __slots__ = ("ends", "stem")

    stem: bytes
    ends: Sequence[bytes]
    """One for each call."""


class Run(Ids):
    """Ids of the calls of a batch, task by task, and what its recorder knows of it until the last one is answered."""

    __slots__ = ()


class Recorder(Protocol):
    """Records the predictions of one version, or a sample of them. Thread-safe, quick, and never raises.

    `now`: an instant of the engine's clock.
    """

    def ran(self, tasks: Sequence[BatchTask], inputs: Sequence[Array], outputs: Sequence[Array], now: float) -> Run:
        """A batch was run: all inputs and outputs of the model, with the rows of these tasks in order."""

    def followed(self, run: Run, place: int, followers: Sequence[Sequence[Call]]) -> Ids:
        """For each call of the task at this place of a run, others that get the same answer. One id for each of them,
        in order."""

    def cached(self, task: BatchTask, hits: Sequence[Hit], now: float) -> Ids:
        """Some calls of this task are answered from the cache. One id for each."""


def answer(task: BatchTask, calls: Sequence[Call], replies: Sequence[bytes], ids: Ids, start: int = 0) -> None:
    """Send calls of a task their replies, each with its own tail and its prediction id. `start`: where theirs begin."""
    stem, ends = ids.stem, ids.ends
    if len(ends) != len(calls):
        ends = ends[start : start + len(calls)]
    head = task.id_head(len(stem) + len(ends[0]))
    if head is None:
        texts = [stem + end for end in ends]
        calls[0].sink.answer(calls, [reply + call.tail for call, reply in zip(calls, replies, strict=True)], texts)
        return
    # Of the ways to append an id, this takes the least: 0.05 µs a call, where b"".join or % take 0.07.
    stem = head + stem
    named = [reply + call.tail + (stem + end) for call, reply, end in zip(calls, replies, ends, strict=True)]
    calls[0].sink.answer(calls, named)
