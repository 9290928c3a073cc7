"""Assembly: what is gathered and scattered comes back to its owner, untouched."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fakes import PlainBlock, call
from server.engine.assembly import gather, scatter
from server.types import Array

KINDS: list[tuple[Any, tuple[int, ...]]] = [(np.float32, (3,)), (object, (1,)), (np.int64, ()), (np.uint8, (2, 2))]


def made(shapes: Sequence[tuple[int, int]]) -> list[PlainBlock]:
    """Blocks of (calls, rows each) whose every element is another number."""
    blocks, start = [], 0
    for calls, rows_each in shapes:
        arrays: list[Array] = []
        for dtype, rest in KINDS:
            size = calls * rows_each * int(np.prod(rest))
            arrays.append((np.arange(start, start + size) % 251).astype(dtype).reshape(calls * rows_each, *rest))
            start += size
        blocks.append(PlainBlock([call(place) for place in range(calls)], rows_each, inputs=arrays))
    return blocks


@given(shapes=st.lists(st.tuples(st.integers(1, 4), st.integers(1, 9)), min_size=1, max_size=8))
def test_what_a_block_brings_is_what_it_gets_back(shapes: list[tuple[int, int]]) -> None:
    blocks = made(shapes)
    batch = gather(blocks)
    assert [len(array) for array in batch] == [sum(block.rows for block in blocks)] * len(KINDS)
    parts = list(scatter(blocks, batch))
    assert [block for block, _ in parts] == blocks
    for block, part in parts:
        for sent, got in zip(block.arrays(), part, strict=True):
            assert sent.dtype == got.dtype
            np.testing.assert_array_equal(sent, got)


def test_a_single_block_is_neither_copied_in_nor_out() -> None:
    (block,) = made([(3, 2)])
    batch = gather([block])
    assert batch is block.inputs
    assert list(scatter([block], batch)) == [(block, batch)]


def test_the_parts_of_a_batch_are_views() -> None:
    blocks = made([(1, 2), (2, 1)])
    batch = gather(blocks)
    assert all(
        np.shares_memory(got, whole)
        for _, part in scatter(blocks, batch)
        for got, whole in zip(part, batch, strict=True)
    )
