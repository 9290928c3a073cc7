"""Quantiles of the normal and of Student's t distribution, without SciPy."""

import functools
import math
from statistics import NormalDist
from typing import Final

import numpy as np

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(96)
_STEPS: Final = 60


def normal_quantile(probability: float) -> float:
    """The value that a standard normal variable stays below with this probability."""
    return NormalDist().inv_cdf(probability)


def t_distribution(value: float, freedom: float) -> float:
    """Probability that Student's t with `freedom` degrees stays below `value`. Accurate to 1e-9 from 2 degrees on."""
    scale = math.exp(math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2)) / math.sqrt(math.pi)
    # With t = √freedom · tan(angle) the density becomes a power of the cosine, which Gauss's quadrature integrates.
    angle = math.atan(value / math.sqrt(freedom))
    angles = angle / 2 * (_NODES + 1)
    return 0.5 + scale * angle / 2 * float((_WEIGHTS * np.cos(angles) ** (freedom - 1)).sum())


@functools.lru_cache(1024)
def t_quantile(probability: float, freedom: float) -> float:
    """The value that Student's t with `freedom` degrees (at least 2) stays below with this probability."""
    if not 0 < probability < 1 or freedom < 2:
        raise ValueError(f"expected a probability in (0, 1) and 2 degrees or more, got {probability} and {freedom}")
    low, high = -1e4, 1e4
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if t_distribution(middle, freedom) < probability else (low, middle)
    return (low + high) / 2
