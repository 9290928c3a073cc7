"""What a figure of recent rows will be once their labels have come, with an interval, as known at `now`.

A late flight lands late, so the labels that come first are not a fair sample: among them the late share is 20 % where
it will be 28 %. For a row whose label has not come at age a, with a score, Bayes' rule gives

    P(class | no label yet, score) ∝ P(class | score) × share of the class whose label takes longer than a,

with "never known" as a further class. The delays per class (and group) come from the past whose labels are complete.
P(class | score) is the score recalibrated on that past, shifted by what today's labels, and their absence, say (EM,
with a normal prior). Replays of earlier blocks then tell how far this was off at the same time of the block: their
errors correct the figure and give its interval.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from skylane.statistics.performance import metrics, replays
from skylane.statistics.performance.horizon import TimedRows
from skylane.statistics.performance.metrics import Floats, Labels
from skylane.statistics.performance.replays import REPLAYS, REPLAYS_MIN, Predictive, Tail, Windows, predictive

_SCORE_MARGIN: Final = 1e-3
_STEPS: Final = 80
_PRIOR: Final = 1.0
"""Prior variance of a block's shift in log-odds, and the inverse of its ridge where a replay's shift is solved for."""


@dataclass(frozen=True)
class Corrected:
    """One figure of the current rows."""

    as_it_looks: float
    """Over the rows whose label has come; NaN if none has."""
    corrected: float
    """Expected once all labels have come; NaN without a complete past."""
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Nowcast:
    """Figures of rows whose labels are still coming."""

    rows: int
    known: int
    share_to_come: float
    """Of the labels that are expected to come at all, the share that is still to come."""
    figures: Mapping[str, Corrected]
    """`positive_share`, `log_loss`, `brier` and `accuracy`; `mean` for `nowcast_mean`."""
    replays: int
    level: float
    reason: str | None
    """Why there is no interval or no corrected figure; None if there are both."""


def nowcast(
    rows: TimedRows,
    labels: Labels,
    scores: Floats,
    *,
    now: float,
    since: float,
    block_s: float,
    horizon_s: float,
    until: float | None = None,
    replays_max: int = REPLAYS,
    level: float = 0.95,
) -> Nowcast:
    """Figures of the rows from `since` to `until` (`now`, if it is left out) of a classifier with two classes.

    `rows` holds these and the past before them; `labels` (rows,) is 0 or 1 and not read where none is known at `now`;
    `scores` (rows,) is the probability of class 1. `block_s` is the length of a block, in which days repeat
    themselves; `horizon_s` the age at which labels are complete (99.9 % of them). Uses up to `replays_max` blocks of
    the past; below 14 there is no interval.
    """
    found = replays.windows(
        rows, now=now, since=since, block_s=block_s, horizon_s=horizon_s, replays=replays_max, until=until
    )
    past = found.history[rows.known_at[found.history] <= now]
    losses = _losses(scores[found.index])
    own = found.window == 0
    if len(np.unique(labels[past])) < 2:
        return _without_past(
            found,
            {name: np.where(labels[found.index] == 1, one, zero)[own] for name, (zero, one) in losses.items()},
            level,
        )
    state = _state(rows, labels, scores, found, past)
    reason = None
    draws = Predictive(np.zeros(1), 0.0, 0.0)
    if found.count - 1 >= REPLAYS_MIN:
        shifts = _replayed_shifts(rows, labels, found, state, now)
        draws = predictive(shifts[1:], state.shift[1:], float(state.shift[0]), level)
    else:
        reason = f"an interval needs {REPLAYS_MIN} earlier blocks with complete labels, and there are {found.count - 1}"
    figures = {
        name: _figure(
            labels[found.index][own], state, own, found.known[own], zero[own], one[own], draws, reason is None
        )
        for name, (zero, one) in losses.items()
    }
    to_come = _to_come(state.weight[own], found.known[own], state.ever[own])
    return Nowcast(int(own.sum()), int(found.known[own].sum()), to_come, figures, found.count - 1, level, reason)


@dataclass(frozen=True)
class _State:
    """What is believed of each row of the windows."""

    shift: Floats
    """(windows,) how much likelier class 1 is today than the score says, in log-odds."""
    log_odds: Floats
    """(n,) of class 1, given that no label has come."""
    ever: Floats
    """(n,) probability that a label will come; 1 where it has."""
    weight: Floats


def _losses(scores: Floats) -> dict[str, tuple[Floats, Floats]]:
    """By figure, the loss of each row if class 0 came and if class 1 came."""
    zero, one = (np.full(len(scores), label, np.int64) for label in (0, 1))
    rowwise = {"log_loss": metrics.row_log_losses, "brier": metrics.row_brier_scores, "accuracy": metrics.row_hits}
    shares = {"positive_share": (np.zeros(len(scores)), np.ones(len(scores)))}
    return shares | {name: (loss(zero, scores), loss(one, scores)) for name, loss in rowwise.items()}


def _state(rows: TimedRows, labels: Labels, scores: Floats, found: Windows, past: NDArray[np.int64]) -> _State:
    log_odds = _log_odds(scores)
    intercept, slope = recalibration(labels[past], log_odds[past], rows.weight[past])
    base = intercept + slope * log_odds[found.index]
    weight, group, known = rows.weight[found.index], rows.group[found.index], found.known
    tails = []
    for label in (0, 1):
        mine = past[labels[past] == label]
        tail = Tail(rows.known_at[mine] - rows.happened_at[mine], rows.group[mine], rows.weight[mine])
        tails.append(np.where(known, 1.0, tail.share(found.age, group)))
    ever = float(rows.weight[past].sum() / rows.weight[found.history].sum())
    label = labels[found.index] == 1
    shift = np.zeros(found.count)
    for _ in range(_STEPS):
        expected = _sigmoid(base + shift[found.window])
        still = expected * tails[1] + (1 - expected) * tails[0]
        coming = np.where(known, 1.0, still * ever / (still * ever + 1 - ever))
        given = np.where(known, label, expected * tails[1] / still)
        pull = found.total(weight * coming * (given - expected)) - shift / _PRIOR
        step = pull / (found.total(weight * coming * expected * (1 - expected)) + 1 / _PRIOR)
        shift += step
        if np.abs(step).max() < 1e-6:
            break
    odds = base + shift[found.window] + np.log(tails[1] / tails[0])
    return _State(shift, odds, coming, weight)


def recalibration(labels: Labels, log_odds: Floats, weights: Floats) -> tuple[float, float]:
    """Intercept and slope of a logistic regression of the label on the score's log-odds (Platt, 1999)."""
    ones = np.column_stack([np.ones(len(labels)), log_odds])
    beta = np.array([0.0, 1.0])
    for _ in range(12):
        expected = _sigmoid(ones @ beta)
        curvature = (ones * (weights * expected * (1 - expected))[:, None]).T @ ones + 1e-3 * np.eye(2)
        step = np.linalg.solve(curvature, ones.T @ (weights * (labels - expected)) - 1e-3 * (beta - [0.0, 1.0]))
        beta = beta + np.clip(step, -2, 2)
        if np.abs(step).max() < 1e-9:
            break
    return float(beta[0]), float(beta[1])


