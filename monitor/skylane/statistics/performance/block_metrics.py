"""Metrics as smooth functions of sums over blocks, with the influence that each block has on them.

A metric turns the sums of each block into a row of a matrix (blocks, columns). Its value for any weighting of the
blocks is a function of the weighted column totals that does not change when all totals are doubled, so a block's
influence is the gradient times the block's row: the linearisation that the intervals stand on.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from skylane.statistics.performance import metrics
from skylane.statistics.performance.exact_sums import as_float
from skylane.statistics.performance.metrics import Floats
from skylane.statistics.performance.sums import ERROR_BITS, ClassificationSums, RegressionSums

Sums = ClassificationSums | RegressionSums


@dataclass(frozen=True)
class BlockMetric:
    """One metric over blocks."""

    columns: Callable[[Sequence[Sums]], Floats]
    """(blocks, columns): what is summed."""
    value: Callable[[Floats], Floats]
    """Totals (n, columns) → the metric (n,)."""
    gradient: Callable[[Floats], Floats]
    """Totals (n, columns) → derivative of the metric by each total (n, columns)."""
    row_loss: str | None = None
    """The loss whose row variance tells the effective number of rows."""
    bounds: tuple[float, float] = (-np.inf, np.inf)


def metric_names(sums: Sums) -> list[str]:
    """Names of the metrics that have an interval for sums of this kind."""
    return list(CLASSIFICATION if isinstance(sums, ClassificationSums) else REGRESSION)


def metric_of(sums: Sums, name: str) -> BlockMetric:
    """The metric with this name. Raises ValueError if sums of this kind have none."""
    table = CLASSIFICATION if isinstance(sums, ClassificationSums) else REGRESSION
    if name not in table:
        raise ValueError(f"expected a metric of {', '.join(table)}, got {name!r}")
    return table[name]


def _loss_columns(name: str) -> Callable[[Sequence[Sums]], Floats]:
    def columns(blocks: Sequence[Sums]) -> Floats:
        return np.array([[_loss(block, name), as_float(block.weight)] for block in blocks])

    return columns


def _loss(block: Sums, name: str) -> float:
    if not block.rows:
        return 0.0
    return (
        as_float(block.losses[name][0], ERROR_BITS)
        if isinstance(block, RegressionSums)
        else as_float(block.losses[name][0])
    )


def _ratio(totals: Floats) -> Floats:
    return np.asarray(totals[:, 0] / totals[:, 1])


def _ratio_gradient(totals: Floats) -> Floats:
    return np.column_stack([1 / totals[:, 1], -totals[:, 0] / totals[:, 1] ** 2])


def _root(totals: Floats) -> Floats:
    return np.sqrt(_ratio(totals))


def _root_gradient(totals: Floats) -> Floats:
    return _ratio_gradient(totals) / np.maximum(2 * _root(totals)[:, None], 1e-300)


def _skill(totals: Floats) -> Floats:
    return 1 - _ratio(totals)


def _skill_gradient(totals: Floats) -> Floats:
    return -_ratio_gradient(totals)


def _skill_columns(blocks: Sequence[Sums]) -> Floats:
    """Log loss, and that of always answering with the block's own shares: each block against its own base rate."""
    rows = []
    for block in blocks:
        assert isinstance(block, ClassificationSums)
        shares = np.array([each / block.weight for each in block.class_weights]) if block.rows else np.zeros(0)
        base = metrics.base_log_loss(shares) * as_float(block.weight) if block.rows else 0.0
        rows.append([_loss(block, "log_loss"), base])
    return np.array(rows)


def _share_columns(blocks: Sequence[Sums]) -> Floats:
    """Weight of class 1 and of all: the share of the positive class."""
    return np.array(
        [
            [
                as_float(block.class_weights[1]) if block.rows and isinstance(block, ClassificationSums) else 0.0,
                as_float(block.weight),
            ]
            for block in blocks
        ]
    )


def _calibration_columns(blocks: Sequence[Sums]) -> Floats:
    """Σ weight × (promised probability − outcome), and the weight: above 0 the model promises too much."""
    rows = []
    for block in blocks:
        assert isinstance(block, ClassificationSums)
        rows.append([sum(as_float(one[1] - one[2]) for one in block.reliability), as_float(block.weight)])
    return np.array(rows)


def _auc_columns(blocks: Sequence[Sums]) -> Floats:
    """For two classes: weight of class 0 in each score bin, then of class 1. Lowest score first."""
    histograms = []
    for block in blocks:
        if not isinstance(block, ClassificationSums) or block.classes != 2:
            raise ValueError("expected two classes: the AUC of more has no interval")
        histograms.append(block.scores[0] if block.rows else {})
    keys = {key: position for position, key in enumerate(sorted({key for each in histograms for key in each}))}
    table = np.zeros((len(blocks), 2, len(keys)))
    for position, histogram in enumerate(histograms):
        for key, (negative, positive) in histogram.items():
            table[position, :, keys[key]] = as_float(negative), as_float(positive)
    return table.reshape(len(blocks), -1)


def _auc_parts(totals: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    negative, positive = np.split(totals, 2, axis=1)
    before = np.cumsum(negative, axis=1) - negative / 2
    after = positive.sum(axis=1, keepdims=True) - np.cumsum(positive, axis=1) + positive / 2
    return negative, positive, before, after


def _auc(totals: Floats) -> Floats:
    negative, positive, before, _ = _auc_parts(totals)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((positive * before).sum(axis=1) / (negative.sum(axis=1) * positive.sum(axis=1)))


def _auc_gradient(totals: Floats) -> Floats:
    negative, positive, before, after = _auc_parts(totals)
    value = _auc(totals)[:, None]
    n, p = negative.sum(axis=1, keepdims=True), positive.sum(axis=1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.hstack([(after / p - value) / n, (before / n - value) / p])


def _mean(name: str, bounds: tuple[float, float] = (-np.inf, np.inf)) -> BlockMetric:
    return BlockMetric(_loss_columns(name), _ratio, _ratio_gradient, name, bounds)


CLASSIFICATION: Final[Mapping[str, BlockMetric]] = {
    "log_loss": _mean("log_loss", (0, np.inf)),
    "skill": BlockMetric(_skill_columns, _skill, _skill_gradient, None, (-np.inf, 1)),
    "brier": _mean("brier", (0, 2)),
    "accuracy": _mean("accuracy", (0, 1)),
    "auc": BlockMetric(_auc_columns, _auc, _auc_gradient, None, (0, 1)),
    "calibration": BlockMetric(_calibration_columns, _ratio, _ratio_gradient, None, (-1, 1)),
    "positive_share": BlockMetric(_share_columns, _ratio, _ratio_gradient, None, (0, 1)),
}
REGRESSION: Final[Mapping[str, BlockMetric]] = {
    "mae": _mean("mae", (0, np.inf)),
    "rmse": BlockMetric(_loss_columns("mse"), _root, _root_gradient, None, (0, np.inf)),
    "bias": _mean("bias"),
}
