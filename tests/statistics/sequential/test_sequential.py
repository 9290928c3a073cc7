"""Tests that may be watched: they hardly ever decide without a difference, and soon with one."""

import math
from collections.abc import Callable
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skylane.statistics.sequential import MeanTest, Verdict, mean_test, plan, rate_test, ratio_test
from skylane.statistics.sequential.block_means import BLOCKS_MIN
from skylane.statistics.sequential.plan import arms_deviation

Draw = Callable[[np.random.Generator, int], "np.ndarray[tuple[int], np.dtype[np.float64]]"]

blocks = st.lists(st.floats(-1e3, 1e3).map(lambda value: round(value, 3)), min_size=2, max_size=40)


def first_decision(values: "np.ndarray[tuple[int], np.dtype[np.float64]]", looks: int) -> tuple[int, Verdict] | None:
    for count in range(2, looks + 1):
        test = mean_test(values[:count])
        if test.verdict is not Verdict.OPEN:
            return count, test.verdict
    return None


def share_of_decisions(draw: Draw, runs: int, looks: int, seed: int = 1) -> float:
    generator = np.random.default_rng(seed)
    return sum(first_decision(draw(generator, looks), looks) is not None for _ in range(runs)) / runs


def normal(generator: np.random.Generator, count: int) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    return generator.normal(size=count)


def heavy(generator: np.random.Generator, count: int) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    return generator.standard_t(3, size=count)


def alike(generator: np.random.Generator, count: int) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    """Neighbours with a correlation of 0.3."""
    noise, values = generator.normal(size=count + 30), np.zeros(count + 30)
    for place in range(1, count + 30):
        values[place] = 0.3 * values[place - 1] + noise[place]
    return values[30:]


class TestMeans:
    @pytest.mark.parametrize("draw", [normal, heavy, alike])
    def test_a_look_after_every_block_decides_rarely_without_a_difference(self, draw: Draw) -> None:
        assert share_of_decisions(draw, runs=200, looks=60) <= 0.05

    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("draw", "most"), [pytest.param(normal, 0.05, id="normal"), pytest.param(heavy, 0.05, id="heavy tails")]
    )
    def test_nor_do_looks_at_a_thousand_years(self, draw: Draw, most: float) -> None:
        assert share_of_decisions(draw, runs=1000, looks=365) <= most

    def test_a_z_test_that_is_watched_decides_often(self) -> None:
        generator, wrong = np.random.default_rng(1), 0
        for _ in range(200):
            values = normal(generator, 60)
            wrong += any(
                not test.naive_low <= 0 <= test.naive_high for test in (mean_test(values[:n]) for n in range(2, 61))
            )
        assert wrong / 200 > 0.2

    def test_a_difference_of_one_standard_deviation_is_found_within_three_weeks(self) -> None:
        generator = np.random.default_rng(2)
        decisions = [first_decision(generator.normal(-1, 1, 60), 60) for _ in range(100)]
        assert all(decision is not None and decision[1] is Verdict.LOWER for decision in decisions)
        assert np.median([decision[0] for decision in decisions if decision]) <= 21

    def test_the_sequence_of_intervals_holds_the_mean_all_the_time(self) -> None:
        generator, missed = np.random.default_rng(3), 0
        for _ in range(200):
            values = generator.normal(5, 2, 60)
            missed += any(not test.low <= 5 <= test.high for test in (mean_test(values[:n]) for n in range(2, 61)))
        assert missed / 200 <= 0.05

    @given(blocks)
    def test_it_decides_exactly_when_zero_leaves_the_interval(self, values: list[float]) -> None:
        test = mean_test(values, blocks_min=2)
        if abs(test.e_value * test.alpha - 1) > 1e-6:
            assert (test.verdict is not Verdict.OPEN) == (not test.low <= 0 <= test.high)

    @given(blocks, st.floats(1e-3, 1e3))
    def test_units_do_not_matter(self, values: list[float], unit: float) -> None:
        one, other = mean_test(values), mean_test([value * unit for value in values])
        assert other.e_value == pytest.approx(one.e_value, rel=1e-6)
        assert other.verdict is one.verdict

    @given(blocks)
    def test_the_order_of_two_models_turns_the_sign_alone(self, values: list[float]) -> None:
        one, other = mean_test(values), mean_test([-value for value in values])
        assert other.e_value == pytest.approx(one.e_value, rel=1e-9)
        assert (other.low, other.high) == pytest.approx((-one.high, -one.low))

    @pytest.mark.parametrize(
        ("values", "reason"),
        [
            pytest.param([], f"0 of at least {BLOCKS_MIN} blocks", id="no block"),
            pytest.param([3.0], f"1 of at least {BLOCKS_MIN} blocks", id="one block"),
            pytest.param([3.0, 3.1, 2.9], f"3 of at least {BLOCKS_MIN} blocks", id="too few, however clear they are"),
            pytest.param([0.0] * 20, "all blocks are exactly zero: the two answer alike", id="a model beside itself"),
            pytest.param([2.0] * 20, "all 20 blocks are exactly 2", id="blocks that do not vary"),
            pytest.param([1.0, -1.0] * 10, "after 20 blocks both signs are possible", id="no difference"),
        ],
    )
    def test_what_is_open_says_why(self, values: list[float], reason: str) -> None:
        test = mean_test(values)
        assert test.verdict is Verdict.OPEN
        assert test.reason is not None
        assert test.reason.startswith(reason)

    def test_blocks_that_are_alike_count_for_less(self) -> None:
        generator = np.random.default_rng(4)
        test: MeanTest = mean_test(np.repeat(generator.normal(size=30), 3))
        assert test.effective_blocks < 45

    @pytest.mark.parametrize("value", [math.nan, math.inf])
    def test_a_block_that_is_no_number_is_refused(self, value: float) -> None:
        with pytest.raises(ValueError, match="blocks: expected finite numbers"):
            mean_test([1.0, value])


