"""The search for the highest rate: laws against servers that are a curve with noise, and rules as tables."""

from collections.abc import Callable
from math import log
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skylane.bench.lab.capacity.search import SPOILT, Goal, Outcome, Step, Verdict, next_rate, outcome, tally

TARGET_MS = 20.0
SPOILT_BY = "late"
Server = Callable[[float], Outcome]
goals = st.builds(
    Goal,
    target_p99_ms=st.just(TARGET_MS),
    precision=st.sampled_from((0.02, 0.05, 0.2)),
    start_per_s=st.floats(0.1, 1e5),
    growth=st.sampled_from((1.25, 2.0)),
    rate_min_per_s=st.just(1.0),
    rate_max_per_s=st.floats(100, 1e5),
    votes=st.integers(1, 3),
    steps_max=st.just(300),
)


def step(rate: float, came: Outcome) -> Step:
    """A measurement with this outcome."""
    p99_us = {"kept": 1000.0, "broken": 1e6, "limited": 1000.0}[came]
    limited = SPOILT_BY if came == "limited" else ""
    return Step(
        rate_per_s=rate, seconds=1.0, sent=100, answered=100, refused=0, p50_us=1.0, p99_us=p99_us, limited=limited
    )


def search(server: Server, goal: Goal) -> tuple[Verdict, list[Step]]:
    """Until it ends."""
    steps = list[Step]()
    while isinstance(asked := next_rate(steps, goal), float):
        assert goal.rate_min_per_s <= asked <= goal.rate_max_per_s
        steps.append(step(asked, server(asked)))
    return asked, steps


@given(goals, st.floats(1.5, 99))
def test_without_noise_the_limit_lies_within_the_gap(goal: Goal, limit: float) -> None:
    verdict, _ = search(lambda rate: "kept" if rate <= limit else "broken", goal)
    assert verdict.kind == "capacity"
    assert verdict.rate_per_s is not None
    assert verdict.above_per_s is not None
    assert verdict.rate_per_s <= limit < verdict.above_per_s <= verdict.rate_per_s * (1 + goal.precision)


@given(goals, st.floats(2, 90))
def test_where_the_generator_is_the_limit_there_is_no_knee(goal: Goal, limit: float) -> None:
    verdict, _ = search(lambda rate: "kept" if rate <= limit else "limited", goal)
    assert verdict.kind == "at least"
    assert verdict.rate_per_s is not None
    assert verdict.rate_per_s <= limit


@given(goals)
def test_a_server_that_keeps_all_the_generator_can_send_sustains_at_least_that(goal: Goal) -> None:
    verdict, _ = search(lambda _: "kept", goal)
    assert verdict == Verdict(kind="at least", rate_per_s=goal.rate_max_per_s, above_per_s=None)


@pytest.mark.parametrize(("came", "kind"), [("broken", "none"), ("limited", "unknown")])
def test_a_server_that_keeps_nothing(came: Outcome, kind: str) -> None:
    verdict, _ = search(lambda _: came, Goal(target_p99_ms=TARGET_MS, start_per_s=4.0))
    assert verdict == Verdict(kind=kind, rate_per_s=None, above_per_s=1.0)  # type: ignore[arg-type]


@given(goals, st.randoms(use_true_random=False))
@settings(max_examples=300)
def test_every_search_ends_and_its_verdict_has_the_votes(goal: Goal, chance: Random) -> None:
    """Whatever comes, for example outcomes that have nothing to do with the rate."""
    verdict, steps = search(lambda _: chance.choice(("kept", "broken", "limited")), goal)
    assert len(steps) <= goal.steps_max
    votes = tally(steps, goal)
    if verdict.kind == "unsettled":
        assert len(steps) == goal.steps_max
        return
    if verdict.rate_per_s is not None:
        assert votes[verdict.rate_per_s]["kept"] >= goal.votes
        assert votes[verdict.rate_per_s]["kept"] > votes[verdict.rate_per_s]["broken"]
    if verdict.kind == "capacity":
        assert verdict.above_per_s is not None
        assert votes[verdict.above_per_s]["broken"] >= goal.doubts
        assert votes[verdict.above_per_s]["broken"] > votes[verdict.above_per_s]["kept"]
    if verdict.kind in ("at least", "unknown") and verdict.above_per_s is not None:
        assert votes[verdict.above_per_s]["limited"] >= SPOILT


@given(st.floats(50, 5000), st.integers(0, 2**32))
@settings(max_examples=200)
def test_a_queue_with_noise_is_found_within_its_noise(capacity: float, seed: int) -> None:
    """One server, equal service times: p99 of the waiting grows as 1 / (1 - load); each measurement errs by a fifth."""
    chance = Random(seed)

    def p99_ms(rate: float) -> float:
        service_ms, load = 1000 / capacity, rate / capacity
        if load >= 1:
            return 1e6
        return service_ms * (1 + load / (2 * (1 - load)) * log(100 * load + 1))

    target_ms = p99_ms(0.8 * capacity)
    goal = Goal(target_p99_ms=TARGET_MS, start_per_s=capacity / 10, steps_max=100)
    verdict, _ = search(lambda r: "kept" if p99_ms(r) * chance.lognormvariate(0, 0.2) <= target_ms else "broken", goal)
    assert verdict.kind == "capacity"
    assert verdict.rate_per_s is not None
    assert 0.5 * capacity < verdict.rate_per_s < capacity


