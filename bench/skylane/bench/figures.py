"""The arithmetic of measurements: percentiles, ratios, spread. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np
from numpy.typing import NDArray


def percentile(values: NDArray[np.int64], share: float) -> float:
    """The smallest value that at least `share` of the values do not exceed (nearest rank, no interpolation).

    A percentile that was never observed would be an invention, the more so in a thin tail.
    """
    if not len(values):
        raise ValueError("no values: there is no percentile")
    rank = min(max(int(np.ceil(share * len(values))), 1), len(values))
    return float(np.partition(values, rank - 1)[rank - 1])


@dataclass(frozen=True)
class Spread:
    """Several measurements of one thing: the middle, and how far they lie apart."""

    median: float
    low: float
    high: float
    count: int


def spread(values: Sequence[float]) -> Spread:
    """Median, least and greatest."""
    if not values:
        raise ValueError("no values: there is no spread")
    return Spread(float(median(values)), min(values), max(values), len(values))


def known_median(values: Iterable[float | None]) -> float | None:
    """The median of the values that are known; None if none is."""
    known = [value for value in values if value is not None]
    return median(known) if known else None


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """Each round's own ratio: what disturbed a round disturbed both sides of it. Rounds without a divisor are left out.

    Raises ValueError if the rounds do not pair up.
    """
    return [mine / other for mine, other in zip(ours, theirs, strict=True) if other > 0]


def verdict(measured: Spread, at_most: float | None = None, at_least: float | None = None) -> str:
    """Whether the bound is kept: `yes` or `no` if every round says so, else by the median `mostly` or `rarely`."""
    if at_least is not None:
        turned = Spread(-measured.median, -measured.high, -measured.low, measured.count)
        return verdict(turned, at_most=-at_least)
    assert at_most is not None, "a target has a bound"
    if measured.high <= at_most:
        return "yes"
    if measured.low > at_most:
        return "no"
    return "mostly" if measured.median <= at_most else "rarely"