class TestCounts:
    @pytest.mark.parametrize("shares", [(0.5, 0.5), (0.95, 0.05), (0.2, 0.3, 0.5)])
    def test_the_evidence_is_fair_while_the_shares_hold(self, shares: tuple[float, ...]) -> None:
        total, expectation = 12, 0.0
        for counts in product(range(total + 1), repeat=len(shares)):
            if sum(counts) == total:
                ways = math.factorial(total) / math.prod(map(math.factorial, counts))
                chance = ways * math.prod(share**count for share, count in zip(shares, counts, strict=True))
                expectation += chance * ratio_test(counts, shares).e_value
        assert expectation == pytest.approx(1, rel=1e-9)

    def test_a_split_of_53_to_47_is_found_within_a_few_thousand(self) -> None:
        generator = np.random.default_rng(5)
        found = []
        for _ in range(50):
            first = np.cumsum(generator.random(20_000) < 0.53)
            looks = range(100, 20_001, 100)
            found.append(
                next(n for n in looks if ratio_test([int(first[n - 1]), n - int(first[n - 1])], (0.5, 0.5)).is_mismatch)
            )
        assert np.median(found) <= 6000

    def test_a_correct_split_that_is_watched_is_left_alone(self) -> None:
        generator, wrong = np.random.default_rng(6), 0
        for _ in range(200):
            first = np.cumsum(generator.random(5000) < 0.05)
            wrong += any(
                ratio_test([int(first[n - 1]), n - int(first[n - 1])], (0.05, 0.95)).is_mismatch
                for n in range(50, 5001, 50)
            )
        assert wrong <= 1

    @pytest.mark.parametrize(
        ("counts", "shares", "message"),
        [
            pytest.param([1], [1.0], "one for each of two shares or more", id="one arm"),
            pytest.param([1, 2], [0.5, 0.4], "add up to 1", id="shares that do not add up"),
            pytest.param([1, 2], [1.0, 0.0], "positive numbers", id="a share of nothing"),
            pytest.param([1, -2], [0.5, 0.5], "0 or more", id="a negative count"),
        ],
    )
    def test_what_cannot_be_is_refused(self, counts: list[int], shares: list[float], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            ratio_test(counts, shares)


class TestRates:
    @pytest.mark.parametrize("bound", [0.001, 0.05, 0.5, 0.99])
    def test_the_evidence_is_fair_at_the_bound_and_less_below(self, bound: float) -> None:
        def expectation(rate: float, trials: int = 30) -> float:
            return sum(
                math.comb(trials, k) * rate**k * (1 - rate) ** (trials - k) * rate_test(k, trials, bound).e_value
                for k in range(trials + 1)
            )

        assert expectation(bound) == pytest.approx(1, rel=1e-9)
        assert expectation(bound / 2) < 1

    def test_a_canary_that_answers_nothing_but_faults_is_found_within_a_few_rows(self) -> None:
        assert next(n for n in range(1, 100) if rate_test(n, n, 0.01).is_above) <= 4

    def test_a_rate_of_five_times_the_bound_is_found(self) -> None:
        assert rate_test(50, 1000, 0.01).is_above
        assert not rate_test(10, 1000, 0.01).is_above

    @pytest.mark.parametrize(("events", "trials", "bound"), [(2, 1, 0.1), (-1, 1, 0.1), (0, 1, 0.0), (0, 1, 1.0)])
    def test_what_cannot_be_is_refused(self, events: int, trials: int, bound: float) -> None:
        with pytest.raises(ValueError, match="expected"):
            rate_test(events, trials, bound)


class TestPlan:
    def test_a_larger_effect_takes_fewer_blocks(self) -> None:
        small, large = (plan(effect, 1.0, np.random.default_rng(0)) for effect in (0.5, 1.0))
        assert small.blocks is not None
        assert large.blocks is not None
        assert large.blocks < small.blocks

    def test_an_effect_that_is_too_small_is_never_found(self) -> None:
        assert plan(0.001, 1.0, np.random.default_rng(0), blocks_max=60).blocks is None

    def test_a_canary_of_a_twentieth_is_less_sure_than_halves(self) -> None:
        halves, canary = (arms_deviation(1.0, 0.0, 2000, share) for share in (0.5, 0.05))
        assert canary / halves == pytest.approx(math.sqrt((1 / 0.05 + 1 / 0.95) / 4))
