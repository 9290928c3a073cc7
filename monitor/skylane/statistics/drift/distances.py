"""How far apart two distributions are, from counts in the same bins. Pure.

PSI: the population stability index, sum of (p - q) ln(p / q). Without any drift its mean is (B - 1) (1/n + 1/N) for B
bins, n and N rows (Yurdakul, "Statistical properties of the population stability index", 2018): that is taken off.
W1: the Wasserstein distance, the integral of |F - G|, with numbers spread evenly inside of a bin.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from skylane.statistics.drift.sketch import Array

SMOOTHING: Final = 0.5
"""Rows added to each bin, so that an empty one does not make PSI infinite."""


def psi(counts: Array, rows: float, other_counts: Array, other_rows: float) -> float:
    """Between two histograms, (B,) each, of so many rows in effect; less what chance alone gives, never under 0."""
    bins = len(counts)
    if bins < 2 or rows <= 0 or other_rows <= 0 or counts.sum() <= 0 or other_counts.sum() <= 0:
        return 0.0
    p = (counts / counts.sum() * rows + SMOOTHING) / (rows + SMOOTHING * bins)
    q = (other_counts / other_counts.sum() * other_rows + SMOOTHING) / (other_rows + SMOOTHING * bins)
    chance = (bins - 1) * (1 / rows + 1 / other_rows)
    return max(0.0, float(((p - q) * np.log(p / q)).sum()) - chance)


def total_variation(counts: Array, rows: float, other_counts: Array, other_rows: float, doubt: float = 1.0) -> float:
    """Half the sum of |p - q|, between 0 and 1, less so many times the mean that chance alone gives, never under 0."""
    if counts.sum() <= 0 or other_counts.sum() <= 0 or rows <= 0 or other_rows <= 0:
        return 0.0
    p, q = counts / counts.sum(), other_counts / other_counts.sum()
    middle = (counts + other_counts) / (counts.sum() + other_counts.sum())
    chance = float(np.sqrt(2 / np.pi * middle * (1 - middle) * (1 / rows + 1 / other_rows)).sum()) / 2
    return max(0.0, float(np.abs(p - q).sum()) / 2 - doubt * chance)


@dataclass(frozen=True)
class Histogram:
    """Shares of rows in bins, and beyond their ends. They sum to 1."""

    edges: Array
    inside: Array
    below: float = 0.0
    below_mean: float = 0.0
    above: float = 0.0
    above_mean: float = 0.0


def w1(one: Histogram, other: Histogram) -> float:
    """Between two histograms with the same edges; numbers beyond the ends lie at their mean."""
    first = one.below + np.concatenate([[0.0], np.cumsum(one.inside)])
    second = other.below + np.concatenate([[0.0], np.cumsum(other.inside)])
    within = _between(first - second, np.diff(one.edges))
    return (
        within
        + _beyond(one.below, one.below_mean, other.below, other.below_mean, float(one.edges[0]))
        + _beyond(one.above, one.above_mean, other.above, other.above_mean, float(one.edges[-1]))
    )


def w1_by_chance(shares: Array, edges: Array, rows: float, other_rows: float) -> float:
    """Mean of W1 between two samples of so many rows of one distribution."""
    if rows <= 0 or other_rows <= 0:
        return 0.0
    cumulated = np.clip(np.concatenate([[0.0], np.cumsum(shares)]), 0.0, 1.0)
    deviation = np.sqrt(cumulated * (1 - cumulated))
    middle = (deviation[1:] + deviation[:-1]) / 2
    return float((middle * np.diff(edges)).sum() * np.sqrt(2 / np.pi * (1 / rows + 1 / other_rows)))


def w1_of_samples(values: Array, weights: Array, others: Array, other_weights: Array) -> float:
    """Between two weighted samples of numbers."""
    points = np.concatenate([values, others])
    order = np.argsort(points, kind="stable")
    shares = np.concatenate([weights / weights.sum(), -other_weights / other_weights.sum()])[order]
    return float((np.abs(np.cumsum(shares))[:-1] * np.diff(points[order])).sum())


def _between(difference: Array, widths: Array) -> float:
    """Integral of |d| where d is linear between its values at the edges."""
    left, right = np.abs(difference[:-1]), np.abs(difference[1:])
    same = difference[:-1] * difference[1:] >= 0
    crossed = np.where(left + right > 0, (left**2 + right**2) / np.maximum(2 * (left + right), 1e-300), 0.0)
    return float((np.where(same, (left + right) / 2, crossed) * widths).sum())


def _beyond(share: float, mean: float, other: float, other_mean: float, end: float) -> float:
    """The part of W1 beyond one end of the bins, where each histogram has a point at its mean."""
    if share == 0 and other == 0:
        return 0.0
    mean, other_mean = mean if share else end, other_mean if other else end
    if abs(mean - end) < abs(other_mean - end):
        share, mean, other, other_mean = other, other_mean, share, mean
    return share * abs(mean - other_mean) + abs(share - other) * abs(other_mean - end)
