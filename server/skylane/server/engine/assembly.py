"""Concatenates the rows of many calls into one array per input, and splits the outputs again. Pure."""

from collections.abc import Iterator, Sequence

import numpy as np

from skylane.server.core.batch_task import BatchTask
from skylane.server.core.types import Array


def gather(tasks: Sequence[BatchTask]) -> Sequence[Array]:
    """Each of the model's inputs with the rows of all tasks in order. The arrays of a single task are not copied."""
    if len(tasks) == 1:
        return tasks[0].arrays()
    return [np.concatenate(parts) for parts in zip(*(task.arrays() for task in tasks), strict=True)]


def scatter(tasks: Sequence[BatchTask], outputs: Sequence[Array]) -> Iterator[tuple[BatchTask, Sequence[Array]]]:
    """Each task with its rows of every output, as views."""
    if len(tasks) == 1:
        yield tasks[0], outputs
        return
    start = 0
    for task in tasks:
        stop = start + task.rows
        yield task, [output[start:stop] for output in outputs]
        start = stop


def apart(outputs: Sequence[Array], calls: int, rows_each: int) -> Iterator[Sequence[Array]]:
    """Each call's rows of every output, as arrays of their own: a view would keep the whole batch in memory."""
    for start in range(0, calls * rows_each, rows_each):
        yield [output[start : start + rows_each].copy() for output in outputs]
