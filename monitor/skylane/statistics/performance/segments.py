"""Where the model does worst: segments compared with the rest, guarded against the luck of many comparisons.

Among 100 segments without any difference, the worst looks bad by chance. So the intervals are simultaneous
(Bonferroni over the segments that were compared): the chance that any of them misses is at most 5 %.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from skylane.statistics.performance.block_metrics import Sums, metric_of
from skylane.statistics.performance.exact_sums import as_float
from skylane.statistics.performance.intervals import BLOCKS_MIN, influences, serial_widening
from skylane.statistics.performance.metrics import Floats
from skylane.statistics.performance.student import t_quantile
from skylane.statistics.performance.sums import ClassificationSums, RegressionSums

HIGHER_IS_BETTER: Final = frozenset({"accuracy", "auc", "skill"})


@dataclass(frozen=True)
class Segment:
    """One segment beside all other rows of the same blocks."""

    name: str
    rows: int
    share: float
    """Of all rows, by weight."""
    blocks: int
    value: float
    rest: float
    worse_by: float
    """Above 0: the segment is worse than the rest."""
    low: float | None
    """Simultaneous interval of `worse_by`; None with `reason`."""
    high: float | None
    reason: str | None

    @property
    def worse(self) -> bool:
        """Whether the segment is worse beyond the luck of all comparisons."""
        return self.low is not None and self.low > 0


def worst_segments(
    segments: Mapping[str, Mapping[int, Sums]], metric: str, *, level: float = 0.95, limit: int = 10
) -> list[Segment]:
    """The segments that do worst by `metric`, those that are worse beyond luck first, then by `worse_by`.

    `segments` maps a segment's name to its sums by block; together they are all rows, each in one segment (one
    column's values). A segment in fewer than 14 blocks is listed without an interval, after all others.
    """
    blocks = sorted({block for each in segments.values() for block in each})
    filled = {name: {key: sums for key, sums in each.items() if sums.rows} for name, each in segments.items()}
    filled = {name: each for name, each in filled.items() if each}
    compared = sum(len(each) >= BLOCKS_MIN for each in filled.values())
    if len(filled) < 2:
        return []
    all_weight = sum(as_float(sums.weight) for each in filled.values() for sums in each.values())
    everything, found = _merged(filled), []
    for name, mine in filled.items():
        others = _rest(everything, mine)
        found.append(_compared(name, mine, others, blocks, metric, 1 - (1 - level) / max(1, compared), all_weight))
    found.sort(
        key=lambda each: (
            each.low is None,
            not each.worse,
            -each.worse_by if math.isfinite(each.worse_by) else math.inf,
        )
    )
    return found[:limit]


def _compared(
    name: str,
    mine: Mapping[int, Sums],
    others: Mapping[int, Sums],
    blocks: list[int],
    metric: str,
    level: float,
    all_weight: float,
) -> Segment:
    sign = -1.0 if metric in HIGHER_IS_BETTER else 1.0
    value, pulls = _value_and_influences(mine, blocks, metric)
    rest, rest_pulls = _value_and_influences(others, blocks, metric)
    rows, weight = sum(sums.rows for sums in mine.values()), sum(as_float(sums.weight) for sums in mine.values())
    worse_by = sign * (value - rest)
    low, high, reason = None, None, None
    pulls = pulls - rest_pulls
    error = math.sqrt(float((pulls**2).sum()) * len(mine) / max(1, len(mine) - 1)) * serial_widening(pulls)
    if len(mine) < BLOCKS_MIN:
        reason = f"an interval needs {BLOCKS_MIN} blocks with labels, and there are {len(mine)}"
    elif not math.isfinite(worse_by) or not math.isfinite(error):
        reason = "one of the classes has not come yet"
    else:
        wide = t_quantile((1 + level) / 2, len(mine) - 1) * error
        low, high = worse_by - wide, worse_by + wide
    return Segment(name, rows, weight / all_weight, len(mine), value, rest, worse_by, low, high, reason)


def _value_and_influences(sums: Mapping[int, Sums], blocks: list[int], metric: str) -> tuple[float, Floats]:
    present = [block for block in blocks if block in sums]
    each = [sums[block] for block in present]
    measure = metric_of(each[0], metric)
    columns = measure.columns(each)
    pulls = np.zeros(len(blocks))
    pulls[np.searchsorted(blocks, present)] = influences(measure, columns)
    return float(measure.value(columns.sum(axis=0, keepdims=True))[0]), pulls


def _rest(everything: Mapping[int, Sums], mine: Mapping[int, Sums]) -> dict[int, Sums]:
    rest = {block: _without(sums, mine[block]) if block in mine else sums for block, sums in everything.items()}
    return {block: sums for block, sums in rest.items() if sums.rows}


def _without(sums: Sums, part: Sums) -> Sums:
    if isinstance(sums, ClassificationSums) and isinstance(part, ClassificationSums):
        return sums.without(part)
    if isinstance(sums, RegressionSums) and isinstance(part, RegressionSums):
        return sums.without(part)
    raise ValueError("expected segments of one kind, either a classifier's or a regression's")


def _added(sums: Sums, part: Sums) -> Sums:
    if isinstance(sums, ClassificationSums) and isinstance(part, ClassificationSums):
        return sums + part
    if isinstance(sums, RegressionSums) and isinstance(part, RegressionSums):
        return sums + part
    raise ValueError("expected segments of one kind, either a classifier's or a regression's")


def _merged(segments: Mapping[str, Mapping[int, Sums]]) -> dict[int, Sums]:
    merged: dict[int, Sums] = {}
    for each in segments.values():
        for block, sums in each.items():
            merged[block] = _added(merged[block], sums) if block in merged else sums
    return merged
