"""Whether callers went to the arms in the shares that were set: sample-ratio mismatch, found while it happens.

If it is found, no figure of the experiment can be trusted: something sends, loses or answers callers by arm. The
e-value is that of a Dirichlet mixture against the shares that were set: Lindon and Malek, "Anytime-valid inference
for multinomial count data", 2022. A repeated chi-square test at 0.001 rejects a correct split in 1.5 to 3.6 % of
cases.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

RATIO_ALPHA: Final = 0.001
"""Small, because a mismatch ends an experiment."""
CONCENTRATION: Final = 100.0
"""Of the mixture around the shares: mismatches of a few hundredths are expected."""


@dataclass(frozen=True)
class RatioTest:
    """How many went to each arm."""

    e_value: float
    """Evidence against the shares: 1/alpha decides."""
    is_mismatch: bool
    expected: tuple[float, ...]
    """How many should have gone to each arm."""
    counts: tuple[int, ...]
    alpha: float


def ratio_test(
    counts: Sequence[int], shares: Sequence[float], *, alpha: float = RATIO_ALPHA, concentration: float = CONCENTRATION
) -> RatioTest:
    """Test counts of the arms against the shares that were set. One exposure for each caller: retries count once.

    Counts of several strata, as while a share is raised, are tested each for itself: multiply the e-values. Raises
    ValueError for shares that are not positive or do not add up to 1.
    """
    if len(counts) != len(shares) or len(counts) < 2:
        raise ValueError(f"counts: expected one for each of two shares or more, received {len(counts)}, {len(shares)}")
    if min(shares) <= 0 or abs(sum(shares) - 1) > 1e-9:
        raise ValueError(f"shares: expected positive numbers that add up to 1, received {list(shares)}")
    if min(counts) < 0:
        raise ValueError(f"counts: expected 0 or more, received {min(counts)}")
    total = sum(counts)
    logarithm = math.lgamma(concentration) - math.lgamma(concentration + total)
    for count, share in zip(counts, shares, strict=True):
        prior = concentration * share
        logarithm += math.lgamma(prior + count) - math.lgamma(prior) - count * math.log(share)
    e_value = math.exp(min(logarithm, 700.0))
    return RatioTest(
        e_value, e_value >= 1 / alpha, tuple(total * share for share in shares), tuple(counts), alpha
    )  # fmt: skip
