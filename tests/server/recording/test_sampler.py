"""Which batches are recorded: sums of weighted rows are right on average, exactly, and the budget holds."""

import random
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skylane.server.recording.sampler import Sampler

Arrivals = Sequence[tuple[int, float]]
"""Rows of a unit, and seconds since the one before."""


def expected_weight(budget: float, arrivals: Arrivals) -> float:
    """The mean of the weighted rows over everything that chance can do."""
    return sum(_share(budget, arrivals, f"{path:0{len(arrivals)}b}") for path in range(2 ** len(arrivals)))


def _share(budget: float, arrivals: Arrivals, choices: str) -> float:
    """Weighted rows if chance chooses so ("1" for recorded), times how probable that is."""
    answers: list[float] = []
    sampler = Sampler(budget, lambda: answers.pop())
    now, weight, probable = 0.0, 0.0, 1.0
    for (rows, after_s), choice in zip(arrivals, choices, strict=True):
        now += after_s
        answers[:] = [0.0 if choice == "1" else 1.0 - 1e-16]
        probability = sampler.choose(rows, now)
        if answers:  # chance was not asked: it is recorded for certain
            if choice == "0":
                return 0.0
        elif choice == "1":
            probable *= probability
        else:
            probable *= 1 - sampler.probability  # it does not change when nothing is recorded
        weight += rows / probability if probability else 0.0
    return probable * weight


@given(
    st.floats(1, 200),
    st.lists(st.tuples(st.integers(1, 300), st.sampled_from([0.0, 0.3, 1.0, 5.0])), min_size=1, max_size=8),
)
def test_weighted_rows_are_the_rows_that_came_on_average(budget: float, arrivals: Arrivals) -> None:
    assert expected_weight(budget, arrivals) == pytest.approx(sum(rows for rows, _ in arrivals), rel=1e-9)


def kept(budget: float, rows_per_second: int, seconds: int, batch: int = 40) -> list[int]:
    """Rows that are recorded in each second of even traffic."""
    sampler, counts = Sampler(budget, random.Random(1).random), []
    for second in range(seconds):
        before = sampler.chosen
        for place in range(rows_per_second // batch):
            sampler.choose(batch, second + place * batch / rows_per_second)
        counts.append(sampler.chosen - before)
    return counts


def test_everything_is_recorded_below_the_budget() -> None:
    assert kept(2000, 1000, 5) == [1000] * 5


def test_the_budget_is_kept_from_the_second_second_on() -> None:
    _, *later = kept(2000, 40_000, 40)
    assert 1400 < sum(later) / len(later) < 2200
    assert max(later) < 2 * 2000 + 40


def test_a_sudden_rise_exceeds_it_by_a_logarithm_alone() -> None:
    assert kept(2000, 200_000, 1)[0] < 8 * 2000


def test_the_probability_never_is_0() -> None:
    sampler = Sampler(1, lambda: 0.0)
    for _ in range(200):
        assert sampler.choose(10_000, 0.0) > 0


def test_rows_that_share_an_answer_are_of_the_unit_whose_answer_it_is() -> None:
    sampler = Sampler(100, lambda: 0.0)
    assert sampler.choose(50, 0.0) == 1.0
    sampler.add(60, chosen=True)
    assert (sampler.seen, sampler.chosen, sampler.probability) == (110, 110, 0.5)
    sampler.add(5, chosen=False)
    assert (sampler.seen, sampler.chosen) == (115, 110)


def test_a_quiet_time_brings_everything_back() -> None:
    sampler = Sampler(10, lambda: 0.999)
    sampler.choose(1000, 0.0)
    assert sampler.choose(1, 0.5) == 0.0
    assert sampler.choose(1, 200.0) == 1.0
