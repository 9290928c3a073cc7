"""Whether a rate is above a bound: faults, missing answers, answers over a time limit. Judged by rows, in seconds.

These do not share a day's weather as losses do, and they must be found at once. The e-value is a mixture of likelihood
ratios against rates above the bound, each of which is a supermartingale while the rate is at the bound or below.
"""

import math
from dataclasses import dataclass
from typing import Final

RATE_ALPHA: Final = 0.001
MULTIPLES: Final = (1.25, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 100.0, 1000.0)
"""Rates that are mixed, as multiples of the bound."""
ONE_MINUS: Final = 1e-6
"""The largest rate that is mixed is 1 less this."""


@dataclass(frozen=True)
class RateTest:
    """A rate beside its bound."""

    rate: float
    """NaN without a trial."""
    bound: float
    e_value: float
    """Evidence that the rate is above the bound: 1/alpha decides."""
    is_above: bool
    events: int
    trials: int
    alpha: float


def rate_test(events: int, trials: int, bound: float, *, alpha: float = RATE_ALPHA) -> RateTest:
    """Test the rate of events against a bound, 0 < bound < 1. Call it as often as you like, with all trials so far.

    Raises ValueError for counts or a bound that cannot be.
    """
    if not 0 <= events <= trials:
        raise ValueError(f"events: expected 0 to {trials} of as many trials, received {events}")
    if not 0 < bound < 1:
        raise ValueError(f"bound: expected more than 0 and less than 1, received {bound}")
    rates = sorted({min(bound * multiple, 1 - ONE_MINUS) for multiple in MULTIPLES} - {bound})
    rates = [rate for rate in rates if rate > bound] or [(1 + bound) / 2]
    logarithms = [
        events * math.log(rate / bound) + (trials - events) * (math.log1p(-rate) - math.log1p(-bound)) for rate in rates
    ]
    largest = max(logarithms)
    mixed = largest + math.log(sum(math.exp(each - largest) for each in logarithms) / len(rates))
    e_value = math.exp(min(mixed, 700.0))
    return RateTest(
        events / trials if trials else math.nan, bound, e_value, e_value >= 1 / alpha, events, trials, alpha
    )  # fmt: skip
