"""Arrays of rows → measures with intervals: the monitor's only way to skylane.statistics.performance. Pure.

Figures over several blocks use settled blocks: those whose labels have come as far as they will. A block that is not
settled is corrected for the labels to come.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from skylane.monitor.labelled_blocks import Array, LabelledRows, concatenated
from skylane.monitor.served_models import Answers
from skylane.monitor.view import Measured
from skylane.statistics.performance import (
    Calibration,
    ClassificationSums,
    Kept,
    Nowcast,
    RegressionSums,
    TimedRows,
    block_interval,
    expected_figures,
    label_horizon,
    metric_names,
    nowcast,
    nowcast_mean,
    track_record,
    worst_segments,
)
from skylane.statistics.performance.metrics import row_log_losses

COMPLETE: Final = 0.999
"""Share of the labels that has come when a block is settled."""
MOST: Final = 0.99
"""Share of the labels that is named to people."""
CALIBRATION_BLOCKS: Final = 30
"""The first settled blocks, from which the estimate without labels is calibrated."""
GROUPS_MAX: Final = 500
LABELS_OF_A_GROUP: Final = 20
HOUR_US: Final = 3_600_000_000
SECOND_US: Final = 1_000_000

Sums = ClassificationSums | RegressionSums


def headline(answers: Answers) -> str:
    """The measure that comes first."""
    return "log_loss" if answers.task == "classifier" else "rmse"


def is_binary(answers: Answers) -> bool:
    """Whether it is a classifier with two classes."""
    return answers.task == "classifier" and len(answers.classes) == 2


def sums_of(rows: LabelledRows, answers: Answers) -> Sums:
    """Sums over the rows whose outcome is known."""
    finite = np.isfinite(rows.scores)
    known = rows.where(rows.labelled & (finite if finite.ndim == 1 else finite.all(axis=1)))
    if answers.task == "classifier":
        return ClassificationSums.of(known.truth, known.scores, known.weights)
    return RegressionSums.of(known.truth, known.scores, known.weights)


def plain_measures(sums: Sums) -> dict[str, float]:
    """Measures of these rows, without intervals."""
    if not sums.rows:
        return {}
    if isinstance(sums, RegressionSums):
        figures = sums.figures()
        found = {"rmse": figures.rmse, "mae": figures.mae, "bias": figures.bias}
    else:
        made = sums.figures()
        found = {name: getattr(made, name) for name in ("log_loss", "skill", "brier", "accuracy", "auc")}
        found["calibration"] = made.calibration_error
        if sums.classes == 2:
            found["positive_share"] = made.class_shares[1]
    return {name: value for name, value in found.items() if math.isfinite(value)}


@dataclass(frozen=True)
class Delays:
    """How long outcomes take, and what an estimate of those to come needs of the past."""

    now: int
    length: int
    """Of a block, in microseconds, as `now`."""
    horizon: int | None
    """Age at which labels are complete; None if that is not known yet."""
    words: str
    reason: str
    """Why the horizon is not known."""
    rows: TimedRows
    labels: Array
    scores: Array
    losses: Array
    """Of a regression the squared error, of more than two classes the log loss; NaN without a label."""

    complete: frozenset[int]
    """Blocks of whose rows each has a label."""

    def is_settled(self, block: int) -> bool:
        """Whether the labels of a block have come as far as they will."""
        old = self.horizon is not None and block + self.length + self.horizon <= self.now
        return old or block in self.complete


def learn(
    blocks: Sequence[tuple[int, LabelledRows]], answers: Answers, now: int, length: int, horizon_us: int | None
) -> Delays:
    """From all rows of the past, with and without an outcome. There must be one block at least."""
    history = concatenated([rows for _, rows in blocks])
    assert history is not None, "a block"
    if (usable := history.usable).any():  # the others have labels, which say when but not what
        history = history.where(usable)
    known_at = np.where(history.labelled, history.known_at / SECOND_US, np.inf)
    groups = _groups(history)
    rows = TimedRows(history.at / SECOND_US, known_at, groups, history.weights)
    complete = label_horizon(rows, now / SECOND_US, COMPLETE)
    horizon = horizon_us
    if horizon is None and complete.seconds is not None:
        horizon = int(complete.seconds * SECOND_US)
    words = f"When labels are known is not learnt yet: {complete.reason}." if horizon is None else ""
    if horizon is not None and len(complete.curve.delay_s):
        ever = complete.curve.share_ever_known
        never = f", {(1 - ever) * 100:.1f} % of rows never get one" if ever < 0.9995 else ""
        words = (
            f"{MOST * 100:.0f} % of labels are known {_hours(complete.curve.quantile(MOST))} after the event{never}. "
            "Blocks with labels still to come are corrected for them; totals leave them out."
        )
    binary = is_binary(answers)
    return Delays(
        now=now,
        length=length,
        horizon=horizon,
        words=words,
        reason=complete.reason or "",
        rows=rows,
        labels=np.maximum(history.truth, 0) if binary else np.zeros(0),
        scores=np.nan_to_num(history.scores[:, 1], nan=0.5) if binary else np.zeros(0),
        losses=np.zeros(0) if binary else _losses(history, answers),
        complete=frozenset(block for block, rows in blocks if (rows.labelled | ~rows.usable).all()),
    )


def _losses(history: LabelledRows, answers: Answers) -> Array:
    if answers.task != "classifier":
        return np.asarray(np.where(history.labelled, (history.scores - history.truth) ** 2, np.nan))
    losses = np.full(len(history), np.nan)
    known = history.labelled
    losses[known] = row_log_losses(history.truth[known], history.scores[known])
    return losses


def _groups(history: LabelledRows) -> Array | None:
    """The segment column whose values tell most about the delay: flights to one place take equally long."""
    known = history.labelled
    if known.sum() < 1000:
        return None
    delay = np.log1p(np.maximum(history.known_at[known] - history.at[known], 0) / SECOND_US)
    best, found = 0.1, None
    for values in history.segments.values():
        names, codes = np.unique(values.astype(str), return_inverse=True)
        if not 1 < len(names) <= GROUPS_MAX:
            continue
        counts = np.bincount(codes[known], minlength=len(names))
        means = np.bincount(codes[known], delay, len(names)) / np.maximum(counts, 1)
        within = float(((delay - means[codes[known]]) ** 2).sum())
        explained = 1 - within / max(float(((delay - delay.mean()) ** 2).sum()), 1e-12)
        if explained > best and len(delay) / len(names) >= LABELS_OF_A_GROUP:
            best, found = explained, codes.astype(np.int64)
    return found


def corrected(
    block: int, rows: LabelledRows, delays: Delays, answers: Answers
) -> tuple[dict[str, Measured], float | None]:
    """Measures of one block, and the share of its labels to come.

    How it looks is what the labels said that were known when the block ended, or now if it has not.
    """
    looks = plain_measures(sums_of(rows.as_of(min(delays.now, block + delays.length)), answers))
    if delays.is_settled(block):
        final = plain_measures(sums_of(rows, answers))
        return {name: Measured(looks.get(name), value) for name, value in final.items()}, 0.0
    if delays.horizon is None:
        return {name: Measured(value, None, unsure=delays.reason) for name, value in looks.items()}, None
    found = _nowcast(block, delays, answers)
    measures = {name: Measured(value, None, unsure="needs all labels") for name, value in looks.items()}
    for name, figure in found.figures.items():
        shown = {"mean": headline(answers)}.get(name, name)
        root = math.sqrt if shown == "rmse" else float
        looks_like, will_be, low, high = (
            _finite(value, root) for value in (figure.as_it_looks, figure.corrected, figure.low, figure.high)
        )
        if looks_like is not None or will_be is not None:
            measures[shown] = Measured(looks.get(shown, looks_like), will_be, low, high, found.reason or "")
    share = _finite(found.share_to_come, float)
    if share is None:  # too young to say how many of its labels never come
        return measures, 1 - float((rows.labelled | ~rows.usable).mean())
    return measures, share * float(rows.usable.mean())


def _nowcast(block: int, delays: Delays, answers: Answers) -> Nowcast:
    assert delays.horizon is not None
    times: dict[str, Any] = {
        "now": delays.now / SECOND_US,
        "since": block / SECOND_US,
        "until": min(delays.now, block + delays.length) / SECOND_US,
        "block_s": delays.length / SECOND_US,
        "horizon_s": delays.horizon / SECOND_US,
    }
    if is_binary(answers):
        return nowcast(delays.rows, delays.labels, delays.scores, **times)
    return nowcast_mean(delays.rows, delays.losses, **times)


def _finite(value: float | None, root: Any) -> float | None:
    return (
        None
        if value is None or not math.isfinite(value)
        else float(root(max(value, 0.0) if root is math.sqrt else value))
    )


def over_blocks(sums: Mapping[int, Sums], delays: Delays) -> dict[str, Measured]:
    """Measures over the settled blocks, with intervals. `sums`: by the start of the block."""
    settled = [each for block, each in sums.items() if delays.is_settled(block) and each.rows]
    if not settled:
        early = [each for each in sums.values() if each.rows]
        reason = delays.reason or "all blocks have labels still to come"
        return {name: Measured(value, None, unsure=reason) for name, value in _together(early).items()}
    found = {name: Measured(value, value) for name, value in _together(settled).items()}
    for name in metric_names(settled[0]):
        if name == "calibration" or name not in found:
            continue
        with np.errstate(all="ignore"):  # a block of one class has no base rate to compare with
            interval = block_interval(settled, name, np.random.default_rng(0))
        value = _finite(interval.estimate, float)
        found[name] = Measured(value, value, interval.low, interval.high, interval.reason or "")
    return found


def compared_segments(
    segments: Mapping[str, Mapping[int, Sums]], delays: Delays, measure: str
) -> dict[str, dict[str, Measured]]:
    """Measures of the values of one column over the settled blocks, and by how much each is worse than the rest.

    The interval of `worse_by` is simultaneous over the values: one that lies above 0 is no luck of many comparisons.
    """
    settled = {
        name: {block: each for block, each in sums.items() if delays.is_settled(block) and each.rows}
        for name, sums in segments.items()
    }
    settled = {name: sums for name, sums in settled.items() if sums}
    with np.errstate(all="ignore"):
        compared = {each.name: each for each in worst_segments(settled, measure, limit=len(settled))}
    found = {}
    for name, sums in settled.items():
        found[name] = {key: Measured(value, value) for key, value in _together(list(sums.values())).items()}
        if name in compared:
            each = compared[name]
            value = _finite(each.worse_by, float)
            found[name]["worse_by"] = Measured(value, value, each.low, each.high, each.reason or "")
    return found


def _together(sums: Sequence[Sums]) -> dict[str, float]:
    if not sums:
        return {}
    merged: Any = sums[0]
    for each in sums[1:]:
        merged = merged + each
    return plain_measures(merged)


def to_come(rows: int, parts: Sequence[tuple[int, float | None]]) -> float | None:
    """Share of all labels to come, from the rows of each block and its share; None while that is not known."""
    if any(share is None for _, share in parts):
        return None
    return sum(count * (share or 0.0) for count, share in parts) / rows if rows else 0.0


def estimate_words(blocks: Sequence[tuple[int, LabelledRows]], delays: Delays, answers: Answers) -> str:
    """What the probabilities alone say about the latest block, and how far such estimates were off before."""
    if not is_binary(answers):
        return ""
    settled = [(block, rows) for block, rows in blocks if delays.is_settled(block) and rows.labelled.any()]
    if len(settled) < 2 * CALIBRATION_BLOCKS:
        return ""
    first = [rows.where(rows.labelled) for _, rows in settled[:CALIBRATION_BLOCKS]]
    calibration = Calibration.of(
        *(
            np.concatenate(each)
            for each in zip(*((rows.truth, rows.scores[:, 1], rows.weights) for rows in first), strict=True)
        )
    )
    kept = []
    for _, rows in settled[CALIBRATION_BLOCKS:]:
        estimate = expected_figures(rows.scores, rows.weights, calibration).log_loss
        kept.append(Kept(estimate, plain_measures(sums_of(rows, answers))["log_loss"]))
    record = track_record(kept)
    if record.retired:
        return f"The estimate of the log loss without labels is {record.words}."
    latest = expected_figures(blocks[-1][1].scores, blocks[-1][1].weights, calibration).log_loss
    return (
        f"Without labels, the log loss of the latest block is estimated at {latest:.4f}; the estimate is "
        f"{record.words}."
    )


def _hours(seconds: float) -> str:
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 172_800 else f"{seconds / 86_400:.1f} days"
