"""What must be kept of the rows of one version, arm, segment and block, so that figures can be merged and recomputed.

All sums are integers in units of 2⁻⁶⁰ (see `exact_sums`): however rows are split over workers and servers, merging
gives the same object. Instances are plain data, go to JSON and back, and take a few kilobytes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from skylane.statistics.performance import metrics
from skylane.statistics.performance.exact_sums import FRACTION_BITS, as_float, exact_sum, exact_sums
from skylane.statistics.performance.merging import (
    Bins,
    LossSums,
    binned,
    bins_from_json,
    bins_to_json,
    combined,
    combined_bins,
    combined_losses,
    loss_sums,
    three,
)
from skylane.statistics.performance.metrics import RELIABILITY_BINS, Floats, Labels, as_matrix

SCORE_BINS_PER_UNIT: Final = 64
"""Bins of the score histogram per unit of log-odds: near 0.5 a bin is 0.004 wide, near 0 and 1 far narrower."""
_LOGIT_MAX: Final = 16.0
ERROR_BITS: Final = 180
"""Errors of a regression are summed in units of 2⁻¹⁸⁰, because targets may be of any size."""
FORMAT: Final = 1


def score_bin(probabilities: Floats) -> NDArray[np.int64]:
    """Bin of each probability in the score histogram, which is even in log-odds: (rows,), 0 is the bin above 0.5."""
    clipped = np.clip(np.ascontiguousarray(probabilities, np.float64), 1e-15, 1 - 1e-15)
    logits = np.clip(np.log(clipped / (1 - clipped)), -_LOGIT_MAX, _LOGIT_MAX)
    return np.asarray(np.floor(logits * SCORE_BINS_PER_UNIT), np.int64)


@dataclass(frozen=True)
class ClassificationSums:
    """Sums over labelled rows of a classifier. `ClassificationSums.of` makes them, `+` merges them."""

    classes: int
    rows: int = 0
    weight: int = 0
    weight_squared: int = 0
    class_weights: tuple[int, ...] = ()
    losses: Mapping[str, LossSums] = field(default_factory=dict)
    """By metric: `log_loss`, `brier` and `accuracy` (whose loss is 1 where the answer was right)."""
    scores: tuple[Bins, ...] = ()
    """Score histograms for the AUC: one for two classes, else one per class. Bin → (weight of others, of the class)."""
    cells: Bins = field(default_factory=dict)
    """Bin of the reported probability → (weight, weight × log loss), for "inputs or world"."""
    reliability: tuple[tuple[int, ...], ...] = ()
    """For each bin of equal width: weight, weight × probability, weight × outcome."""

    @classmethod
    def of(cls, labels: Labels, probabilities: NDArray[Any], weights: Floats | None = None) -> Self:
        """Sums of rows; labels, probabilities and weights as in `metrics`. Raises ValueError if they do not fit."""
        given = as_matrix(probabilities)
        weight = np.ones(len(labels)) if weights is None else np.asarray(weights, np.float64)
        _check_rows(labels, given, weight)
        predicted, came = metrics.confidence(labels, given)
        row_losses = {
            "log_loss": metrics.row_log_losses(labels, given),
            "brier": metrics.row_brier_scores(labels, given),
            "accuracy": metrics.row_hits(labels, given),
        }
        scored = [1] if given.shape[1] == 2 else range(given.shape[1])
        where = metrics.reliability_bin(predicted)
        promised = [exact_sums(weight * each, where, RELIABILITY_BINS) for each in (1.0, predicted, came)]
        return cls(
            given.shape[1],
            len(labels),
            exact_sum(weight),
            exact_sum(weight**2),
            tuple(exact_sums(weight, np.asarray(labels, np.int64), given.shape[1])),
            {name: loss_sums(weight, loss) for name, loss in row_losses.items()},
            tuple(
                binned(score_bin(given[:, one]), (weight * (labels != one), weight * (labels == one)))
                for one in scored
            ),
            binned(score_bin(predicted), (weight, weight * row_losses["log_loss"])),
            tuple(zip(*promised, strict=True)),
        )  # fmt: skip

    def __add__(self, other: Self) -> Self:
        """Sums over the rows of both. Raises ValueError if their numbers of classes differ."""
        return self._combined(other, 1) if self.rows and other.rows else self if self.rows else self._checked(other)

    def without(self, part: Self) -> Self:
        """Sums over the rows that are here and not in `part`, exactly; `part` must be some of these rows."""
        return self._combined(part, -1) if part.rows else self

    def _checked(self, other: Self) -> Self:
        if self.classes != other.classes:
            raise ValueError(f"expected sums over {self.classes} classes, got {other.classes}")
        return other

    def _combined(self, other: Self, sign: int) -> Self:
        self._checked(other)
        return type(self)(
            self.classes,
            self.rows + sign * other.rows,
            self.weight + sign * other.weight,
            self.weight_squared + sign * other.weight_squared,
            combined(self.class_weights, other.class_weights, sign),
            combined_losses(self.losses, other.losses, sign),
            tuple(combined_bins(mine, theirs, sign) for mine, theirs in zip(self.scores, other.scores, strict=True)),
            combined_bins(self.cells, other.cells, sign),
            tuple(combined(one, each, sign) for one, each in zip(self.reliability, other.reliability, strict=True)),
        )

    def figures(self) -> "ClassificationFigures":
        """The metrics of these rows. NaN where there are none."""
        return _classification_figures(self)

    def to_json(self) -> dict[str, Any]:
        """Plain data for `json.dumps`; `from_json` reads it back to an equal object."""
        return {
            "format": FORMAT, "kind": "classification", "classes": self.classes, "rows": self.rows,
            "weight": self.weight, "weight_squared": self.weight_squared, "class_weights": list(self.class_weights),
            "losses": {name: list(sums) for name, sums in self.losses.items()},
            "scores": [bins_to_json(bins) for bins in self.scores], "cells": bins_to_json(self.cells),
            "reliability": [list(one) for one in self.reliability],
        }  # fmt: skip

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote. Raises ValueError for another kind or a later format."""
        _check_format(data, "classification")
        return cls(
            data["classes"], data["rows"], data["weight"], data["weight_squared"], tuple(data["class_weights"]),
            {name: three(sums) for name, sums in data["losses"].items()},
            tuple(bins_from_json(bins) for bins in data["scores"]), bins_from_json(data["cells"]),
            tuple(tuple(one) for one in data["reliability"]),
        )  # fmt: skip


