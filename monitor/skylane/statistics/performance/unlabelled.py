"""An estimate of performance while no label has come, and the record of how wrong it was.

If probabilities were right, they would tell the model's own loss (confidence-based performance estimation, CBPE).
They are right only while the world is the one that the model was calibrated on, which no input can show. So each
estimate is kept beside what came true later, and after two contradictions the estimate retires itself.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from skylane.statistics.performance import metrics
from skylane.statistics.performance.intervals import serial_widening
from skylane.statistics.performance.metrics import Floats, as_matrix
from skylane.statistics.performance.nowcast import recalibration
from skylane.statistics.performance.student import t_quantile

SPAN_BLOCKS: Final = 28
"""An estimate that is right, with errors that correlate by 0.5: retired in 4 % of years, and in 18 % with 14 blocks."""
CONTRADICTIONS: Final = 2
CONTRADICTION_LEVEL: Final = 0.99


@dataclass(frozen=True)
class Calibration:
    """Log-odds of class 1 = intercept + slope × log-odds of the score, learnt where labels were known."""

    intercept: float = 0.0
    slope: float = 1.0

    @classmethod
    def of(cls, labels: NDArray[np.int64], scores: Floats, weights: Floats | None = None) -> "Calibration":
        """Learnt on reference rows with two classes: labels, scores and weights are (rows,)."""
        weight = np.ones(len(labels)) if weights is None else weights
        return cls(*recalibration(labels, _log_odds(scores), weight))

    def apply(self, scores: Floats) -> Floats:
        """Calibrated probabilities of class 1: (rows,)."""
        return np.asarray(1 / (1 + np.exp(-(self.intercept + self.slope * _log_odds(scores)))))


@dataclass(frozen=True)
class Expected:
    """What the metrics of these rows would be if the calibrated probabilities were right."""

    rows: int
    log_loss: float
    brier: float
    accuracy: float
    auc: float
    """NaN for more than two classes."""


def expected_figures(
    probabilities: NDArray[Any], weights: Floats | None = None, calibration: Calibration | None = None
) -> Expected:
    """Expected metrics of rows without labels: probabilities as in `metrics`, `calibration` for two classes only."""
    given = as_matrix(probabilities)
    weight = np.ones(len(given)) if weights is None else weights
    if not len(given):
        return Expected(0, *[math.nan] * 4)
    believed = given.astype(np.float64)
    if calibration is not None:
        if given.shape[1] != 2:
            raise ValueError(f"expected two classes with a calibration, got {given.shape[1]}")
        believed = as_matrix(calibration.apply(believed[:, 1]))
    # Each row stands for one row per class, weighted by the probability of the class.
    classes = given.shape[1]
    labels = np.tile(np.arange(classes), len(given))
    rows, parts = np.repeat(given, classes, axis=0), (weight[:, None] * believed).ravel()
    auc = metrics.auc(labels, rows, parts) if classes == 2 else math.nan
    return Expected(
        len(given), metrics.log_loss(labels, rows, parts), metrics.brier_score(labels, rows, parts),
        metrics.accuracy(labels, rows, parts), auc,
    )  # fmt: skip


@dataclass(frozen=True)
class Kept:
    """An estimate of one block, and what the figure was once the labels were complete."""

    estimate: float
    realised: float


@dataclass(frozen=True)
class TrackRecord:
    """How the estimate has done so far."""

    blocks: int
    mean_error: float
    """Mean of estimate − realised; NaN without a block."""
    typical_error: float
    """Root of the mean squared error: what to expect of the next estimate."""
    contradictions: int
    retired: bool
    words: str


def track_record(kept: Sequence[Kept], tolerance: float = 0.0) -> TrackRecord:
    """Judge the estimate by `kept`, oldest first, one per block whose labels are complete.

    A span of 28 blocks contradicts the estimate if the 99 % interval of its mean error lies beyond ± `tolerance`.
    After two spans that contradict it in the same direction the estimate is retired, and stays so: give it a new
    calibration and a new record.
    """
    errors = np.array([each.estimate - each.realised for each in kept])
    errors = errors[np.isfinite(errors)]
    if not len(errors):
        return TrackRecord(0, math.nan, math.nan, 0, False, "not yet compared with labels")
    spans = [errors[i : i + SPAN_BLOCKS] for i in range(0, len(errors) - SPAN_BLOCKS + 1, SPAN_BLOCKS)]
    signs = [_contradicts(span, tolerance) for span in spans]
    contradictions = max(signs.count(1), signs.count(-1))
    mean, typical = float(errors.mean()), float(np.sqrt((errors**2).mean()))
    retired = contradictions >= CONTRADICTIONS
    side = "high" if mean > 0 else "low"
    words = f"off by {typical:.3f} in a typical block of {len(errors)}, {abs(mean):.3f} too {side} on average"
    if retired:
        words = f"retired: labels contradicted it in {contradictions} spans of {SPAN_BLOCKS} blocks; it was {words}"
    return TrackRecord(len(errors), mean, typical, contradictions, retired, words)


def _contradicts(span: Floats, tolerance: float) -> int:
    """1 if the estimate was too high, −1 if too low, 0 if the span does not tell."""
    wide = t_quantile((1 + CONTRADICTION_LEVEL) / 2, len(span) - 1) * float(span.std(ddof=1)) / math.sqrt(len(span))
    wide *= serial_widening(span)
    mean = float(span.mean())
    return 0 if abs(mean) - wide <= tolerance else int(math.copysign(1, mean))


def _log_odds(scores: Floats) -> Floats:
    clipped = np.clip(scores, 1e-6, 1 - 1e-6)
    return np.asarray(np.log(clipped / (1 - clipped)))
