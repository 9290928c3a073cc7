"""Gives the answers of one version their ids, and keeps references to a sample of them until they are written.

Runs on the request path: what it costs for each call is its id; everything else is done once for each batch. Needs no
pyarrow. See skylane.server.engine.recorder.
"""

import math
from collections import deque
from collections.abc import Callable, Sequence
from threading import Lock
from typing import Final, NamedTuple

import numpy as np

from skylane.dtypes import NUMPY
from skylane.manifest import OutputSpec, TensorSpec
from skylane.server.core import request_ids
from skylane.server.core.batch_task import BatchTask
from skylane.server.core.types import Array, Call, Interface
from skylane.server.engine.recorder import Ids, Run
from skylane.server.engine.reply_cache import Hit
from skylane.server.recording.id_blocks import Blocks, IdTaker
from skylane.server.recording.sampler import Sampler

WAITING_BYTES_MAX: Final = 64 * 2**20
"""Memory of rows of all models that wait to be written; further ones are lost, and counted."""
TEXT_BYTES: Final = 64
"""What a text is taken to need in memory."""
PLACE_BYTES: Final = 16
"""What a row needs that shares the inputs and outputs of another: its place among both."""

_Varying = list[tuple[int, int]]


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


class Part(NamedTuple):
    """Calls of a record that have the same number of rows and the same protocol."""

    calls: int
    rows_each: int
    protocol: str
    request_ids: Sequence[str | None] | None
    """The callers' own; None if there are none."""


class Record(NamedTuple):
    """Calls that were answered together, by reference. A tuple, since it is made on the request path: a dataclass takes
    2 µs."""

    at: float
    """Unix time."""
    probability: float
    first: int
    """The number of the first call; those of the others follow it."""
    calls: int
    rows: int
    """Of all calls."""
    parts: Sequence[Part]
    inputs: Sequence[Array]
    outputs: Sequence[Sequence[Array]]
    """All outputs, in one piece or several: their rows follow each other."""
    size: int
    """Bytes taken from the room."""
    cached: bool = False
    input_rows: Array | None = None
    """Which rows of the inputs are those of the calls; None for all."""
    output_rows: Array | None = None


class _Run(Run):
    """See Run."""

    __slots__ = ("inputs", "outputs", "probability", "size", "tasks")

    def __init__(
        self,
        probability: float,
        tasks: Sequence[BatchTask],
        inputs: Sequence[Array],
        outputs: Sequence[Array],
        size: int,
    ) -> None:
        """`size`: bytes of all inputs and outputs; 0 once those who share them have taken their room."""
        self.probability, self.size = probability, size
        self.tasks, self.inputs, self.outputs = tasks, inputs, outputs