@given(goals, st.floats(1.5, 99), st.integers(0, 20))
def test_one_pass_by_luck_is_outvoted(goal: Goal, limit: float, lucky: int) -> None:
    goal = _with_votes(goal, 2)
    asked = iter(range(10**6))
    verdict, _ = search(lambda rate: "kept" if rate <= limit or next(asked) == lucky else "broken", goal)
    assert verdict.rate_per_s is not None
    assert verdict.rate_per_s <= limit


@given(goals, st.floats(1.5, 99), st.integers(0, 30))
def test_one_disturbance_costs_no_more_than_measurements(goal: Goal, limit: float, disturbed: int) -> None:
    goal = _with_votes(goal, 2)
    asked = iter(range(10**6))
    verdict, _ = search(lambda rate: "broken" if rate > limit or next(asked) == disturbed else "kept", goal)
    assert verdict.kind == "capacity"
    assert verdict.rate_per_s is not None
    assert verdict.above_per_s is not None
    assert verdict.rate_per_s <= limit < verdict.above_per_s


@given(goals, st.floats(1.5, 99), st.sets(st.integers(0, 30), max_size=2))
def test_measurements_that_the_generator_spoilt_have_no_vote(goal: Goal, limit: float, spoilt: set[int]) -> None:
    asked = iter(range(10**6))
    verdict, _ = search(
        lambda rate: "limited" if next(asked) in spoilt else "kept" if rate <= limit else "broken", goal
    )
    assert verdict.kind == "capacity"
    assert verdict.rate_per_s is not None
    assert verdict.above_per_s is not None
    assert verdict.rate_per_s <= limit < verdict.above_per_s


@pytest.mark.parametrize(
    ("seen", "next_"),
    [
        pytest.param([], 100.0, id="nothing is known: the first rate"),
        pytest.param([(100, "kept")], 200.0, id="kept: higher"),
        pytest.param([(100, "broken")], 100.0, id="broken: the same again"),
        pytest.param([(100, "broken")] * 2, 25.0, id="broken twice: much lower"),
        pytest.param([(100, "broken")] * 2 + [(25, "broken")] * 2, 1.562, id="and lower still, in larger steps"),
        pytest.param([(100, "kept")] + [(200, "broken")] * 2, 141.4, id="between the two"),
        pytest.param([(100, "limited")], 100.0, id="spoilt: the same again"),
        pytest.param([(100, "kept"), (200, "broken"), (200, "kept")], 200.0, id="contradictory: the same again"),
        pytest.param([(100, "kept")] + [(104, "broken")] * 2, 100.0, id="narrow: is the lower one sure?"),
        pytest.param([(600, "kept")], 1000.0, id="never beyond what the generator can do"),
    ],
)
def test_next_rate(seen: list[tuple[float, Outcome]], next_: float) -> None:
    goal = Goal(target_p99_ms=TARGET_MS, rate_max_per_s=1000.0)
    assert next_rate([step(rate, came) for rate, came in seen], goal) == next_


@pytest.mark.parametrize(
    ("answered", "p99_us", "limited", "came"),
    [
        pytest.param(1000, 20_000.0, "", "kept", id="in time, to the microsecond"),
        pytest.param(1000, 20_001.0, "", "broken", id="too late"),
        pytest.param(999, 1.0, "", "kept", id="one of a thousand is refused"),
        pytest.param(998, 1.0, "", "broken", id="two of a thousand are"),
        pytest.param(1000, 1.0, "why", "limited", id="the generator was the limit, so nobody knows"),
        pytest.param(500, 1.0, "why", "broken", id="what the server refuses is its own, whatever the generator did"),
        pytest.param(0, None, "", "broken", id="no answer at all"),
    ],
)
def test_outcome(answered: int, p99_us: float | None, limited: str, came: Outcome) -> None:
    measured = Step(
        rate_per_s=1.0, seconds=1.0, sent=1000, answered=answered, refused=0, p50_us=p99_us, p99_us=p99_us,
        limited=limited,
    )  # fmt: skip
    assert outcome(measured, Goal(target_p99_ms=TARGET_MS)) == came


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param({"target_p99_ms": 0.0}, id="no time"),
        pytest.param({"target_p99_ms": 1.0, "growth": 1.0}, id="no growth"),
        pytest.param({"target_p99_ms": 1.0, "rate_min_per_s": 2.0, "rate_max_per_s": 1.0}, id="no rate"),
    ],
)
def test_goals_that_cannot_be_searched_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"rate|target"):
        Goal(**wrong)  # type: ignore[arg-type]


def _with_votes(goal: Goal, votes: int) -> Goal:
    return Goal(
        target_p99_ms=goal.target_p99_ms, precision=goal.precision, start_per_s=goal.start_per_s, growth=goal.growth,
        rate_max_per_s=goal.rate_max_per_s, votes=votes, steps_max=goal.steps_max,
    )  # fmt: skip
