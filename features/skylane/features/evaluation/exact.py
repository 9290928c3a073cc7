"""Exact sums of floating-point numbers between any two places of a sequence.

Each number is an integer of the same unit, a power of two; sums of integers have no rounding, so the order of rows
and the way in which sums are taken apart cannot matter. The result is rounded once, to the nearest float64.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
_EXACT: Final = 2.0**53
"""Integers below this are float64 numbers."""
_MANTISSA_BITS: Final = 53


def integers(numbers: NDArray[np.float64]) -> tuple[Array, int]:
    """(integers, exponent): numbers = integers · 2^exponent; int64 where sums stay exact in float64, else objects."""
    mantissa, exponent = np.frexp(numbers)
    whole = np.ldexp(mantissa, _MANTISSA_BITS).astype(np.int64)
    low = np.where(whole != 0, whole & -whole, 1)
    zeros = np.log2(low.astype(np.float64)).astype(np.int64)  # exact for powers of two
    whole, shift = whole >> zeros, exponent.astype(np.int64) - _MANTISSA_BITS + zeros
    used = whole != 0
    unit = int(shift[used].min()) if used.any() else 0
    left = np.where(used, shift - unit, 0)
    if left.max(initial=0) < _MANTISSA_BITS and np.ldexp(np.abs(whole).astype(np.float64), left).sum() < _EXACT:
        return whole << left, unit
    return whole.astype(object) << left.astype(object), unit


def prefix_sums(whole: Array) -> Array:
    """(rows + 1,): sums of the first 0, 1, … numbers."""
    sums = np.zeros(len(whole) + 1, whole.dtype)
    np.cumsum(whole, out=sums[1:])
    return sums


def ratio(total: Array, divisor: Array, exponent: int) -> NDArray[np.float64]:
    """total · 2^exponent / divisor, rounded once. NaN where the divisor is 0 or the result is too large.

    `total` is int64 below 2⁵³ in size, or objects.
    """
    empty = divisor == 0
    divisor = np.where(empty, 1, divisor)
    if total.dtype != object and -900 < exponent < 900:
        result = np.ldexp(total / divisor, exponent)  # exact but for the division
    else:
        # Python divides integers with one rounding.
        up, down = 1 << max(0, exponent), 1 << max(0, -exponent)
        pairs = zip(total.tolist(), divisor.tolist(), strict=True)
        result = np.array([_divided(int(top) * up, int(bottom) * down) for top, bottom in pairs], np.float64)
    return np.where(empty, np.nan, result) + 0.0


def _divided(top: int, bottom: int) -> float:
    try:
        return top / bottom
    except OverflowError:
        return float("nan")
