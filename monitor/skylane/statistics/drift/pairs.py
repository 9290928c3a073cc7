"""Pairs of columns of which one is nearly always the smaller: their order tells when they are swapped. Pure."""

from collections.abc import Mapping
from itertools import combinations
from typing import Final

import numpy as np

from skylane.reference import NumberReference
from skylane.statistics.drift.sketch import Array

ORDERED_MIN: Final = 0.97
"""Share of the rows in which the same column of a pair is not the larger."""
STRICT_MIN: Final = 0.6
"""Share of the rows in which the two differ: where they are mostly equal, swapping them changes little."""
COLUMNS_MAX: Final = 48
PAIRS_MAX: Final = 64
ROWS_MAX: Final = 20_000


def find_pairs(columns: Mapping[str, Array], known: Mapping[str, NumberReference]) -> list[tuple[str, str]]:
    """(smaller, larger) of columns with overlapping ranges, the most certain first.

    `columns`: name → (n,) float64. Columns whose ranges do not overlap need no pair: each is out of the other's range.
    """
    names = [name for name, column in known.items() if column.bins is not None and not column.constant][:COLUMNS_MAX]
    found: list[tuple[float, str, str]] = []
    for one, other in combinations(names, 2):
        if not _overlap(known[one], known[other]):
            continue
        places = slice(None, None, max(1, len(columns[one]) // ROWS_MAX))
        first, second = columns[one][places], columns[other][places]
        both = np.isfinite(first) & np.isfinite(second)
        if both.sum() < ROWS_MAX // 100:
            continue
        difference = second[both] - first[both]
        smaller, equal = float((difference > 0).mean()), float((difference == 0).mean())
        for share, low, high in ((smaller, one, other), (1 - smaller - equal, other, one)):
            if share >= STRICT_MIN and share + equal >= ORDERED_MIN:
                found.append((share, low, high))
    found.sort(key=lambda pair: -pair[0])
    return [(low, high) for _, low, high in found[:PAIRS_MAX]]


def _overlap(one: NumberReference, other: NumberReference) -> bool:
    assert one.bins is not None
    assert other.bins is not None
    return one.bins.edges[0] <= other.bins.edges[-1] and other.bins.edges[0] <= one.bins.edges[-1]
