"""Sums that no order and no grouping can change."""

from fractions import Fraction

import numpy as np
import pytest

from skylane.statistics.performance.exact_sums import FRACTION_BITS, as_float, exact_sum, exact_sums


@pytest.mark.parametrize(
    "numbers",
    [
        pytest.param([], id="no number"),
        pytest.param([0.1] * 10, id="a number that binary has no end for"),
        pytest.param([1e15, 1.0, -1e15], id="large numbers that cancel"),
        pytest.param([-0.3, -2.5e-7, 4e11], id="numbers below zero"),
        pytest.param([2.0**200, -(2.0**200), 0.5], id="numbers far beyond 64 bits"),
    ],
)
def test_is_the_sum_of_each_number_rounded_to_the_unit(numbers: list[float]) -> None:
    expected = sum(round(Fraction(number) * 2**FRACTION_BITS) for number in numbers)
    assert exact_sum(np.array(numbers, np.float64)) == expected
    assert as_float(expected) == expected / 2**FRACTION_BITS


def test_any_order_and_split_gives_the_same_sum() -> None:
    generator = np.random.default_rng(7)
    numbers = generator.normal(size=1000) * 10.0 ** generator.integers(-8, 9, 1000)
    whole = exact_sum(numbers)
    for _ in range(20):
        parts = np.array_split(generator.permutation(numbers), generator.integers(1, 9))
        assert sum(exact_sum(part) for part in parts) == whole


def test_bins_have_sums_of_their_own() -> None:
    assert exact_sums(np.array([1.0, 2.0, 4.0]), np.array([2, 0, 2]), 3, bits=0) == [2, 0, 5]


@pytest.mark.parametrize("number", [np.nan, np.inf, -(2.0**256)])
def test_refuses_what_has_no_sum(number: float) -> None:
    with pytest.raises(ValueError, match="expected finite numbers"):
        exact_sum(np.array([1.0, number]))
