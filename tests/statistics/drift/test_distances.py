"""Distances against SciPy's and against what chance gives."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import wasserstein_distance

from skylane.statistics.drift.distances import (
    Histogram,
    psi,
    total_variation,
    w1,
    w1_by_chance,
    w1_of_samples,
)

NUMBERS = st.lists(st.floats(-100, 100), min_size=1, max_size=30)


@given(NUMBERS, NUMBERS)
def test_w1_of_samples_is_scipys(one: list[float], other: list[float]) -> None:
    found = w1_of_samples(np.array(one), np.ones(len(one)), np.array(other), np.ones(len(other)))
    assert found == pytest.approx(wasserstein_distance(one, other), rel=1e-9, abs=1e-9)


def test_w1_of_histograms_is_that_of_the_numbers_in_their_bins() -> None:
    """Points at the middles of many narrow bins, some beyond the ends."""
    random = np.random.default_rng(0)
    edges = np.linspace(-2, 2, 401)
    samples = [random.normal(0, 0.8, 4000), random.normal(0.5, 1.2, 4000)]

    def histogram(values: "np.ndarray[tuple[int], np.dtype[np.float64]]") -> Histogram:
        below, above = values[values < -2], values[values > 2]
        inside, _ = np.histogram(values, edges)
        return Histogram(
            edges, inside / 4000, len(below) / 4000, float(below.mean()), len(above) / 4000, float(above.mean())
        )

    found = w1(histogram(samples[0]), histogram(samples[1]))
    # Beyond the ends each histogram has a point at its mean: that loses a little.
    assert found == pytest.approx(wasserstein_distance(*samples), rel=0.02)


@pytest.mark.parametrize("rows", [100, 400, 2000])
def test_without_drift_psi_is_what_its_correction_takes_off(rows: int) -> None:
    """Uncorrected, its mean is (B - 1) (1/n + 1/N): 0.1 and more for 100 rows."""
    random = np.random.default_rng(0)
    shares = np.full(10, 0.1)
    raw, corrected = [], []
    for _ in range(2000):
        here, there = random.multinomial(rows, shares), random.multinomial(10_000, shares)
        corrected.append(psi(here.astype(float), rows, there.astype(float), 10_000))
        raw.append(float(((here / rows - there / 1e4) * np.log(np.maximum(here, 0.5) / rows / (there / 1e4))).sum()))
    assert np.mean(raw) == pytest.approx(9 * (1 / rows + 1 / 10_000), rel=0.1)
    assert np.mean(corrected) < 0.25 * np.mean(raw)  # cut off at 0, so not quite 0
    assert np.median(corrected) == 0


def test_without_drift_w1_is_what_chance_gives() -> None:
    random = np.random.default_rng(0)
    edges = np.linspace(0, 1, 21)
    shares = np.full(20, 0.05)
    found = [w1(Histogram(edges, random.multinomial(200, shares) / 200), Histogram(edges, shares)) for _ in range(2000)]
    assert np.mean(found) == pytest.approx(w1_by_chance(shares, edges, 200, 1e12), rel=0.1)


def test_total_variation_of_different_texts_is_one() -> None:
    assert total_variation(np.array([50.0, 0.0]), 50, np.array([0.0, 50.0]), 50) == pytest.approx(1.0, abs=0.1)
    assert total_variation(np.array([25.0, 25.0]), 50, np.array([500.0, 500.0]), 1000) == 0.0
