"""Tables of exact integer sums: made from rows, merged, taken apart, and written as JSON."""

import operator
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from skylane.statistics.performance.exact_sums import FRACTION_BITS, exact_sum, exact_sums
from skylane.statistics.performance.metrics import Floats

Bins = dict[int, tuple[int, ...]]
LossSums = tuple[int, int, int]
"""Σ weight × loss, Σ weight² × loss, Σ weight² × loss²: the last two give the variance if rows were independent."""
_SIGN = {1: operator.add, -1: operator.sub}


def loss_sums(weight: Floats, loss: Floats, bits: int = FRACTION_BITS) -> LossSums:
    """The three sums of a loss: weight and loss are (rows,)."""
    weighted = weight * loss
    return exact_sum(weighted, bits), exact_sum(weight * weighted, bits), exact_sum(weighted**2, bits)


def binned(bins: NDArray[np.int64], numbers: Iterable[Floats]) -> Bins:
    """For each bin that occurs in `bins` (rows,), the sum of each of the `numbers` (rows,). Lowest bin first."""
    keys, where = np.unique(bins, return_inverse=True)
    sums = [exact_sums(each, where.astype(np.int64), len(keys)) for each in numbers]
    return dict(zip(keys.tolist(), zip(*sums, strict=True), strict=True))


def combined(mine: tuple[int, ...], theirs: tuple[int, ...], sign: int) -> tuple[int, ...]:
    """Each of `mine` plus (`sign` 1) or minus (−1) that of `theirs`."""
    return tuple(map(_SIGN[sign], mine, theirs))


def combined_losses(mine: Mapping[str, LossSums], theirs: Mapping[str, LossSums], sign: int) -> dict[str, LossSums]:
    """`combined` for each loss."""
    return {name: three(combined(sums, theirs[name], sign)) for name, sums in mine.items()}


def combined_bins(mine: Bins, theirs: Bins, sign: int) -> Bins:
    """`combined` for each bin; bins of which nothing is left are dropped."""
    result = dict(mine)
    for key, sums in theirs.items():
        result[key] = combined(result.get(key, (0,) * len(sums)), sums, sign)
    return {key: sums for key, sums in sorted(result.items()) if any(sums)}


def three(sums: Sequence[int]) -> LossSums:
    """The sums of one loss, from a list read from JSON."""
    first, second, third = sums
    return first, second, third


def bins_to_json(bins: Bins) -> dict[str, list[int]]:
    """JSON has no integer keys."""
    return {str(key): list(sums) for key, sums in bins.items()}


def bins_from_json(data: Mapping[str, list[int]]) -> Bins:
    """Read what `bins_to_json` wrote."""
    return {int(key): tuple(sums) for key, sums in data.items()}