@dataclass(frozen=True)
class RegressionSums:
    """Sums over rows of a regression whose value is known. `RegressionSums.of` makes them, `+` merges them."""

    rows: int = 0
    weight: int = 0
    weight_squared: int = 0
    losses: Mapping[str, LossSums] = field(default_factory=dict)
    """By metric: `mae` (size of the error), `mse` (its square), `bias` (prediction − value), in units of 2⁻¹⁸⁰."""

    @classmethod
    def of(cls, values: Floats, predictions: Floats, weights: Floats | None = None) -> Self:
        """Sums of these rows: values, predictions and weights are (rows,)."""
        values, predictions = np.asarray(values, np.float64), np.asarray(predictions, np.float64)
        weight = np.ones(len(values)) if weights is None else np.asarray(weights, np.float64)
        if not len(values) == len(predictions) == len(weight):
            raise ValueError(f"expected as many predictions and weights as values ({len(values)})")
        errors = predictions - values
        row_losses = {"mae": np.abs(errors), "mse": errors**2, "bias": errors}
        return cls(
            len(values), exact_sum(weight), exact_sum(weight**2),
            {name: loss_sums(weight, loss, ERROR_BITS) for name, loss in row_losses.items()},
        )  # fmt: skip

    def __add__(self, other: Self) -> Self:
        """Sums over the rows of both."""
        return self._combined(other, 1) if self.rows and other.rows else self if self.rows else other

    def without(self, part: Self) -> Self:
        """Sums over the rows that are here and not in `part`, exactly; `part` must be some of these rows."""
        return self._combined(part, -1) if part.rows else self

    def _combined(self, other: Self, sign: int) -> Self:
        return type(self)(
            self.rows + sign * other.rows,
            self.weight + sign * other.weight,
            self.weight_squared + sign * other.weight_squared,
            combined_losses(self.losses, other.losses, sign),
        )

    def figures(self) -> "RegressionFigures":
        """The metrics of these rows. NaN where there are none."""
        if not self.rows:
            return RegressionFigures(0, 0.0, *[float("nan")] * 3)
        weight = self.weight << (ERROR_BITS - FRACTION_BITS)
        mean = {name: sums[0] / weight for name, sums in self.losses.items()}
        return RegressionFigures(self.rows, as_float(self.weight), mean["mae"], mean["mse"] ** 0.5, mean["bias"])

    def to_json(self) -> dict[str, Any]:
        """Plain data for `json.dumps`; `from_json` reads it back to an equal object."""
        return {
            "format": FORMAT, "kind": "regression", "rows": self.rows, "weight": self.weight,
            "weight_squared": self.weight_squared, "losses": {name: list(sums) for name, sums in self.losses.items()},
        }  # fmt: skip

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote. Raises ValueError for another kind or a later format."""
        _check_format(data, "regression")
        losses = {name: three(sums) for name, sums in data["losses"].items()}
        return cls(data["rows"], data["weight"], data["weight_squared"], losses)


@dataclass(frozen=True)
class ClassificationFigures:
    """Metrics of a classifier over some rows."""

    rows: int
    weight: float
    log_loss: float
    base_log_loss: float
    """Log loss of always answering with these rows' own shares of the classes."""
    skill: float
    brier: float
    accuracy: float
    auc: float
    auc_error: float
    """Largest distance of `auc` from the exact one: scores within one bin of the histogram count as ties."""
    calibration_error: float
    reliability: list[metrics.ReliabilityBin]
    class_shares: list[float]


