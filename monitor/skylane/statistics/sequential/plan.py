"""How long an experiment takes, before it begins: by simulation of the test that will be used."""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from skylane.statistics.sequential.block_means import ALPHA, BLOCKS_MIN, Verdict, mean_test

POWER: Final = 0.8
SIMULATIONS: Final = 400
BLOCKS_MAX: Final = 730


@dataclass(frozen=True)
class Plan:
    """Blocks until a difference is found."""

    effect: float
    standard_deviation: float
    """Of a block's difference."""
    median_blocks: float | None
    """Half of the experiments have decided by then; None if they have not after the longest that was simulated."""
    blocks: float | None
    """A share of `power` has decided by then."""
    power: float


def plan(
    effect: float,
    standard_deviation: float,
    generator: np.random.Generator,
    *,
    alpha: float = ALPHA,
    power: float = POWER,
    blocks_min: int = BLOCKS_MIN,
    blocks_max: int = BLOCKS_MAX,
) -> Plan:
    """How many blocks `mean_test` needs for a true mean of `effect`, where a block's difference varies so much.

    Raises ValueError for a standard deviation that is not positive.
    """
    if not standard_deviation > 0:
        raise ValueError(f"standard deviation: expected more than 0, received {standard_deviation}")
    decided = sorted(
        _decision(effect, standard_deviation, generator, alpha, blocks_min, blocks_max) for _ in range(SIMULATIONS)
    )
    return Plan(effect, standard_deviation, _quantile(decided, 0.5), _quantile(decided, power), power)


def arms_deviation(row_deviation: float, shared_deviation: float, rows: int, share: float) -> float:
    """Standard deviation of a block's difference between two arms, of which one gets this share of a block's rows.

    `row_deviation`: of a row's loss within a block. `shared_deviation`: of what a block does to the difference itself.
    """
    if not 0 < share < 1:
        raise ValueError(f"share: expected more than 0 and less than 1, received {share}")
    arm, rest = max(rows * share, 1.0), max(rows * (1 - share), 1.0)
    return math.sqrt(row_deviation**2 * (1 / arm + 1 / rest) + shared_deviation**2)


def _decision(
    effect: float, deviation: float, generator: np.random.Generator, alpha: float, blocks_min: int, blocks_max: int
) -> float:
    """The block after which one simulated experiment decides; infinite if it does not."""
    values = generator.normal(effect, deviation, blocks_max)
    for count in _looks(blocks_min, blocks_max):
        test = mean_test(values[:count], alpha=alpha, blocks_min=blocks_min)
        if test.verdict is not Verdict.OPEN:
            return count
    return math.inf


def _looks(first: int, last: int) -> list[int]:
    """After every block at first, then a twentieth further each time: a plan needs no more."""
    looks, count = [], first
    while count < last:
        looks.append(count)
        count += max(1, count // 20)
    return [*looks, last]


def _quantile(decided: list[float], share: float) -> float | None:
    value = decided[min(len(decided) - 1, math.ceil(share * len(decided)) - 1)]
    return None if math.isinf(value) else value
