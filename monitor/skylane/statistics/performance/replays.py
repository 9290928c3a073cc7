"""What can be learnt from earlier blocks about a figure whose labels are still to come.

A replay looks at an earlier block as it stood at the same time of the block: which labels had come, which had not.
Its labels are complete by now, so the replay tells how far the estimate was off then. Nothing that is known only
after `now` is used.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from skylane.statistics.performance.horizon import TimedRows
from skylane.statistics.performance.metrics import Floats, bin_sums
from skylane.statistics.performance.student import t_quantile

REPLAYS: Final = 60
REPLAYS_MIN: Final = 14
_EXPECTED_MIN: Final = 15
_SHRINKAGE: Final = 10.0
"""A group's own delays count against those of all groups as if these had this many rows in it."""


@dataclass(frozen=True)
class Windows:
    """Rows of the current window (number 0) and of its replays (from 1 on), as each stood at its own cut."""

    count: int
    index: NDArray[np.int64]
    """(n,) row numbers."""
    window: NDArray[np.int64]
    """(n,) number of the window."""
    age: Floats
    """(n,) seconds from the prediction to the window's cut."""
    known: NDArray[np.bool_]
    """(n,) the label had come at the cut."""
    history: NDArray[np.int64]
    """Row numbers of the past whose labels are complete, as far as they will ever come."""

    def total(self, numbers: Floats) -> Floats:
        """Sums of `numbers` (n,) per window: (count,)."""
        return bin_sums(self.window, numbers, self.count)


def windows(
    rows: TimedRows,
    *,
    now: float,
    since: float,
    block_s: float,
    horizon_s: float,
    replays: int,
    until: float | None = None,
) -> Windows:
    """The rows from `since` to `until`, and those of the same part of up to `replays` blocks before the label horizon.

    `until` is `now` if it is left out; an earlier one asks about a block that has ended and whose labels still come.
    """
    end_at = now if until is None else until
    first = max(1, math.ceil(horizon_s / block_s))
    shifts = [0.0] + [block_s * (first + i) for i in range(replays)]
    order = np.argsort(rows.happened_at, kind="stable")
    happened_at = rows.happened_at[order]
    parts = []
    for shift in shifts:
        start, end = np.searchsorted(happened_at, [since - shift, end_at - shift], side="left")
        if shift and (end == start or happened_at[0] > since - shift):
            break  # nothing was recorded then, or only a part of the window
        parts.append(order[start:end])
    window = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    index = np.concatenate(parts)
    cut = now - np.array(shifts)[window]
    begin, end = np.searchsorted(happened_at, [since - shifts[len(parts) - 1], now - horizon_s])
    return Windows(
        len(parts), index, window, cut - rows.happened_at[index], rows.known_at[index] <= cut, order[begin:end]
    )


class Tail:
    """Rows by delay: how many take longer than a given age, and the sum of a number over those."""

    def __init__(
        self, delays: Floats, groups: NDArray[np.int64], weights: Floats, numbers: Floats | None = None
    ) -> None:
        self._span = float(delays.max(initial=0.0)) + 1
        self._pooled = _Sorted(delays, weights, numbers)
        self._keyed = _Sorted(groups * self._span + delays, weights, numbers)

    def share(self, ages: Floats, groups: NDArray[np.int64]) -> Floats:
        """Share of the group's rows that take longer than each age: (n,). Small groups lean on all groups."""
        pooled = (self._pooled.above(ages)[0] + 0.5) / (self._pooled.all[0] + 1)
        longer, rows = self._of_group(ages, groups)
        return np.asarray((longer[0] + _SHRINKAGE * pooled) / (rows[0] + _SHRINKAGE))

    def mean(self, ages: Floats, groups: NDArray[np.int64]) -> Floats:
        """Mean of the number over the group's rows that take longer than each age: (n,)."""
        weight, total = self._pooled.above(ages)
        overall = self._pooled.all[1] / max(self._pooled.all[0], 1e-300)
        pooled = (total + overall) / (weight + 1)
        longer, _ = self._of_group(ages, groups)
        return np.asarray((longer[1] + _SHRINKAGE * pooled) / (longer[0] + _SHRINKAGE))

    def _of_group(self, ages: Floats, groups: NDArray[np.int64]) -> tuple[Floats, Floats]:
        start = np.asarray(groups * self._span, np.float64)
        end = self._keyed.above(start + self._span - 0.5)
        return self._keyed.above(start + np.minimum(ages, self._span - 0.5)) - end, self._keyed.above(start - 0.5) - end


