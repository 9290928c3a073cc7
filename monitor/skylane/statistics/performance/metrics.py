"""How good answers were, from rows and their labels: each figure equals scikit-learn's to 1e-12.

Labels are class numbers from 0; probabilities are (rows, classes), or (rows,) for the probability of class 1 of two.
Weights are (rows,): one over the probability with which a row was kept, so that a sampled journal gives the figures
of all rows.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]
RELIABILITY_BINS: Final = 10


@dataclass(frozen=True)
class ReliabilityBin:
    """Rows whose probability lay between `low` and `high`: what was promised, and what came."""

    low: float
    high: float
    weight: float
    predicted: float
    """Mean probability; NaN without rows."""
    observed: float
    """Share of rows of the class; NaN without rows."""


def as_matrix(probabilities: NDArray[Any]) -> NDArray[Any]:
    """Probabilities as (rows, classes): a vector is the probability of class 1 of two."""
    if probabilities.ndim == 1:
        return np.column_stack([1 - probabilities, probabilities])
    if probabilities.ndim != 2 or probabilities.shape[1] < 2:
        raise ValueError(f"expected probabilities as (rows,) or (rows, 2 or more classes), got {probabilities.shape}")
    return probabilities


def row_log_losses(labels: Labels, probabilities: NDArray[Any]) -> Floats:
    """Minus the logarithm of the probability given to what came: (rows,).

    Clipped to [eps, 1 − eps] with the eps of the dtype, as `sklearn.metrics.log_loss` does: 2.2e-16, or 1.2e-7 for
    float32.
    """
    given = as_matrix(probabilities)
    eps = np.finfo(given.dtype).eps if given.dtype.kind == "f" else np.finfo(np.float64).eps
    chosen = np.ascontiguousarray(given[np.arange(len(labels)), labels])
    return np.asarray(-np.log(np.clip(chosen, eps, 1 - eps).astype(np.float64)))


def row_brier_scores(labels: Labels, probabilities: NDArray[Any]) -> Floats:
    """Squared error of the probabilities: (rows,). For two classes that of class 1, for more the sum over classes."""
    given = as_matrix(probabilities).astype(np.float64)
    errors = given - (np.arange(given.shape[1]) == labels[:, None])
    if given.shape[1] == 2:
        return np.asarray(errors[:, 1] ** 2)
    return np.asarray((errors**2).sum(axis=1))


def row_hits(labels: Labels, probabilities: NDArray[Any]) -> Floats:
    """1.0 where the most probable class came, else 0.0; the lower class wins a tie, as in scikit-learn: (rows,)."""
    return np.asarray(as_matrix(probabilities).argmax(axis=1) == labels, np.float64)


def log_loss(labels: Labels, probabilities: NDArray[Any], weights: Floats | None = None) -> float:
    """Mean of `row_log_losses`."""
    return _mean(row_log_losses(labels, probabilities), weights)


def brier_score(labels: Labels, probabilities: NDArray[Any], weights: Floats | None = None) -> float:
    """Mean of `row_brier_scores`."""
    return _mean(row_brier_scores(labels, probabilities), weights)


def accuracy(labels: Labels, probabilities: NDArray[Any], weights: Floats | None = None) -> float:
    """Share of rows whose most probable class came."""
    return _mean(row_hits(labels, probabilities), weights)


def auc(labels: Labels, probabilities: NDArray[Any], weights: Floats | None = None) -> float:
    """Area under the ROC curve, exact, ties counted half; of more than two classes the mean of one against the rest.

    NaN if a class has no rows: there is no pair to compare. O(rows × log rows).
    """
    given = as_matrix(probabilities)
    weight = np.ones(len(labels)) if weights is None else weights
    classes = [1] if given.shape[1] == 2 else range(given.shape[1])
    return float(np.mean([_auc(labels == one, given[:, one], weight) for one in classes]))


def base_log_loss(class_weights: Floats) -> float:
    """Log loss of always answering with the shares of the classes: their entropy. Weights are (classes,)."""
    shares = class_weights[class_weights > 0] / class_weights.sum()
    return float(-(shares * np.log(shares)).sum())


def skill(loss: float, base: float) -> float:
    """Share of the base rate's loss that the model saves: 1 is perfect, below 0 worse than the base rate."""
    return 1 - loss / base if base > 0 else float("nan")


