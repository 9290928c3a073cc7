"""Quantiles of a statistic over the reference's own blocks, and how unusual a number is beside them."""

from typing import Final

import numpy as np

from skylane.reference import LEVELS, OwnBlocks
from skylane.statistics.drift.sketch import Array

ROWS_MIN: Final = 100
"""Rows of a block, in effect, that a verdict needs; the reference's own blocks need them as well."""
BLOCKS_MIN: Final = 14
"""Fewer own blocks give no verdict on changes."""


def summarised(numbers: Array) -> OwnBlocks:
    """(blocks,) numbers, at least one."""
    quantiles = np.quantile(numbers, LEVELS)
    start = float(quantiles[7])
    beyond = numbers[numbers > start]
    tail = float(np.log(beyond / start).mean()) if start > 0 and len(beyond) else 0.0
    return OwnBlocks(quantiles=tuple(quantiles.tolist()), tail=tail)


def p_value(own: OwnBlocks | None, number: float, blocks: int) -> float:
    """Share of blocks as large as this one, if it were one of the reference's own; 1 if that is not known.

    Beyond the quantile 0.9 the tail is Pareto's, so that many columns can be judged at once with a few hundred blocks;
    it is never under what so many blocks can tell of their largest by more than the tail says.
    """
    if own is None or blocks < BLOCKS_MIN:
        return 1.0
    if number > own.quantiles[7]:
        if own.tail > 0:
            return float(0.1 * (number / own.quantiles[7]) ** (-1 / own.tail))
        return 1 / (blocks + 1) if number > own.largest else 0.1
    return float(1 - np.interp(number, own.quantiles, LEVELS))


def share_limit(own: OwnBlocks | None, rows: float, margin: float) -> float:
    """Largest share of a block's rows that is no fault: the largest of the own blocks, a margin, and 3 deviations."""
    largest = 0.0 if own is None else own.largest
    share = min(largest + margin, 1.0)
    return largest + margin + 3 * float(np.sqrt(share * (1 - share) / max(rows, 1.0)))


def discoveries(p_values: dict[str, float], rate: float) -> set[str]:
    """Names that the procedure of Benjamini and Hochberg keeps at this false discovery rate."""
    ordered = sorted(p_values, key=lambda name: p_values[name])
    kept = 0
    for place, name in enumerate(ordered, 1):
        if p_values[name] <= rate * place / len(ordered):
            kept = place
    return set(ordered[:kept])
