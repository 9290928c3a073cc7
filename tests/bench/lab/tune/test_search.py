"""Which policies are measured, and which is called the best: none by luck, and none that is no better."""

from collections.abc import Callable
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skylane.bench.lab.capacity.search import Kind
from skylane.bench.lab.scenarios.verdicts import CHANCE_MAX, LEAST
from skylane.bench.lab.tune.policies import OWN, Candidate, Change, combined, singles
from skylane.bench.lab.tune.search import FINALISTS, LAST_ROUNDS, Result, Score, Stage, next_stage
from skylane.policy import Batching, Cache, Policy

TARGET_MS = 20.0
Rates = Callable[[Candidate], float]
CANDIDATES = singles(Policy(), TARGET_MS, 4, repeats=True)
chances = st.randoms(use_true_random=False)


def trials(
    rates: Rates, candidates: list[Candidate] = CANDIDATES, kind: Kind = "capacity", *, ceiling: bool = False
) -> tuple[Result, list[Stage]]:
    """Until its end: what each search finds is what `rates` says."""
    stages, played = list[Stage](), list[dict[Candidate, list[Score]]]()
    while isinstance(stage := next_stage(candidates, played), Stage):
        assert OWN in stage.candidates
        assert len(set(stage.candidates)) == len(stage.candidates) == len(stage.starts_per_s)
        stages.append(stage)
        found = {
            each: [Score(kind=kind, rate_per_s=rates(each), ceiling=ceiling) for _ in range(stage.rounds)]
            for each in stage.candidates
        }
        played.append(found)
    return stage, stages


@given(st.dictionaries(st.sampled_from(CANDIDATES), st.floats(10, 1000), min_size=1))
def test_without_noise_the_best_change_wins_or_a_combination_that_is_no_worse(known: dict[Candidate, float]) -> None:
    """What changes do together is the best of them."""

    def rate(candidate: Candidate) -> float:
        alone = [known.get(Candidate((change,)), 100.0) for change in candidate.changes]
        return max(alone, default=100.0)

    result, stages = trials(rate)
    best = max(map(rate, CANDIDATES))
    assert len(stages) == 3
    if best > 100 * (1 + LEAST):
        assert result.best is not None
        assert rate(result.best) == best
    else:
        assert result.best is None
        assert result.why


@given(st.lists(st.floats(1.05, 2), min_size=len(CANDIDATES), max_size=len(CANDIDATES)))
def test_changes_that_help_are_tried_together(factors: list[float]) -> None:
    gain = dict(zip(CANDIDATES, factors, strict=True))

    def rate(candidate: Candidate) -> float:
        found = 100.0
        for change in candidate.changes:
            found *= gain[Candidate((change,))]
        return found

    result, _ = trials(rate)
    assert result.best is not None
    assert len(result.best.changes) > 1
    assert rate(result.best) > max(map(rate, CANDIDATES))


@given(chances)
def test_the_last_heat_is_few_against_what_there_is_often_enough(chance: Random) -> None:
    _, stages = trials(lambda _: chance.uniform(50, 150))
    assert [stage.rounds for stage in stages] == [1, 1, LAST_ROUNDS]
    assert [len(stage.candidates) for stage in stages] == sorted(
        [len(stage.candidates) for stage in stages], reverse=True
    )
    assert len(stages[-1].candidates) == 1 + FINALISTS


@given(chances)
def test_what_is_called_better_won_every_one_of_the_last_searches(chance: Random) -> None:
    result, _ = trials(lambda _: chance.uniform(50, 150))
    if result.best is not None:
        assert result.ratio is not None
        assert result.ratio.low > 1 + LEAST
        assert result.ratio.count == LAST_ROUNDS


def test_equal_policies_are_seldom_called_better() -> None:
    """Two finalists, each with a chance of 1 in 64 to win all of six searches."""
    assert FINALISTS / 2**LAST_ROUNDS <= CHANCE_MAX
    chance = Random(1)
    called = sum(trials(lambda _: chance.uniform(50, 150))[0].best is not None for _ in range(500))
    assert called < 500 * CHANCE_MAX


@given(st.lists(st.floats(0.2, 1), min_size=LAST_ROUNDS, max_size=LAST_ROUNDS))
def test_what_disturbs_a_round_disturbs_both_sides_of_it(speeds: list[float]) -> None:
    """However far rounds lie apart: half as much more is better in each."""
    asked: dict[Candidate, int] = {}

    def rate(candidate: Candidate) -> float:
        asked[candidate] = asked.get(candidate, -1) + 1
        return (150.0 if candidate.changes else 100.0) * (1.0 if asked[candidate] < 2 else speeds[asked[candidate] - 2])

    result, _ = trials(rate, CANDIDATES[:1])
    assert result.best == CANDIDATES[0]


@pytest.mark.parametrize(
    ("kind", "ceiling", "stages", "why"),
    [
        pytest.param("at least", True, 1, "generator is the limit", id="what there is takes all that can be sent"),
        pytest.param("at least", False, 3, "generator is the limit", id="the generator spoilt what was above"),
        pytest.param("unsettled", False, 3, "not every search", id="measurements contradict each other"),
        pytest.param("unknown", False, 3, "not every search", id="the generator spoilt everything"),
    ],
)
def test_what_cannot_be_known_is_said(kind: Kind, ceiling: bool, stages: int, why: str) -> None:
    result, played = trials(lambda each: 100.0 + 50 * len(each.changes), kind=kind, ceiling=ceiling)
    assert len(played) == stages
    assert result.best is None
    assert why in result.why


def test_a_policy_under_which_a_rate_is_kept_beats_one_under_which_none_is() -> None:
    result, _ = trials(lambda candidate: 100.0 if candidate.changes else 0.0)
    assert result.best is not None
    assert result.own.median == 0


def test_with_nothing_to_try_there_is_nothing_better() -> None:
    result, _ = trials(lambda _: 100.0, [])
    assert result.best is None
    assert "nothing else to try" in result.why


@pytest.mark.parametrize(
    ("policy", "cores", "repeats", "names"),
    [
        pytest.param(
            Policy(), 1, False,
            ["max_batch_rows = 64", "max_batch_rows = 1024", "max_queue_delay_ms = 1", "max_queue_delay_ms = 4",
             "target_p99_ms = 20"],
            id="one core: neither instances nor threads",
        ),
        pytest.param(
            Policy(batching=Batching(instances=2, max_batch_rows=1, max_queue_delay_ms=4, target_p99_ms=20)), 3, False,
            ["instances = 1", "instances = 3", "max_batch_rows = 4", "max_queue_delay_ms = 0", "max_queue_delay_ms = 1",
             "intra_op_threads = 3"],
            id="never what there is already",
        ),
        pytest.param(
            Policy(batching=Batching(target_p99_ms=20, max_batch_rows=65_536), cache=Cache(enabled=True)), 1, True,
            ["max_batch_rows = 16384", "max_queue_delay_ms = 1", "max_queue_delay_ms = 4", "cache enabled = false",
             "cache max_mb = 16", "cache max_mb = 256"],
            id="the cache, where requests repeat as they do",
        ),
    ],
)  # fmt: skip
def test_singles(policy: Policy, cores: int, repeats: bool, names: list[str]) -> None:
    assert [each.name for each in singles(policy, TARGET_MS, cores, repeats=repeats)] == names


def test_combined_lets_the_better_one_set_a_key() -> None:
    rows, more, cores = (Change("batching", key, value) for key, value in (("a", 1), ("a", 2), ("b", 3)))
    assert combined([Candidate((more,)), Candidate((rows,)), Candidate((cores,))]) == Candidate((more, cores))
