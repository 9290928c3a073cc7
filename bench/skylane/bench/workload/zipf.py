"""Draws that repeat as inputs do in the world."""

import numpy as np
from numpy.typing import NDArray


def zipf(exponent: float, inputs: int, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Places of inputs; the k-th most frequent is drawn in proportion to k to the power of minus the exponent."""
    weights = np.cumsum(np.arange(1, inputs + 1, dtype=float) ** -exponent)
    return np.searchsorted(weights / weights[-1], rng.random(count), side="right").astype(np.int64)
