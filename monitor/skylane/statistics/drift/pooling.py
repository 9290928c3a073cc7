"""The blocks before one, put together as far as histograms need it: cheaper than merging all that they hold."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from skylane.statistics.drift.blocks import ColumnStatistics, NumberStatistics, TextStatistics

BEFORE: Final = 7
"""Blocks before, with which a block is compared to tell whether a change is abrupt."""

_NUMBERS: Final = ("rows", "missing", "infinite", "below", "above", "odd", "sum", "below_sum", "above_sum", "bins")
_TEXTS: Final = ("rows", "missing", "hashed", "unseen", "counts")


def pooled(blocks: Sequence[ColumnStatistics]) -> ColumnStatistics:
    """Sums of what histograms and shares are made of, over at least one block of one column. The rest is the last's."""
    last = blocks[-1]
    if isinstance(last, NumberStatistics):
        numbers = [block for block in blocks if isinstance(block, NumberStatistics)]
        return replace(last, **{name: sum(getattr(block, name) for block in numbers) for name in _NUMBERS})
    texts = [block for block in blocks if isinstance(block, TextStatistics)]
    return replace(last, **{name: sum(getattr(block, name) for block in texts) for name in _TEXTS})
