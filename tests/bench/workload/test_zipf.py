"""Draws by Zipf's law."""

import numpy as np
import pytest

from skylane.bench.workload.zipf import zipf


@pytest.mark.parametrize("exponent", [0.8, 1.0, 1.2])
def test_inputs_are_drawn_as_often_as_the_law_says(exponent: float) -> None:
    places = zipf(exponent, 1000, 200_000, np.random.default_rng(1))
    counts = np.bincount(places, minlength=1000)
    assert places.min() == 0
    assert places.max() < 1000
    assert counts[0] / counts[9] == pytest.approx(10**exponent, rel=0.1)
