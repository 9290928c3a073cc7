"""Gives the answers of one version their ids, and keeps references to a sample of them until they are written.

Runs on the request path: what it costs for each call is its id; everything else is done once for each batch. Needs no
pyarrow. See skylane.server.engine.recorder.
"""

import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Final

import numpy as np

from skylane.dtypes import NUMPY
from skylane.manifest import OutputSpec, TensorSpec
from skylane.server.core import request_ids
from skylane.server.core.batch_task import BatchTask
from skylane.server.core.types import Array, Call, Interface
from skylane.server.engine.recorder import Ids, Run
from skylane.server.engine.reply_cache import Hit
from skylane.server.recording.ids import Blocks, IdTaker, TakenIds
from skylane.server.recording.sampler import Sampler

WAITING_BYTES_MAX: Final = 64 * 2**20
"""Memory of rows of all models that wait to be written; further ones are lost, and counted."""
TEXT_BYTES: Final = 64
"""What a text is taken to need in memory."""


class Room:
    """Memory for rows that wait to be written. Thread-safe."""

    def __init__(self, bytes_max: int = WAITING_BYTES_MAX) -> None:
        self._lock, self._free = Lock(), bytes_max

    def take(self, size: int) -> bool:
        """Whether there was room for so many bytes."""
        with self._lock:
            if size > self._free:
                return False
            self._free -= size
            return True

    def give_back(self, size: int) -> None:
        """These bytes were written."""
        with self._lock:
            self._free += size


@dataclass(frozen=True, slots=True)
class Part:
    """Calls of a record that have the same number of rows and the same protocol."""

    calls: int
    rows_each: int
    protocol: str
    request_ids: Sequence[str | None] | None
    """The callers' own; None if there are none."""


@dataclass(frozen=True, slots=True)
class Record:
    """Calls that were answered together, by reference."""

    at: float
    """Unix time."""
    probability: float
    first: int
    """The number of the first call; those of the others follow it."""
    parts: Sequence[Part]
    inputs: Sequence[Array]
    outputs: Sequence[Sequence[Array]]
    """All outputs, in one piece or several: their rows follow each other."""
    input_rows: Array | None
    """Which rows of the inputs are those of the calls; None for all."""
    output_rows: Array | None
    cached: bool
    size: int
    """Bytes taken from the room."""

    @property
    def count(self) -> int:
        """Rows of all calls."""
        return sum([part.calls * part.rows_each for part in self.parts])


class _Run:
    """See Run."""

    __slots__ = ("ids", "inputs", "outputs", "probability", "tasks")

    def __init__(
        self,
        tasks: Sequence[BatchTask],
        ids: Sequence[Ids],
        probability: float,
        inputs: Sequence[Array],
        outputs: Sequence[Array],
    ) -> None:
        self.tasks, self.ids, self.probability, self.inputs, self.outputs = tasks, ids, probability, inputs, outputs


