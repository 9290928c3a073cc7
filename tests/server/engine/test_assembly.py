"""Assembly: what is gathered and scattered comes back to its owner, untouched."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fakes import PlainBlock, call
from skylane.server.core.types import Array
from skylane.server.engine.assembly import gather, scatter

KINDS: list[tuple[Any, tuple[int, ...]]] = [(np.float32, (3,)), (object, (1,)), (np.int64, ()), (np.uint8, (2, 2))]


def made(shapes: Sequence[tuple[int, int]]) -> list[PlainBlock]:
    """Blocks of (calls, rows each) whose every element is another number."""
    tasks, start = [], 0
    for calls, rows_each in shapes:
        arrays: list[Array] = []
        for dtype, rest in KINDS:
            size = calls * rows_each * int(np.prod(rest))
            arrays.append((np.arange(start, start + size) % 251).astype(dtype).reshape(calls * rows_each, *rest))
            start += size
        tasks.append(PlainBlock([call(place) for place in range(calls)], rows_each, inputs=arrays))
    return tasks


@given(shapes=st.lists(st.tuples(st.integers(1, 4), st.integers(1, 9)), min_size=1, max_size=8))
def test_what_a_block_brings_is_what_it_gets_back(shapes: list[tuple[int, int]]) -> None:
    tasks = made(shapes)
    batch = gather(tasks)
    assert [len(array) for array in batch] == [sum(task.rows for task in tasks)] * len(KINDS)
    parts = list(scatter(tasks, batch))
    assert [task for task, _ in parts] == tasks
    for task, part in parts:
        for sent, got in zip(task.arrays(), part, strict=True):
            assert sent.dtype == got.dtype
            np.testing.assert_array_equal(sent, got)


def test_a_single_block_is_neither_copied_in_nor_out() -> None:
    (task,) = made([(3, 2)])
    batch = gather([task])
    assert batch is task.inputs
    assert list(scatter([task], batch)) == [(task, batch)]


def test_the_parts_of_a_batch_are_views() -> None:
    tasks = made([(1, 2), (2, 1)])
    batch = gather(tasks)
    assert all(
        np.shares_memory(got, whole)
        for _, part in scatter(tasks, batch)
        for got, whole in zip(part, batch, strict=True)
    )
