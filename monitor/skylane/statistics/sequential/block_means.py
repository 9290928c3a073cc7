"""Whether a mean over blocks of time differs from zero: differences of two models' losses, one number for each block.

The unit is the block, not the row, because rows of a block share its weather, holidays and prices: over flights, a
z-test over rows rejects a true null in 67 % of cases. Within a block the difference is taken between models that
answered the same rows (shadow), or between arms of the same block (A/B); so shares that change from block to block
cannot turn the result round (Simpson's paradox).

The e-value is the Bayes factor of the t-statistic, with a normal prior on the effect in standard deviations and the
scale-invariant prior on the variance. It depends on the data by the t-statistic alone, which makes it a test
martingale whatever the variance is: Gönen, Johnson, Lu and Westfall, "The Bayesian two-sample t test", 2005; Wang and
Ramdas, "Anytime-valid t-tests and confidence sequences for Gaussian means with unknown variance", 2024.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

import numpy as np

from skylane.statistics.sequential.types import Floats

ALPHA: Final = 0.05
BLOCKS_MIN: Final = 14
"""Fewer decide nothing: one unusual day weighs too much, and the blocks' means are not yet close to normal."""
EFFECT_VARIANCE: Final = 0.25
"""Of the prior on the effect in standard deviations of a block: effects of half a standard deviation are expected."""
CORRELATION_MAX: Final = 0.6
"""Largest correlation of neighbouring blocks that is corrected for. Beyond it blocks should be longer."""

ROUNDING: Final = 1e-9
"""Blocks that differ by less, relative to the largest, are equal: what is left is the rounding of sums."""


class Verdict(Enum):
    """What a test has decided."""

    LOWER = "lower"
    """The mean is below zero: a difference of losses says that the first model is better."""
    HIGHER = "higher"
    OPEN = "open"
    """Nothing yet; it may be looked at again after every block."""


@dataclass(frozen=True)
class MeanTest:
    """A mean of blocks as of the last one."""

    mean: float
    """NaN without a block."""
    low: float
    high: float
    """Confidence sequence: with probability 1 - alpha it holds the true mean after every block at once. Infinite while
    there are too few blocks."""
    naive_low: float
    naive_high: float
    """The interval of a z-test over the same blocks, which is wrong when it is watched; to be shown beside it."""
    e_value: float
    """Evidence against a mean of zero: 1/alpha decides."""
    blocks: int
    effective_blocks: float
    """As many independent blocks would be as sure."""
    alpha: float
    verdict: Verdict
    reason: str | None
    """Why there is no verdict, as a clause for a reader; None if there is one."""


def mean_test(
    blocks: Sequence[float] | Floats,
    *,
    alpha: float = ALPHA,
    blocks_min: int = BLOCKS_MIN,
    effect_variance: float = EFFECT_VARIANCE,
) -> MeanTest:
    """Test the mean of these blocks, in the order of time, against zero. Call it after every block until it decides.

    Raises ValueError for a block that is not finite, and for an alpha outside (0, 1).
    """
    values = np.asarray(blocks, np.float64)
    if not np.isfinite(values).all():
        raise ValueError(f"blocks: expected finite numbers, received {values[~np.isfinite(values)][0]}")
    if not 0 < alpha < 1:
        raise ValueError(f"alpha: expected more than 0 and less than 1, received {alpha}")
    count = len(values)
    mean = float(values.mean()) if count else math.nan
    if count < 2:
        return _open(mean, count, count, alpha, _too_few(count, blocks_min))
    effective = count / _widening(values) ** 2
    deviation = float(values.std(ddof=1))
    if deviation <= ROUNDING * float(np.abs(values).max()):
        return _without_variance(mean, count, alpha, blocks_min)
    error = deviation / math.sqrt(effective)
    e_value = _bayes_factor(mean / error, count, effect_variance)
    half = error * _critical_t(count, alpha, effect_variance)
    naive = 1.959964 * deviation / math.sqrt(count)
    verdict = Verdict.OPEN
    if count >= blocks_min and e_value >= 1 / alpha:
        verdict = Verdict.LOWER if mean < 0 else Verdict.HIGHER
    reason = None if verdict is not Verdict.OPEN else _open_reason(count, blocks_min, mean - half, mean + half)
    return MeanTest(
        mean, mean - half, mean + half, mean - naive, mean + naive, e_value, count, effective, alpha, verdict, reason
    )


def _bayes_factor(t: float, count: int, effect_variance: float) -> float:
    """Of a t-statistic of this many blocks."""
    inflation, freedom = 1 + count * effect_variance, count - 1
    ratio = (1 + t * t / freedom) / (1 + t * t / (inflation * freedom))
    exponent = count / 2 * math.log(ratio) - math.log(inflation) / 2
    return math.exp(min(exponent, 700.0))


def _critical_t(count: int, alpha: float, effect_variance: float) -> float:
    """The t-statistic at which the Bayes factor is 1/alpha; infinite if none reaches it."""
    inflation, freedom = 1 + count * effect_variance, count - 1
    ratio = (math.sqrt(inflation) / alpha) ** (2 / count)
    return math.sqrt(freedom * (ratio - 1) / (1 - ratio / inflation)) if ratio < inflation else math.inf


def _widening(values: Floats) -> float:
    """By how much the standard error grows because neighbouring blocks are alike; 1 if they are not.

    A first-order autoregression multiplies the variance of a mean by (1 + r)/(1 - r).
    """
    if len(values) < BLOCKS_MIN:
        return 1.0
    centred = values - values.mean()
    total = float(centred @ centred)
    correlation = float(centred[1:] @ centred[:-1]) / total if total > 0 else 0.0
    correlation += 1 / len(values) + 0.5 / math.sqrt(len(values))  # its bias to first order, half its standard error
    correlation = min(max(correlation, 0.0), CORRELATION_MAX)
    return math.sqrt((1 + correlation) / (1 - correlation))


def _without_variance(mean: float, count: int, alpha: float, blocks_min: int) -> MeanTest:
    """All blocks are equal. If they are zero, as of a model beside itself, nothing differs; else nothing is known."""
    reason = (
        "all blocks are exactly zero: the two answer alike"
        if mean == 0
        else f"all {count} blocks are exactly {mean:g}, so nothing is known about how they vary"
    )
    reason = _too_few(count, blocks_min) if count < blocks_min else reason
    return _open(mean, count, count, alpha, reason)


def _open(mean: float, count: int, effective: float, alpha: float, reason: str) -> MeanTest:
    infinite = math.inf
    return MeanTest(mean, -infinite, infinite, -infinite, infinite, 1.0, count, effective, alpha, Verdict.OPEN, reason)


def _too_few(count: int, blocks_min: int) -> str:
    return f"{count} of at least {blocks_min} blocks"


def _open_reason(count: int, blocks_min: int, low: float, high: float) -> str:
    if count < blocks_min:
        return _too_few(count, blocks_min)
    return f"after {count} blocks both signs are possible: {low:+.4g} to {high:+.4g}"
