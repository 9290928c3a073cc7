"""Intervals for metrics by a bootstrap over blocks of time.

Rows of one day share a day's weather: over the flights the variance of a mean is 20 to 29 times what independent rows
would give. So whole blocks are drawn, not rows. The bootstrap is studentised (Efron and Tibshirani, 1993, chapter
12.5): percentiles of the metric itself cover too rarely at 30 skewed blocks. Neighbouring blocks are alike as well
(the daily log loss of the flights has an autocorrelation of 0.49), and for that the interval is widened.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from skylane.statistics.performance.block_metrics import BlockMetric, Sums, metric_of
from skylane.statistics.performance.exact_sums import as_float
from skylane.statistics.performance.metrics import Floats
from skylane.statistics.performance.sums import ERROR_BITS, RegressionSums

BLOCKS_MIN: Final = 14
LEVEL: Final = 0.95
REPLICATES: Final = 1999
_CORRELATION_MAX: Final = 0.9


@dataclass(frozen=True)
class Interval:
    """A metric over blocks, with an interval if there are enough of them."""

    estimate: float
    """NaN without labelled rows."""
    low: float | None
    high: float | None
    level: float
    rows: int
    blocks: int
    """Blocks with labelled rows."""
    effective_rows: float | None
    """How many independent rows would be as sure: "5,370 rows count as 265". None where it is not defined."""
    reason: str | None
    """Why there is no interval, as a clause for the reader; None if there is one."""


def block_interval(
    blocks: Sequence[Sums],
    metric: str,
    generator: np.random.Generator,
    *,
    level: float = LEVEL,
    replicates: int = REPLICATES,
) -> Interval:
    """Interval of a metric (`metric_names`) over these blocks, one `Sums` each, in the order of time.

    Below 14 blocks with labels there is none, and `reason` says so. O(replicates × blocks × columns).
    """
    filled = [block for block in blocks if block.rows]
    rows = sum(block.rows for block in filled)
    if not filled:
        return Interval(math.nan, None, None, level, 0, 0, None, "no label has come yet")
    measure = metric_of(filled[0], metric)
    columns = measure.columns(filled)
    estimate = float(measure.value(columns.sum(axis=0, keepdims=True))[0])
    if len(filled) < BLOCKS_MIN:
        reason = f"an interval needs {BLOCKS_MIN} blocks with labels, and there are {len(filled)}"
        return Interval(estimate, None, None, level, rows, len(filled), None, reason)
    error = float(_standard_errors(measure, columns, np.ones((1, len(filled))))[0])
    if not math.isfinite(estimate) or not math.isfinite(error):
        return Interval(estimate, None, None, level, rows, len(filled), None, "one of the classes has not come yet")
    error *= serial_widening(influences(measure, columns))
    low, high = _studentised(measure, columns, estimate, error, generator, level, replicates)
    effective = _effective_rows(filled, measure, rows, error)
    return Interval(estimate, low, high, level, rows, len(filled), effective, None)


def influences(measure: BlockMetric, columns: Floats) -> Floats:
    """What each block adds to the metric's deviation: (blocks,), sums to 0."""
    return np.asarray((columns @ measure.gradient(columns.sum(axis=0, keepdims=True)).T)[:, 0])


def serial_widening(pulls: Floats) -> float:
    """Factor for the standard error because neighbouring blocks are alike; never below 1.

    `pulls` (blocks,) are influences in the order of time. If each block remembers the one before with correlation ρ,
    the variance of a mean is (1 + ρ) / (1 − ρ) times that of independent blocks. The estimate of ρ is too low by
    about (1 + 4ρ) / blocks (Marriott and Pope, 1954), which is added.
    """
    deviations = pulls - pulls.mean()
    square = float(deviations @ deviations)
    if square == 0:
        return 1.0
    correlation = float(deviations[1:] @ deviations[:-1]) / square
    correlation = min(correlation + (1 + 4 * correlation) / len(pulls), _CORRELATION_MAX)
    return math.sqrt(max(1.0, (1 + correlation) / (1 - correlation)))


def _standard_errors(measure: BlockMetric, columns: Floats, drawn: Floats) -> Floats:
    """Standard error of the metric by linearisation, for each weighting `drawn` (n, blocks): (n,)."""
    blocks = len(columns)
    pulls = measure.gradient(drawn @ columns) @ columns.T
    return np.asarray(np.sqrt(blocks / (blocks - 1) * (drawn * pulls**2).sum(axis=1)))


def _studentised(
    measure: BlockMetric,
    columns: Floats,
    estimate: float,
    error: float,
    generator: np.random.Generator,
    level: float,
    replicates: int,
) -> tuple[float, float]:
    blocks = len(columns)
    drawn = generator.multinomial(blocks, np.full(blocks, 1 / blocks), size=replicates).astype(np.float64)
    errors = _standard_errors(measure, columns, drawn)
    values = measure.value(drawn @ columns)
    usable = np.isfinite(errors) & (errors > 0)
    if error == 0 or not usable.any():
        return estimate, estimate
    ratios = (values[usable] - estimate) / errors[usable]
    lower, upper = np.quantile(ratios, [(1 - level) / 2, (1 + level) / 2])
    low, high = measure.bounds
    return max(low, float(estimate - upper * error)), min(high, float(estimate - lower * error))


def _effective_rows(blocks: Sequence[Sums], measure: BlockMetric, rows: int, error: float) -> float | None:
    """Rows × (variance if rows were independent) / (variance between blocks)."""
    name = measure.row_loss
    if name is None or error == 0:
        return None
    bits = ERROR_BITS if isinstance(blocks[0], RegressionSums) else None
    sums = [sum(block.losses[name][i] for block in blocks) for i in range(3)]
    loss, once, twice = (as_float(each, bits) if bits else as_float(each) for each in sums)
    weight, square = (as_float(sum(each)) for each in zip(*((b.weight, b.weight_squared) for b in blocks), strict=True))
    mean = loss / weight
    return rows * (twice - 2 * mean * once + mean**2 * square) / weight**2 / error**2
