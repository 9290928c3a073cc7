"""When one run may be called better than another."""

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skylane.bench.lab.scenarios.verdicts import CHANCE_MAX, NOT_SHOWN, Kind, chance, verdict

ROUNDS = st.lists(st.floats(0.01, 1e6), min_size=1, max_size=7)
KINDS = st.sampled_from(("time", "cost", "rate", "size"))


@pytest.mark.parametrize(
    ("now", "before", "kind", "machine", "word", "why"),
    [
        pytest.param([8, 9, 8, 9], [10, 11, 12, 10], "time", 1.0, "faster", "", id="every round took less"),
        pytest.param([8, 9, 8, 9], [10, 11, 12, 10], "rate", 1.0, "slower", "", id="every round answered less"),
        pytest.param([8, 9, 8, 9], [10, 11, 12, 10], "cost", 1.0, "cheaper", "", id="every round used less"),
        pytest.param([8, 9, 8, 9], [10, 11, 12, 10], "size", 1.0, "smaller", "", id="every round held less"),
        pytest.param([12, 13, 14, 12], [10, 11, 11, 10], "time", 1.0, "slower", "", id="every round took more"),
        pytest.param([8, 9, 8, 10], [10, 11, 12, 10], "time", 1.0, NOT_SHOWN, "overlap", id="one round was no better"),
        pytest.param([5, 5, 5, 50], [10, 11, 12, 10], "time", 1.0, NOT_SHOWN, "overlap", id="twice as fast, mostly"),
        pytest.param([1, 1, 1], [9, 9, 9], "time", 1.0, NOT_SHOWN, "by chance", id="three rounds each are too few"),
        pytest.param([1], [9], "time", 1.0, NOT_SHOWN, "by chance", id="one round each proves nothing"),
        pytest.param([8] * 4, [10] * 4, "time", 1.3, NOT_SHOWN, "30 % faster", id="the machine was faster by as much"),
        pytest.param([8] * 4, [10] * 4, "time", 1.1, "faster", "", id="the machine was faster, but not by as much"),
        pytest.param([8] * 4, [10] * 4, "time", 0.7, "faster", "", id="faster on a slower machine"),
        pytest.param([12] * 4, [10] * 4, "rate", 1.3, NOT_SHOWN, "30 % faster", id="a rate rises with the machine"),
        pytest.param([8] * 4, [10] * 4, "rate", 0.7, NOT_SHOWN, "30 % slower", id="a rate falls with the machine"),
        pytest.param([8] * 4, [10] * 4, "size", 1.3, "smaller", "", id="memory is no less on a faster machine"),
        pytest.param([10] * 4, [10] * 4, "time", 1.0, NOT_SHOWN, "overlap", id="equal"),
        pytest.param(
            [10.2] * 4, [10] * 4, "size", 1.0, NOT_SHOWN, "3.0 % apart", id="apart, but by nothing that counts"
        ),
    ],
)
def test_verdict(now: list[float], before: list[float], kind: Kind, machine: float, word: str, why: str) -> None:
    found = verdict(now, before, kind, machine)
    assert found.word == word
    assert (why in found.why) if why else not found.why
    assert (found.better is None) == (word == NOT_SHOWN)


@given(now=ROUNDS, before=ROUNDS, kind=KINDS, machine=st.floats(0.3, 3))
def test_the_other_way_round_it_is_the_opposite(
    now: list[float], before: list[float], kind: Kind, machine: float
) -> None:
    there, back = verdict(now, before, kind, machine), verdict(before, now, kind, 1 / machine)
    assert back.better is (None if there.better is None else not there.better)
    assert back.ratio.median == pytest.approx(1 / there.ratio.median)


@given(rounds=ROUNDS, kind=KINDS, machine=st.floats(0.3, 3))
def test_nothing_is_better_than_itself(rounds: list[float], kind: Kind, machine: float) -> None:
    assert verdict(rounds, rounds, kind, machine).word == NOT_SHOWN


@given(now=ROUNDS, before=ROUNDS, kind=KINDS)
def test_the_ratio_lies_in_its_spread(now: list[float], before: list[float], kind: Kind) -> None:
    ratio = verdict(now, before, kind).ratio
    assert ratio.low <= ratio.median * (1 + 1e-9)
    assert ratio.median <= ratio.high * (1 + 1e-9)


@pytest.mark.parametrize(("now", "before"), [(1, 1), (2, 3), (3, 3), (4, 4), (3, 5)])
def test_chance_is_that_of_every_order_being_as_likely(now: int, before: int) -> None:
    orders = list(combinations(range(now + before), now))
    apart = [ranks for ranks in orders if max(ranks) < now or min(ranks) >= before]
    assert chance(now, before) == min(1.0, len(apart) / len(orders))


def test_the_default_number_of_rounds_can_show_something() -> None:
    assert chance(4, 4) <= CHANCE_MAX < chance(3, 3)


@pytest.mark.parametrize(("now", "before"), [([], [1.0]), ([1.0], []), ([0.0], [1.0])])
def test_nothing_to_compare(now: list[float], before: list[float]) -> None:
    with pytest.raises(ValueError, match="above 0"):
        verdict(now, before, "time")
