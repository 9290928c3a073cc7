"""The whole engine from one seed: see skylane.bench.fuzz.engine."""

from collections import Counter

import pytest

from skylane.bench.fuzz.engine import World, check
from skylane.v1.prediction_pb2 import PredictResponse


@pytest.mark.parametrize("seed", range(12))
def test_every_call_ends_once_and_right(seed: int) -> None:
    world = World(seed)
    world.play()
    check(world, seed)


def test_the_simulation_visits_every_way_to_end() -> None:
    """Otherwise the law above would prove little."""
    seen: Counter[str] = Counter()
    for seed in range(5):
        world = World(seed)
        world.play()
        for sent in world.sent:
            (outcome,) = sent.outcomes
            cached = isinstance(outcome, PredictResponse) and outcome.cached
            seen["kept or shared" if cached else type(outcome).__name__] += 1
    expected = (
        "PredictResponse",
        "DeadlineExpired",
        "CallCancelled",
        "ModelFailed",
        "ModelNotFound",
        "Overloaded",
        "ShuttingDown",
        "kept or shared",
    )
    assert min(seen[name] for name in expected) >= 5, seen


def test_one_seed_is_one_story() -> None:
    stories = []
    for _ in range(2):
        world = World(3)
        world.play()
        stories.append([(sent.ended_at, str(sent.outcomes)) for sent in world.sent])
    assert stories[0] == stories[1]