class PredictionRecorder:
    """The recorder of one version. Thread-safe."""

    def __init__(self, interface: Interface, sampler: Sampler, blocks: Blocks, room: Room, wall: Callable[[], float]):
        """`wall`: the Unix time."""
        self._lock, self._ids, self._sampler = Lock(), IdTaker(blocks), sampler
        self._room, self._wall = room, wall
        self._row_bytes = row_bytes(interface)
        self._records: deque[Record] = deque()
        self.seen = 0
        """Rows that were answered."""
        self.chosen = 0
        """Of these, rows that were to be recorded."""
        self.full = 0
        """Of these, rows for which there was no room."""

    def take_records(self) -> list[Record]:
        """What was recorded since the last time. Give their bytes back to the room when they are written."""
        return [self._records.popleft() for _ in range(len(self._records))]

    def ran(self, tasks: Sequence[BatchTask], inputs: Sequence[Array], outputs: Sequence[Array], now: float) -> Run:
        """See Recorder."""
        calls, rows = sum([len(task.calls) for task in tasks]), len(inputs[0])
        with self._lock:
            ids, probability = self._ids.take(calls), self._sampler.choose(rows, now)
            self.seen += rows
        if probability:
            self._append(ids, probability, [_part(task) for task in tasks], rows, inputs, [outputs])
        return _Run(tasks, _apart(ids, tasks), probability, inputs, outputs)

    def followed(self, run: Run, place: int, followers: Sequence[Sequence[Call]]) -> Ids:
        """See Recorder. They are recorded if the batch was, whose rows and answers they share."""
        assert isinstance(run, _Run)
        task, probability = run.tasks[place], run.probability
        calls = [call for each in followers for call in each]
        rows = len(calls) * task.rows_each
        with self._lock:
            ids = self._ids.take(len(calls))
            self._sampler.add(rows, chosen=probability > 0)
            self.seen += rows
        if probability:
            start = sum([each.rows for each in run.tasks[:place]])
            leaders = np.repeat(np.arange(len(followers)), [len(each) for each in followers])
            own = start + _rows_of(leaders, task.rows_each)
            part = Part(len(calls), task.rows_each, task.protocol, _request_ids(calls))
            self._append(ids, probability, [part], rows, run.inputs, [run.outputs], own, own, cached=True)
        return ids

    def cached(self, task: BatchTask, hits: Sequence[Hit], now: float) -> Ids:
        """See Recorder."""
        rows = len(hits) * task.rows_each
        with self._lock:
            ids, probability = self._ids.take(len(hits)), self._sampler.choose(rows, now)
            self.seen += rows
        if probability:
            places = [place for place, _ in hits]
            part = Part(len(hits), task.rows_each, task.protocol, _request_ids([task.calls[place] for place in places]))
            own = _rows_of(np.array(places), task.rows_each)
            answers = [entry[3] for _, entry in hits]
            self._append(ids, probability, [part], rows, task.arrays(), answers, own, cached=True)
        return ids

    def _append(
        self,
        ids: TakenIds,
        probability: float,
        parts: Sequence[Part],
        rows: int,
        inputs: Sequence[Array],
        outputs: Sequence[Sequence[Array]],
        input_rows: Array | None = None,
        output_rows: Array | None = None,
        *,
        cached: bool = False,
    ) -> None:
        """Keep a record, see Record."""
        size = len(inputs[0]) * self._row_bytes  # what a reference keeps in memory are all rows of the batch
        has_room = self._room.take(size)
        with self._lock:
            self.chosen += rows
            self.full += 0 if has_room else rows
        if has_room:
            self._records.append(
                Record(
                    self._wall(), probability, ids.first, parts, inputs, outputs, input_rows, output_rows, cached, size
                )
            )


def row_bytes(interface: Interface) -> int:
    """What one row of inputs and outputs needs in memory."""
    specs: list[TensorSpec | OutputSpec] = [*interface.tensors, *interface.outputs]
    return sum(
        math.prod([size or 1 for size in spec.shape[1:]])
        * (TEXT_BYTES if spec.dtype == "string" else int(NUMPY[spec.dtype].itemsize))
        for spec in specs
    )


def _apart(ids: Ids, tasks: Sequence[BatchTask]) -> Sequence[Ids]:
    """The ids of each task."""
    if len(tasks) == 1:
        return (ids,)
    parts, start = [], 0
    for task in tasks:
        stop = start + len(task.calls)
        parts.append(ids.part(start, stop))
        start = stop
    return parts


def _part(task: BatchTask) -> Part:
    return Part(len(task.calls), task.rows_each, task.protocol, _request_ids(task.calls))


def _request_ids(calls: Sequence[Call]) -> Sequence[str | None] | None:
    """The callers' own ids. That of a message goes before that of its metadata, which a whole stream shares."""
    of_messages, of_metadata = [call.tail for call in calls], [call.request_id for call in calls]
    if not any(of_messages) and not any(of_metadata):
        return None
    pairs = zip(of_messages, of_metadata, strict=True)
    return [request_ids.of_tail(tail) or metadata or None for tail, metadata in pairs]


def _rows_of(calls: Array, rows_each: int) -> Array:
    """The rows of these calls of a task, in their order."""
    rows: Array = (calls[:, None] * rows_each + np.arange(rows_each)).ravel()
    return rows
