"""Intervals over blocks: how often they hold the truth, and when there is none."""

import math
from functools import cache

import numpy as np
import pytest

from skylane.statistics.performance import ClassificationSums, Interval, RegressionSums, block_interval, metric_names


def _blocks(generator: np.random.Generator, count: int, *, memory: float = 0.0) -> list[ClassificationSums]:
    """Blocks of 40 rows that share a day's luck: the chance of class 1 is the score's, shifted by the day."""
    luck, made = 0.0, []
    for _ in range(count):
        luck = memory * luck + math.sqrt(1 - memory**2) * float(generator.normal())
        scores = generator.beta(2, 5, 40)
        odds = np.log(scores / (1 - scores)) + luck
        made.append(ClassificationSums.of((generator.random(40) < 1 / (1 + np.exp(-odds))).astype(np.int64), scores))
    return made


@cache
def _world(memory: float) -> list[ClassificationSums]:
    return _blocks(np.random.default_rng(7), 1500, memory=memory)


def _coverage(metric: str, *, memory: float = 0.0, count: int = 30, repeats: int = 200) -> float:
    generator, world = np.random.default_rng(8), _world(memory)
    truth = block_interval(world, metric, generator, replicates=2).estimate
    found = []
    for _ in range(repeats):
        start = int(generator.integers(0, len(world) - count))
        drawn = range(start, start + count) if memory else generator.integers(0, len(world), count).tolist()
        found.append(block_interval([world[i] for i in drawn], metric, generator, replicates=399))
    return float(
        np.mean([each.low is not None and each.high is not None and each.low <= truth <= each.high for each in found])
    )


@pytest.mark.parametrize("metric", ["log_loss", "brier", "accuracy", "calibration", "positive_share", "skill"])
def test_the_interval_over_thirty_blocks_holds_the_truth_as_often_as_it_says(metric: str) -> None:
    """200 draws tell a coverage of 0.95 to ± 0.03."""
    assert 0.92 <= _coverage(metric) <= 0.98


def test_neighbouring_blocks_that_are_alike_widen_the_interval() -> None:
    """For independent blocks the interval would hold the truth in three of four draws."""
    assert _coverage("log_loss", memory=0.5) >= 0.88


@pytest.mark.parametrize(
    ("count", "shown"),
    [pytest.param(13, False, id="13 blocks have no interval"), pytest.param(14, True, id="14 blocks have one")],
)
def test_fewer_than_fourteen_blocks_have_no_interval(count: int, shown: bool) -> None:
    generator = np.random.default_rng(9)
    for metric in metric_names(_blocks(generator, 1)[0]):
        found = block_interval(_blocks(generator, count), metric, generator)
        assert math.isfinite(found.estimate)
        assert (found.low is not None) is (found.high is not None) is shown
        assert found.reason == (None if shown else "an interval needs 14 blocks with labels, and there are 13")


def test_rows_that_share_a_day_count_as_fewer() -> None:
    generator = np.random.default_rng(10)
    together = block_interval(_blocks(generator, 200), "brier", generator)
    labels, scores = (generator.random(8000) < 0.3).astype(np.int64), np.full(8000, 0.3)
    apart = [ClassificationSums.of(labels[i::200], scores[i::200]) for i in range(200)]
    alone = block_interval(apart, "brier", generator)
    assert together.effective_rows is not None
    assert alone.effective_rows is not None
    assert together.effective_rows < 0.5 * together.rows
    assert alone.effective_rows == pytest.approx(8000, rel=0.25)


def test_the_same_chance_gives_the_same_interval() -> None:
    blocks = _blocks(np.random.default_rng(11), 20)
    first, second = (block_interval(blocks, "auc", np.random.default_rng(1)) for _ in range(2))
    assert first == second


@pytest.mark.parametrize("metric", ["mae", "rmse", "bias"])
def test_a_regression_has_intervals_too(metric: str) -> None:
    generator = np.random.default_rng(12)
    blocks = [RegressionSums.of(np.zeros(30), generator.normal(generator.normal(), 1, 30)) for _ in range(40)]
    found = block_interval(blocks, metric, generator)
    assert found.low is not None
    assert found.high is not None
    assert found.low < found.estimate < found.high


NONE = Interval(math.nan, None, None, 0.95, 0, 0, None, "no label has come yet")


@pytest.mark.parametrize(
    ("blocks", "metric", "reason"),
    [
        pytest.param([], "auc", "no label has come yet", id="no block"),
        pytest.param(
            [ClassificationSums.of(np.zeros(3, np.int64), np.array([0.1, 0.2, 0.3]))] * 20,
            "auc", "one of the classes has not come yet", id="one class alone has no AUC",
        ),
    ],
)  # fmt: skip
def test_says_why_there_is_none(blocks: list[ClassificationSums], metric: str, reason: str) -> None:
    found = block_interval(blocks, metric, np.random.default_rng(0))
    assert (found.low, found.high, found.reason) == (None, None, reason)


def test_refuses_a_metric_that_it_does_not_know() -> None:
    with pytest.raises(ValueError, match="expected a metric of mae, rmse, bias"):
        block_interval([RegressionSums.of(np.zeros(1), np.ones(1))], "auc", np.random.default_rng(0))
