"""Rows of many calls → one array for each input, and the answers back apart. Pure."""

from collections.abc import Iterator, Sequence

import numpy as np

from server.block import Block
from server.types import Array


def gather(blocks: Sequence[Block]) -> Sequence[Array]:
    """Each of the model's inputs with the rows of all blocks in order; a single block is passed on uncopied."""
    if len(blocks) == 1:
        return blocks[0].arrays()
    return [np.concatenate(parts) for parts in zip(*(block.arrays() for block in blocks), strict=True)]


def scatter(blocks: Sequence[Block], outputs: Sequence[Array]) -> Iterator[tuple[Block, Sequence[Array]]]:
    """Give each block its rows of every output, as views."""
    if len(blocks) == 1:
        yield blocks[0], outputs
        return
    start = 0
    for block in blocks:
        stop = start + block.rows
        yield block, [output[start:stop] for output in outputs]
        start = stop
