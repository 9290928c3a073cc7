"""Sums of floating-point numbers that do not depend on the order or the grouping of the numbers.

Each number is rounded to a multiple of 2⁻⁶⁰ (or of a finer unit) and added as an integer. Sums of parts therefore
merge to exactly the sum of the whole, however rows are split over workers and servers.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

FRACTION_BITS: Final = 60
LARGEST: Final = 2.0**256
"""Numbers at or above this in size are refused."""
_LIMB_BITS: Final = 24


def exact_sum(numbers: NDArray[np.float64], bits: int = FRACTION_BITS) -> int:
    """The sum of `numbers` (n,) in units of 2⁻ᵇⁱᵗˢ. Raises ValueError for NaN, infinity and 2²⁵⁶ or more."""
    return exact_sums(numbers, np.zeros(len(numbers), np.int64), 1, bits)[0]


def exact_sums(
    numbers: NDArray[np.float64], bins: NDArray[np.int64], count: int, bits: int = FRACTION_BITS
) -> list[int]:
    """One sum per bin, in units of 2⁻ᵇⁱᵗˢ: `numbers` (n,) float64, `bins` (n,) from 0 to `count` − 1.

    Limbs of 24 bits are added as float64, which is exact for up to 2²⁹ rows. Raises ValueError as `exact_sum`.
    """
    numbers = np.ascontiguousarray(numbers, np.float64)
    if not len(numbers):
        return [0] * count
    size = float(np.abs(numbers).max())
    if not size < LARGEST:
        raise ValueError(f"expected finite numbers below 2**256 in size, got {size}")
    rest = np.rint(numbers * 2.0**bits)
    totals = [0] * count
    for limb in reversed(range(max(0, int(np.frexp(size)[1]) + bits) // _LIMB_BITS + 1)):
        unit = 2.0 ** (_LIMB_BITS * limb)
        part = np.trunc(rest / unit)  # towards 0, so that what remains is exact
        rest = rest - part * unit
        if not part.any():
            continue
        for position, total in enumerate(np.bincount(bins, part, count).tolist()):
            totals[position] += int(total) << (_LIMB_BITS * limb)
    return totals


def as_float(total: int, bits: int = FRACTION_BITS) -> float:
    """The floating-point number nearest to a sum in units of 2⁻ᵇⁱᵗˢ."""
    return total / (1 << bits)
