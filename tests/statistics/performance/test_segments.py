"""The segments that do worst, and how seldom luck puts one there."""

import numpy as np
import pytest

from skylane.statistics.performance import ClassificationSums, worst_segments


def _segments(
    generator: np.random.Generator, count: int, blocks: int, harm: float = 0.0
) -> dict[str, dict[int, ClassificationSums]]:
    """Segments over the same days; in `s0` outcomes are likelier than the score says, by `harm` in log-odds."""
    luck = generator.normal(0, 0.7, blocks)
    made: dict[str, dict[int, ClassificationSums]] = {}
    for segment in range(count):
        made[f"s{segment}"] = {}
        for block in range(blocks):
            scores = generator.beta(2, 5, 25)
            odds = np.log(scores / (1 - scores)) + luck[block] + (harm if segment == 0 else 0.0)
            labels = (generator.random(25) < 1 / (1 + np.exp(-odds))).astype(np.int64)
            made[f"s{segment}"][block] = ClassificationSums.of(labels, scores)
    return made


@pytest.mark.parametrize("metric", ["log_loss", "brier", "accuracy"])
def test_a_segment_that_is_worse_is_named_first(metric: str) -> None:
    worst = worst_segments(_segments(np.random.default_rng(40), 8, 30, harm=1.5), metric)
    assert worst[0].name == "s0"
    assert worst[0].worse
    assert worst[0].worse_by > 0
    assert worst[0].share == pytest.approx(1 / 8)
    assert not any(each.worse for each in worst[1:])


def test_luck_seldom_makes_any_segment_look_worse() -> None:
    """At most one set of segments in twenty may have one that looks worse; here none of twelve has."""
    generator = np.random.default_rng(41)
    sets = [worst_segments(_segments(generator, 8, 16), "log_loss") for _ in range(12)]
    assert sum(any(each.worse for each in found) for found in sets) == 0


def test_few_blocks_come_last_and_say_why() -> None:
    segments = _segments(np.random.default_rng(42), 3, 20, harm=3.0)
    segments["s0"] = {block: segments["s0"][block] for block in range(5)}
    found = worst_segments(segments, "log_loss")
    assert found[-1].name == "s0"
    assert found[-1].reason == "an interval needs 14 blocks with labels, and there are 5"


def test_one_segment_alone_has_nothing_to_be_compared_with() -> None:
    assert worst_segments(_segments(np.random.default_rng(43), 1, 20), "log_loss") == []