def _replayed_shifts(rows: TimedRows, labels: Labels, found: Windows, state: _State, now: float) -> Floats:
    """The further shift with which expected and real number of class 1 agree among the unknown: (windows,)."""
    open_then = ~found.known & (rows.known_at[found.index] <= now) & (found.window > 0)
    weight = state.weight * open_then
    real = found.total(weight * (labels[found.index] == 1))
    shift = np.zeros(found.count)
    for _ in range(_STEPS):
        expected = _sigmoid(state.log_odds + shift[found.window])
        pull = real - found.total(weight * expected) - _PRIOR * shift
        step = np.clip(pull / (found.total(weight * expected * (1 - expected)) + _PRIOR), -1, 1)
        shift += step
        if np.abs(step).max() < 1e-6:
            break
    return shift


def _figure(
    labels: Labels,
    state: _State,
    own: NDArray[np.bool_],
    known: NDArray[np.bool_],
    zero: Floats,
    one: Floats,
    draws: Predictive,
    bounded: bool,
) -> Corrected:
    """Known rows count as they are, the others by their expected loss, for each shift that the replays suggest."""
    weight, odds = state.weight[own], state.log_odds[own][~known]
    known_loss = float((weight * np.where(labels == 1, one, zero))[known].sum())
    known_weight = float(weight[known].sum())
    open_weight = (weight * state.ever[own])[~known]
    zero, one = zero[~known], one[~known]

    def at(shifts: Floats) -> Floats:
        chance = _sigmoid(odds[:, None] + shifts)
        losses = known_loss + open_weight @ (zero[:, None] + chance * (one - zero)[:, None])
        return np.asarray(losses / (known_weight + open_weight.sum()))

    raw = known_loss / known_weight if known_weight else math.nan
    if not known_weight + open_weight.sum():
        return Corrected(raw, math.nan, None, None)
    ends = np.sort(at(np.array([draws.low, draws.high])))
    low, high = (float(ends[0]), float(ends[1])) if bounded else (None, None)
    return Corrected(raw, float(at(draws.draws).mean()), low, high)


def _without_past(found: Windows, losses: Mapping[str, Floats], level: float) -> Nowcast:
    own = found.window == 0
    known = found.known[own]
    figures = {
        name: Corrected(float(loss[known].mean()) if known.any() else math.nan, math.nan, None, None)
        for name, loss in losses.items()
    }
    reason = "no earlier rows have complete labels of both classes, so it is not known which labels come late"
    return Nowcast(int(own.sum()), int(known.sum()), math.nan, figures, found.count - 1, level, reason)


def _to_come(weight: Floats, known: NDArray[np.bool_], ever: Floats) -> float:
    coming = float((weight * ever).sum())
    return 1 - float(weight[known].sum()) / coming if coming else math.nan


def _log_odds(scores: Floats) -> Floats:
    clipped = np.clip(scores, _SCORE_MARGIN, 1 - _SCORE_MARGIN)
    return np.asarray(np.log(clipped / (1 - clipped)))


def _sigmoid(log_odds: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-np.clip(log_odds, -700, 700))))
