"""How long labels take: the delay from a prediction to its label, learnt with the rows whose label has not come yet.

Instants are seconds since 1970 (UTC), delays are seconds. A row without a label is censored at its age: all that is
known is that its label takes longer (Kaplan and Meier, 1958).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from skylane.statistics.performance.metrics import Floats

SHARE: Final = 0.99
LABELS_MIN: Final = 100
FOLLOW_UP: Final = 1.5
"""The oldest rows must have been waited for this many times the horizon, or a longer delay could not have been seen."""


@dataclass(frozen=True)
class TimedRows:
    """When each row was answered and when its label was known. All arrays are (rows,)."""

    happened_at: Floats
    known_at: Floats
    """Infinity where no label has come."""
    groups: NDArray[np.int64] | None = None
    """Number of the group whose labels take equally long, such as the destination of a flight."""
    weights: Floats | None = None
    """One over the probability with which the row was kept."""

    def __post_init__(self) -> None:
        if np.isnan(self.known_at).any():
            raise ValueError("expected infinity in known_at where no label has come, got NaN")

    @property
    def weight(self) -> Floats:
        """Weights of the rows, 1.0 if none were given."""
        return np.ones(len(self.happened_at)) if self.weights is None else self.weights

    @property
    def group(self) -> NDArray[np.int64]:
        """Groups of the rows, 0 if none were given."""
        return np.zeros(len(self.happened_at), np.int64) if self.groups is None else self.groups


@dataclass(frozen=True)
class DelayCurve:
    """Kaplan–Meier: at each delay, the share of rows whose label has come by then."""

    delay_s: Floats
    """(steps,) rising."""
    share_known: Floats
    """(steps,) rising; the last is the share that is ever known."""
    rows: int
    labels: int
    follow_up_s: float
    """Age of the oldest row."""

    @property
    def share_ever_known(self) -> float:
        """Share of rows whose label comes at all: flights that are cancelled never land. NaN without labels."""
        return float(self.share_known[-1]) if len(self.share_known) else math.nan

    def share_known_at(self, age_s: float) -> float:
        """Share of all rows whose label has come at this age."""
        position = int(np.searchsorted(self.delay_s, age_s, side="right"))
        return float(self.share_known[position - 1]) if position else 0.0

    def share_to_come(self, age_s: float) -> float:
        """Of the labels that will ever come, the share that is still to come at this age."""
        return 1 - self.share_known_at(age_s) / self.share_ever_known if len(self.delay_s) else math.nan

    def quantile(self, share: float) -> float:
        """The age at which this share of the labels that will ever come has come. NaN without labels."""
        if not len(self.delay_s):
            return math.nan
        return float(self.delay_s[np.searchsorted(self.share_known, share * self.share_ever_known * (1 - 1e-12))])


@dataclass(frozen=True)
class Horizon:
    """The age from which rows are judged as they are; younger rows are shown apart."""

    seconds: float | None
    """None if it is not known yet: see `reason`."""
    share: float
    curve: DelayCurve
    reason: str | None


def delay_curve(rows: TimedRows, now: float) -> DelayCurve:
    """The curve as it can be known at `now`: rows after it and labels known after it are not used. O(n log n)."""
    asked = rows.happened_at <= now
    happened_at, known_at, weight = rows.happened_at[asked], rows.known_at[asked], rows.weight[asked]
    came = known_at <= now
    delay = np.where(came, np.maximum(known_at - happened_at, 0), now - happened_at)
    times, where = np.unique(delay, return_inverse=True)
    events = np.bincount(where, weight * came, len(times))
    leaving = np.bincount(where, weight, len(times))
    at_risk = leaving[::-1].cumsum()[::-1]
    steps = events > 0
    share = 1 - np.cumprod(1 - events / np.maximum(at_risk, 1e-300))
    follow_up = float(now - happened_at.min()) if len(happened_at) else 0.0
    return DelayCurve(times[steps], share[steps], len(delay), int(came.sum()), follow_up)


def label_horizon(rows: TimedRows, now: float, share: float = SHARE) -> Horizon:
    """The age at which `share` of the labels that will ever come has come, learnt from what is known at `now`."""
    curve = delay_curve(rows, now)
    if curve.labels < LABELS_MIN:
        return Horizon(None, share, curve, f"{curve.labels} labels have come, and {LABELS_MIN} are needed")
    seconds = curve.quantile(share)
    if curve.follow_up_s < FOLLOW_UP * seconds:
        reason = (
            f"the oldest row is {curve.follow_up_s / 3600:.1f} h old, "
            f"too young to tell whether labels take longer than {seconds / 3600:.1f} h"
        )
        return Horizon(None, share, curve, reason)
    return Horizon(seconds, share, curve, None)


def horizon_by_group(rows: TimedRows, now: float, share: float = SHARE) -> Mapping[int, Horizon]:
    """One horizon per group; a group with too few labels says so in `reason`."""
    found = {}
    for group in np.unique(rows.group).tolist():
        mine = rows.group == group
        found[group] = label_horizon(
            TimedRows(rows.happened_at[mine], rows.known_at[mine], None, rows.weight[mine]), now, share
        )
    return found
