"""The arithmetic of measurements, as tables and laws."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skylane.bench.figures import Spread, percentile, ratios, spread, verdict


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [
        pytest.param([7], 0.999, 7, id="one value is every percentile"),
        pytest.param([1, 2, 3, 4], 0.5, 2, id="half of them do not exceed it"),
        pytest.param([4, 1, 3, 2], 0.5, 2, id="whatever their order"),
        pytest.param(list(range(1, 101)), 0.99, 99, id="99 of 100"),
        pytest.param(list(range(1, 101)), 0.999, 100, id="too few for the tail: the greatest, not an invention"),
        pytest.param([1, 2, 3], 0.0, 1, id="none: the least"),
    ],
)
def test_percentile(values: list[int], share: float, expected: float) -> None:
    assert percentile(np.array(values), share) == expected


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=200), st.floats(0, 1))
def test_a_percentile_was_observed_and_enough_values_do_not_exceed_it(values: list[int], share: float) -> None:
    found = percentile(np.array(values), share)
    assert found in values
    assert sum(value <= found for value in values) >= share * len(values) - 1e-6
    assert sum(value < found for value in values) <= share * len(values)


def test_no_values_have_no_percentile() -> None:
    with pytest.raises(ValueError, match="no values"):
        percentile(np.array([], np.int64), 0.5)


def test_no_values_have_no_spread() -> None:
    with pytest.raises(ValueError, match="no values"):
        spread([])


@given(st.lists(st.floats(0.1, 1e6), min_size=1, max_size=20))
def test_the_middle_lies_between_the_ends(values: list[float]) -> None:
    found = spread(values)
    assert found.low <= found.median <= found.high
    assert found.count == len(values)


@pytest.mark.parametrize(
    ("ours", "theirs", "expected"),
    [
        pytest.param([1, 4], [2, 2], [0.5, 2.0], id="each round by itself"),
        pytest.param([1, 4], [0, 2], [2.0], id="a divisor of zero has no ratio"),
        pytest.param([], [], [], id="no rounds"),
    ],
)
def test_ratios(ours: list[float], theirs: list[float], expected: list[float]) -> None:
    assert ratios(ours, theirs) == expected


@given(st.lists(st.tuples(st.floats(1, 1e3), st.floats(1, 1e3), st.floats(0.1, 10)), min_size=1, max_size=9))
def test_what_slows_both_sides_of_a_round_changes_no_ratio(rounds: list[tuple[float, float, float]]) -> None:
    quiet = ratios([ours for ours, _, _ in rounds], [theirs for _, theirs, _ in rounds])
    busy = ratios([ours * by for ours, _, by in rounds], [theirs * by for _, theirs, by in rounds])
    assert busy == pytest.approx(quiet)


def test_rounds_that_do_not_pair_up_are_refused() -> None:
    with pytest.raises(ValueError, match="zip"):
        ratios([1.0], [1.0, 2.0])


@pytest.mark.parametrize(
    ("measured", "expected"),
    [
        pytest.param(Spread(0.5, 0.4, 0.9, 3), "yes", id="in every round"),
        pytest.param(Spread(0.9, 0.8, 1.1, 3), "mostly", id="in most rounds"),
        pytest.param(Spread(1.1, 0.9, 1.2, 3), "rarely", id="in few rounds"),
        pytest.param(Spread(1.5, 1.1, 2.0, 3), "no", id="in no round"),
        pytest.param(Spread(1.0, 1.0, 1.0, 3), "yes", id="the bound itself is met"),
    ],
)
def test_verdict(measured: Spread, expected: str) -> None:
    assert verdict(measured, at_most=1.0) == expected