class PredictionRecorder:
    """The recorder of one version. Thread-safe."""

    def __init__(
        self, interface: Interface, sampler: Sampler, blocks: Blocks, room: Room, wall: Callable[[], float]
    ) -> None:
        """`wall`: the Unix time."""
        self._lock, self._ids, self._sampler = Lock(), IdTaker(blocks), sampler
        self._room, self._wall = room, wall
        self._row_bytes = row_bytes(interface)
        self._varying_inputs, self._varying_outputs = _varying(interface.tensors), _varying(interface.outputs)
        self._records: deque[Record] = deque()
        self._full = 0

    def counts(self) -> tuple[int, int, int]:
        """Rows that were answered; of these, those that were chosen; of these, those for which there was no room."""
        with self._lock:
            return self._sampler.seen, self._sampler.chosen, self._full

    def take_records(self) -> list[Record]:
        """What was recorded since the last time. Give their bytes back to the room when they are written."""
        return [self._records.popleft() for _ in range(len(self._records))]

    def ran(
        self, tasks: Sequence[BatchTask], inputs: Sequence[Array], outputs: Sequence[Array], now: float, *, shared: bool
    ) -> tuple[Ids, Run | None]:
        """See Recorder."""
        rows = len(inputs[0])
        calls = len(tasks[0].calls) if len(tasks) == 1 else sum([len(task.calls) for task in tasks])
        with self._lock:
            stem, ends, first = self._ids.take(calls)
            probability = self._sampler.choose(rows, now)
        size = 0
        if probability:
            size = self._size(rows, inputs, (outputs,))
            if self._has_room(size, rows):
                parts = [_part(task) for task in tasks]
                record = Record(self._wall(), probability, first, calls, rows, parts, inputs, (outputs,), size)
                self._records.append(record)
        run = _Run(probability, tasks, inputs, outputs, size) if shared else None
        return (stem, ends), run

    def followed(self, run: Run, place: int, followers: Sequence[Sequence[Call]]) -> Ids:
        """See Recorder. They are recorded if the batch was, whose rows and answers they share."""
        assert isinstance(run, _Run)
        task, probability = run.tasks[place], run.probability
        calls = [call for each in followers for call in each]
        rows = len(calls) * task.rows_each
        with self._lock:
            stem, ends, first = self._ids.take(len(calls))
            self._sampler.add(rows, chosen=probability > 0)
        size = run.size + rows * PLACE_BYTES  # what the first reference keeps in memory is the whole batch
        if probability and self._has_room(size, rows):
            run.size = 0
            start = sum([each.rows for each in run.tasks[:place]])
            leaders = np.repeat(np.arange(len(followers)), [len(each) for each in followers])
            own = start + _rows_of(leaders, task.rows_each)
            part = Part(len(calls), task.rows_each, task.protocol, _request_ids(calls))
            record = Record(
                self._wall(), probability, first, len(calls), rows, [part], run.inputs, (run.outputs,), size,
                cached=True, input_rows=own, output_rows=own,
            )  # fmt: skip
            self._records.append(record)
        return stem, ends

    def cached(self, task: BatchTask, hits: Sequence[Hit], now: float) -> Ids:
        """See Recorder."""
        rows = len(hits) * task.rows_each
        with self._lock:
            stem, ends, first = self._ids.take(len(hits))
            probability = self._sampler.choose(rows, now)
        if not probability:
            return stem, ends
        inputs, outputs = task.arrays(), [entry[3] for _, entry in hits]
        size = self._size(task.rows, inputs, outputs)
        if self._has_room(size, rows):
            calls = [task.calls[place] for place, _ in hits]
            part = Part(len(calls), task.rows_each, task.protocol, _request_ids(calls))
            own = _rows_of(np.array([place for place, _ in hits]), task.rows_each)
            record = Record(
                self._wall(), probability, first, len(calls), rows, [part], inputs, outputs, size,
                cached=True, input_rows=own,
            )  # fmt: skip
            self._records.append(record)
        return stem, ends

    def _size(self, rows: int, inputs: Sequence[Array], outputs: Sequence[Sequence[Array]]) -> int:
        """Bytes of these rows in memory. Only what callers choose the size of is measured."""
        size = rows * self._row_bytes
        for place, each in self._varying_inputs:
            size += inputs[place].size * each
        for place, each in self._varying_outputs:
            size += sum([piece[place].size for piece in outputs]) * each
        return size

    def _has_room(self, size: int, rows: int) -> bool:
        """Whether a record of so many bytes can wait; else its rows are lost."""
        if self._room.take(size):
            return True
        with self._lock:
            self._full += rows
        return False


def row_bytes(interface: Interface) -> int:
    """What one row of inputs and outputs needs in memory, without those of which callers choose the size."""
    specs: list[TensorSpec | OutputSpec] = [*interface.tensors, *interface.outputs]
    return sum(
        math.prod([size or 1 for size in spec.shape[1:]]) * _element_bytes(spec)
        for spec in specs
        if None not in spec.shape[1:]
    )


def _element_bytes(spec: TensorSpec | OutputSpec) -> int:
    return TEXT_BYTES if spec.dtype == "string" else int(NUMPY[spec.dtype].itemsize)


def _varying(specs: Sequence[TensorSpec | OutputSpec]) -> _Varying:
    """Those of which callers choose the size of a row: places, and bytes of an element."""
    return [(place, _element_bytes(spec)) for place, spec in enumerate(specs) if None in spec.shape[1:]]


def _part(task: BatchTask) -> Part:
    return Part(len(task.calls), task.rows_each, task.protocol, _request_ids(task.calls))


def _request_ids(calls: Sequence[Call]) -> Sequence[str | None] | None:
    """The callers' own ids. That of a message goes before that of its metadata, which a whole stream shares."""
    if not any(call.tail or call.request_id for call in calls):
        return None
    return [request_ids.of_tail(call.tail) or call.request_id or None for call in calls]


def _rows_of(calls: Array, rows_each: int) -> Array:
    """The rows of these calls of a task, in their order."""
    rows: Array = (calls[:, None] * rows_each + np.arange(rows_each)).ravel()
    return rows