@dataclass(frozen=True)
class RegressionFigures:
    """Metrics of a regression over some rows, in the unit of the target."""

    rows: int
    weight: float
    mae: float
    rmse: float
    bias: float


def _classification_figures(sums: ClassificationSums) -> ClassificationFigures:
    if not sums.rows:
        nan = float("nan")
        return ClassificationFigures(0, 0.0, nan, nan, nan, nan, nan, nan, nan, nan, [], [])
    mean = {name: each[0] / sums.weight for name, each in sums.losses.items()}
    base = metrics.base_log_loss(np.array([each / sums.weight for each in sums.class_weights]))
    aucs = [_auc_and_error(bins) for bins in sums.scores]
    bins = metrics.reliability_bins(*(np.array([as_float(one[i]) for one in sums.reliability]) for i in range(3)))
    return ClassificationFigures(
        sums.rows, as_float(sums.weight), mean["log_loss"], base, metrics.skill(mean["log_loss"], base), mean["brier"],
        mean["accuracy"], float(np.mean([one for one, _ in aucs])), float(np.mean([error for _, error in aucs])),
        metrics.expected_calibration_error(bins), bins, [each / sums.weight for each in sums.class_weights],
    )  # fmt: skip


def _auc_and_error(bins: Bins) -> tuple[float, float]:
    """AUC of a histogram, and half the share of the pairs that fall into one bin: how far the exact AUC may be away."""
    ordered = np.array([[as_float(one) for one in bins[key]] for key in sorted(bins)])
    pairs = ordered[:, 0].sum() * ordered[:, 1].sum()
    value = metrics.histogram_auc(ordered[:, 0], ordered[:, 1])
    return value, float((ordered[:, 0] * ordered[:, 1]).sum() / pairs / 2) if pairs > 0 else float("nan")


def _check_rows(labels: Labels, given: NDArray[Any], weight: Floats) -> None:
    if not len(labels) == len(given) == len(weight):
        raise ValueError(f"expected as many rows of probabilities and weights as labels ({len(labels)})")
    if len(labels) and not (labels.min() >= 0 and labels.max() < given.shape[1]):
        raise ValueError(f"expected labels from 0 to {given.shape[1] - 1}, got {labels.min()} to {labels.max()}")
    if len(labels) and not (weight > 0).all():
        raise ValueError("expected weights above 0")


def _check_format(data: Mapping[str, Any], kind: str) -> None:
    if data.get("kind") != kind or data.get("format") != FORMAT:
        raise ValueError(f"expected {kind} sums of format {FORMAT}, got {data.get('kind')} of {data.get('format')}")
