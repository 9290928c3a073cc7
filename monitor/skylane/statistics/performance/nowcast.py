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
from skylane.statistics.performance.replays import REPLAYS, REPLAYS_MIN, Tail, Windows, ends, predictive

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
    draws, label = None, labels[found.index]
    reason = replays.missing_labels(rows, found, past)
    if reason is None and found.count - 1 >= REPLAYS_MIN:
        open_then = ~found.known & (rows.known_at[found.index] <= now)
        shifts = _replayed_shifts(label, open_then, found, state)
        draws = predictive(shifts[1:], state.shift[1:], float(state.shift[0]))
    elif reason is None:
        reason = f"an interval needs {REPLAYS_MIN} earlier blocks with complete labels, and there are {found.count - 1}"
    figures = {}
    for name, loss in losses.items():
        missed = np.zeros(1) if draws is None else _missed(label, loss, open_then, shifts, found, state)[1:]
        figures[name] = _figure(label, loss, state, found, draws, missed, level)
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


def _replayed_shifts(label: Labels, open_then: NDArray[np.bool_], found: Windows, state: _State) -> Floats:
    """The further shift with which expected and real number of class 1 agree among the unknown: (windows,)."""
    weight = state.weight * open_then
    real = found.total(weight * (label == 1))
    shift = np.zeros(found.count)
    for _ in range(_STEPS):
        expected = _sigmoid(state.log_odds + shift[found.window])
        pull = real - found.total(weight * expected) - _PRIOR * shift
        step = np.clip(pull / (found.total(weight * expected * (1 - expected)) + _PRIOR), -1, 1)
        shift += step
        if np.abs(step).max() < 1e-6:
            break
    return shift


def _missed(
    label: Labels,
    loss: tuple[Floats, Floats],
    open_then: NDArray[np.bool_],
    shifts: Floats,
    found: Windows,
    state: _State,
) -> Floats:
    """Mean loss of the unknown rows beyond what the right shift explains: (windows,)."""
    zero, one = loss
    weight = state.weight * open_then
    expected = zero + _sigmoid(state.log_odds + shifts[found.window]) * (one - zero)
    real = np.where(label == 1, one, zero)
    return found.total(weight * (real - expected)) / np.maximum(found.total(weight), 1e-300)


def _figure(
    label: Labels,
    loss: tuple[Floats, Floats],
    state: _State,
    found: Windows,
    draws: Floats | None,
    missed: Floats,
    level: float,
) -> Corrected:
    """Known rows count as they are, the others by their expected loss, once for each error that the replays suggest."""
    known, still = (found.window == 0) & found.known, (found.window == 0) & ~found.known
    known_loss = float((state.weight * np.where(label == 1, loss[1], loss[0]))[known].sum())
    known_weight = float(state.weight[known].sum())
    raw = known_loss / known_weight if known_weight else math.nan
    weight, odds, zero, one = (
        state.weight[still] * state.ever[still],
        state.log_odds[still],
        loss[0][still],
        loss[1][still],
    )
    total = known_weight + float(weight.sum())
    if not total:
        return Corrected(raw, math.nan, None, None)
    chance = _sigmoid(odds[:, None] + (np.zeros(1) if draws is None else draws))
    losses = known_loss + weight @ (zero[:, None] + chance * (one - zero)[:, None]) + weight.sum() * missed
    least, most = (known_loss + float(weight @ bound(zero, one)) for bound in (np.minimum, np.maximum))
    figures = np.clip(losses, least, most) / total
    if draws is None:
        return Corrected(raw, float(figures.mean()), None, None)
    low, high = ends(figures, level)
    return Corrected(raw, float(figures.mean()), max(low, least / total), min(high, most / total))


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