class _Sorted:
    def __init__(self, keys: Floats, weights: Floats, numbers: Floats | None) -> None:
        order = np.argsort(keys, kind="stable")
        self._keys = keys[order]
        each = np.stack([weights, weights * (np.zeros(len(keys)) if numbers is None else numbers)])[:, order]
        self._sums = np.concatenate([np.zeros((2, 1)), np.cumsum(each, axis=1)], axis=1)
        self.all: Floats = self._sums[:, -1]

    def above(self, keys: Floats) -> Floats:
        """Sums of weight, and of weight × number, over rows whose key is greater: (2, n)."""
        position = np.searchsorted(self._keys, keys, side="right")
        return np.asarray(self._sums[:, -1:] - self._sums[:, position])


def missing_labels(rows: TimedRows, found: Windows, past: NDArray[np.int64]) -> str | None:
    """Why the absence of labels tells nothing now: far fewer have come than ever at this time of a block. Else None.

    A source of labels that has stopped looks like a block in which all labels come late. `past` are the rows of the
    history that have labels.
    """
    ever = float(rows.weight[past].sum() / rows.weight[found.history].sum())
    tail = Tail(rows.known_at[past] - rows.happened_at[past], rows.group[past], rows.weight[past])
    weight = rows.weight[found.index]
    expected = found.total(weight * ever * (1 - tail.share(found.age, rows.group[found.index])))
    came = found.total(weight * found.known)
    usual = min(1.0, float((came[1:] / np.maximum(expected[1:], 1e-300)).min(initial=1.0)))
    if expected[0] < _EXPECTED_MIN or came[0] >= usual * expected[0] / 2:
        return None
    return f"{came[0]:.0f} labels have come where {expected[0]:.0f} were expected: has their source stopped?"


def predictive(errors: Floats, signals: Floats, signal: float) -> Floats:
    """Errors that the current window may have, one per replay, from the replays' errors and early signals: all (n,).

    A line is fitted from early signal to error; the draws are its value at `signal` plus each residual, scaled as if
    its own replay had been left out.
    """
    ones = np.column_stack([np.ones(len(errors)), signals - signals.mean()])
    inverse = np.linalg.inv(ones.T @ ones + np.diag([0.0, 1e-9]))
    residuals = errors - ones @ (inverse @ ones.T @ errors)
    leverage = np.einsum("ij,jk,ik->i", ones, inverse, ones)
    here = np.array([1.0, signal - signals.mean()])
    centre, spread = float(here @ inverse @ ones.T @ errors), math.sqrt(1 + float(here @ inverse @ here))
    return np.asarray(centre + spread * residuals / np.sqrt(np.maximum(1 - leverage, 1e-6)))


def ends(draws: Floats, level: float) -> tuple[float, float]:
    """Interval of a value of which `draws` (n,) is a sample: order statistics, or Student's t while n is too small."""
    count = len(draws)
    rank = (count + 1) * (1 - level) / 2
    if rank < 1:
        wide = t_quantile((1 + level) / 2, count - 2) * float(draws.std(ddof=2))
        return float(draws.mean()) - wide, float(draws.mean()) + wide
    low, high = np.interp([rank, count + 1 - rank], np.arange(1, count + 1), np.sort(draws))
    return float(low), float(high)
