"""The mean of any loss over recent rows, once their labels have come: for regressions and for more than two classes.

A row without a label at age a counts with the mean loss of past rows (of its group) whose label took longer than a.
Replays of earlier blocks tell how far this was off at the same time of the block, and give the interval. `nowcast`
knows more about two classes.
"""

import math

import numpy as np

from skylane.statistics.performance import replays
from skylane.statistics.performance.horizon import TimedRows
from skylane.statistics.performance.metrics import Floats
from skylane.statistics.performance.nowcast import Corrected, Nowcast
from skylane.statistics.performance.replays import REPLAYS, REPLAYS_MIN, Tail, ends, predictive


def nowcast_mean(
    rows: TimedRows,
    losses: Floats,
    *,
    now: float,
    since: float,
    block_s: float,
    horizon_s: float,
    until: float | None = None,
    replays_max: int = REPLAYS,
    level: float = 0.95,
) -> Nowcast:
    """Mean of `losses` (rows,) over the rows from `since` to `until`, as figure `mean`; the rest is as in `nowcast`.

    A loss is not read where its label is not known at `now`. For the RMSE give squared errors and take the root of
    the figure.
    """
    found = replays.windows(
        rows, now=now, since=since, block_s=block_s, horizon_s=horizon_s, replays=replays_max, until=until
    )
    past = found.history[rows.known_at[found.history] <= now]
    known, weight = found.known, rows.weight[found.index]
    settled = rows.known_at[found.index] <= now
    loss = np.where(settled, losses[found.index], 0.0)
    known_weight, known_loss = found.total(weight * known), found.total(weight * known * loss)
    raw = float(known_loss[0] / known_weight[0]) if known_weight[0] else math.nan
    counts = int((found.window == 0).sum()), int(known[found.window == 0].sum())
    if not len(past):
        reason = "no earlier rows have complete labels, so it is not known which labels come late"
        return Nowcast(
            *counts, math.nan, {"mean": Corrected(raw, math.nan, None, None)}, found.count - 1, level, reason
        )
    tail = Tail(rows.known_at[past] - rows.happened_at[past], rows.group[past], rows.weight[past], losses[past])
    group = rows.group[found.index]
    ever = float(rows.weight[past].sum() / rows.weight[found.history].sum())
    longer = tail.share(found.age, group) * ever
    coming = np.where(known, 0.0, longer / (longer + 1 - ever))
    expected = tail.mean(found.age, group)
    open_weight, open_loss = found.total(weight * coming), found.total(weight * coming * expected)
    to_come = (
        float(open_weight[0] / (open_weight[0] + known_weight[0])) if open_weight[0] + known_weight[0] else math.nan
    )
    usual = float(np.average(losses[past], weights=rows.weight[past]))
    signals = (known_loss + usual) / (known_weight + 1) - usual
    open_then = ~known & settled
    real_weight = found.total(weight * open_then)
    missed = found.total(weight * open_then * (loss - expected)) / np.maximum(real_weight, 1e-300)
    usable = (real_weight > 0) & (np.arange(found.count) > 0)

    def figure(errors: Floats) -> Floats:
        total = known_loss[0] + open_loss[0] + open_weight[0] * errors
        return np.asarray(total / max(known_weight[0] + open_weight[0], 1e-300))

    missing = replays.missing_labels(rows, found, past)
    if missing is not None or usable.sum() < REPLAYS_MIN:
        few = f"an interval needs {REPLAYS_MIN} earlier blocks with complete labels, and there are {usable.sum()}"
        reason = missing or few
        corrected = Corrected(raw, float(figure(np.zeros(1))[0]), None, None)
        return Nowcast(*counts, to_come, {"mean": corrected}, int(usable.sum()), level, reason)
    draws = figure(predictive(missed[usable], signals[usable], float(signals[0])))
    corrected = Corrected(raw, float(draws.mean()), *ends(draws, level))
    return Nowcast(*counts, to_come, {"mean": corrected}, int(usable.sum()), level, None)