def reliability(
    labels: Labels, probabilities: NDArray[Any], weights: Floats | None = None, bins: int = RELIABILITY_BINS
) -> list[ReliabilityBin]:
    """Promised and observed shares in bins of equal width, with the edges of `sklearn.calibration.calibration_curve`.

    Of two classes the probability of class 1 counts; of more, the probability of the most probable class and whether
    it came.
    """
    predicted, came = confidence(labels, probabilities)
    weight = np.ones(len(labels)) if weights is None else weights
    where = reliability_bin(predicted, bins)
    sums = [bin_sums(where, each, bins) for each in (weight, weight * predicted, weight * came)]
    return reliability_bins(*sums)


def confidence(labels: Labels, probabilities: NDArray[Any]) -> tuple[Floats, Floats]:
    """What reliability compares: a probability per row, and 1.0 where it came true."""
    given = as_matrix(probabilities).astype(np.float64)
    if given.shape[1] == 2:
        return np.ascontiguousarray(given[:, 1]), (labels == 1).astype(np.float64)
    return given.max(axis=1), row_hits(labels, probabilities)


def reliability_bin(predicted: Floats, bins: int = RELIABILITY_BINS) -> NDArray[np.int64]:
    """Bin of each probability: (rows,) from 0 to `bins` − 1. An inner edge belongs to the bin above it."""
    return np.searchsorted(np.linspace(0, 1, bins + 1)[1:-1], predicted, side="right").astype(np.int64)


def reliability_bins(weight: Floats, predicted: Floats, came: Floats) -> list[ReliabilityBin]:
    """Bins from their sums: `weight`, weight × probability and weight × outcome, each (bins,)."""
    edges = np.linspace(0, 1, len(weight) + 1)
    return [
        ReliabilityBin(
            float(edges[i]), float(edges[i + 1]), float(weight[i]),
            float(predicted[i] / weight[i]) if weight[i] > 0 else float("nan"),
            float(came[i] / weight[i]) if weight[i] > 0 else float("nan"),
        )
        for i in range(len(weight))
    ]  # fmt: skip


def expected_calibration_error(bins: list[ReliabilityBin]) -> float:
    """Mean distance between promised and observed share over bins, weighted by their rows (Naeini et al., 2015)."""
    filled = [one for one in bins if one.weight > 0]
    total = sum(one.weight for one in filled)
    return sum(one.weight * abs(one.predicted - one.observed) for one in filled) / total if total else float("nan")


def mean_absolute_error(values: Floats, predictions: Floats, weights: Floats | None = None) -> float:
    """Mean size of the error, in the unit of the target."""
    return _mean(np.abs(predictions - values), weights)


def root_mean_squared_error(values: Floats, predictions: Floats, weights: Floats | None = None) -> float:
    """Root of the mean squared error, in the unit of the target."""
    return float(np.sqrt(_mean((predictions - values) ** 2, weights)))


def bias(values: Floats, predictions: Floats, weights: Floats | None = None) -> float:
    """Mean of prediction − value, in the unit of the target: above 0 the model answers too high."""
    return _mean(predictions - values, weights)


def bin_sums(where: NDArray[np.int64], numbers: Floats, count: int) -> Floats:
    """Sums of `numbers` (n,) by their bin `where` (n,): (count,)."""
    return np.asarray(np.bincount(where, numbers, count), np.float64)


def _mean(numbers: Floats, weights: Floats | None) -> float:
    return float(np.average(numbers, weights=weights)) if len(numbers) else float("nan")


def _auc(positive: NDArray[np.bool_], scores: NDArray[Any], weights: Floats) -> float:
    distinct, where = np.unique(scores, return_inverse=True)
    above = bin_sums(where, weights * positive, len(distinct))
    below = bin_sums(where, weights * ~positive, len(distinct))
    return histogram_auc(below, above)


def histogram_auc(negative: Floats, positive: Floats) -> float:
    """AUC from weights per score, lowest first: (bins,) each. Rows of one bin count as ties. NaN without a pair."""
    pairs = positive.sum() * negative.sum()
    if pairs <= 0:
        return float("nan")
    before = np.cumsum(negative) - negative
    return float((positive * (before + negative / 2)).sum() / pairs)
