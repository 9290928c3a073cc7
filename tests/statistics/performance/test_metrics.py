"""Each metric beside scikit-learn's, to 1e-12."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sklearn import metrics as sklearn
from sklearn.calibration import calibration_curve

from skylane.statistics.performance import metrics

Rows = tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], np.ndarray[Any, Any] | None]


def _binary(rows: int = 500, *, digits: int = 16, weighted: bool = False) -> Rows:
    generator = np.random.default_rng(1)
    scores = np.round(generator.beta(1, 3, rows), digits)
    labels = (generator.random(rows) < scores).astype(np.int64)
    return labels, scores, generator.choice([1.0, 2.5, 40.0], rows) if weighted else None


def _classes(classes: int = 4, *, weighted: bool = False) -> Rows:
    generator = np.random.default_rng(2)
    given = generator.dirichlet(np.full(classes, 0.7), 600)
    labels = (generator.random(600)[:, None] > given.cumsum(axis=1)).sum(axis=1).clip(max=classes - 1)
    return labels, given, 1 / generator.uniform(0.01, 1, 600) if weighted else None


def _certain() -> Rows:
    return np.array([0, 1, 1, 0]), np.array([0.0, 1.0, 0.0, 1.0]), None


ROWS = [
    pytest.param(_binary(), id="two classes"),
    pytest.param(_binary(digits=1), id="two classes, many equal scores"),
    pytest.param(_binary(weighted=True), id="two classes, weighted"),
    pytest.param(_certain(), id="certain and wrong: clipped"),
    pytest.param(_classes(), id="four classes"),
    pytest.param(_classes(weighted=True), id="four classes, weighted"),
]


def _sklearn_auc(labels: Any, given: Any, weights: Any) -> float:
    return float(sklearn.roc_auc_score(labels, given, sample_weight=weights, multi_class="ovr"))


def _sklearn_accuracy(labels: Any, given: Any, weights: Any) -> float:
    predicted = given.argmax(axis=1) if given.ndim == 2 else given > 0.5
    return float(sklearn.accuracy_score(labels, predicted, sample_weight=weights))


def _sklearn_log_loss(labels: Any, given: Any, weights: Any) -> float:
    return float(sklearn.log_loss(labels, given, sample_weight=weights))


def _sklearn_brier(labels: Any, given: Any, weights: Any) -> float:
    return float(sklearn.brier_score_loss(labels, given, sample_weight=weights))


@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        pytest.param(metrics.log_loss, _sklearn_log_loss, id="log loss"),
        pytest.param(metrics.brier_score, _sklearn_brier, id="Brier score"),
        pytest.param(metrics.auc, _sklearn_auc, id="AUC"),
        pytest.param(metrics.accuracy, _sklearn_accuracy, id="accuracy"),
    ],
)
def test_equals_scikit_learn(ours: Callable[..., float], theirs: Callable[..., float], rows: Rows) -> None:
    assert ours(*rows) == pytest.approx(theirs(*rows), rel=1e-12, abs=1e-12)


def test_single_precision_is_clipped_where_scikit_learn_clips_it() -> None:
    given = np.array([0.0, 1.0], np.float32)
    ours = metrics.row_log_losses(np.array([1, 0]), given)
    assert ours == pytest.approx(-np.log(np.finfo(np.float32).eps), rel=1e-6)


def test_reliability_has_the_bins_of_scikit_learn() -> None:
    labels, scores, _ = _binary()
    bins = [one for one in metrics.reliability(labels, scores) if one.weight]
    observed, predicted = calibration_curve(labels, scores, n_bins=10)
    assert [one.observed for one in bins] == pytest.approx(observed, rel=1e-12)
    assert [one.predicted for one in bins] == pytest.approx(predicted, rel=1e-12)


def test_calibration_error_is_the_weighted_distance_over_bins() -> None:
    labels, scores = np.array([0, 1, 1, 1]), np.array([0.15, 0.15, 0.85, 0.85])
    error = metrics.expected_calibration_error(metrics.reliability(labels, scores, np.array([1.0, 1.0, 3.0, 3.0])))
    assert error == pytest.approx((2 * 0.35 + 6 * 0.15) / 8)


def test_skill_is_measured_against_always_saying_the_base_rate() -> None:
    base = metrics.base_log_loss(np.array([3.0, 1.0, 0.0]))
    assert base == pytest.approx(sklearn.log_loss([0, 0, 0, 1], np.full(4, 0.25)))
    assert metrics.skill(base, base) == 0
    assert metrics.skill(0.0, base) == 1


@pytest.mark.parametrize("weights", [None, np.array([1.0, 5.0, 2.0])])
def test_regression_equals_scikit_learn(weights: Any) -> None:
    values, predictions = np.array([1.0, 2.0, 30.0]), np.array([1.5, -1.0, 33.0])
    mae = sklearn.mean_absolute_error(values, predictions, sample_weight=weights)
    rmse = sklearn.root_mean_squared_error(values, predictions, sample_weight=weights)
    assert metrics.mean_absolute_error(values, predictions, weights) == pytest.approx(mae, rel=1e-12)
    assert metrics.root_mean_squared_error(values, predictions, weights) == pytest.approx(rmse, rel=1e-12)
    assert metrics.bias(values, predictions, weights) == pytest.approx(np.average([0.5, -3.0, 3.0], weights=weights))


def test_one_class_alone_has_no_auc() -> None:
    assert np.isnan(metrics.auc(np.zeros(3, np.int64), np.array([0.1, 0.2, 0.3])))


@pytest.mark.parametrize("shape", [(3, 1), (2, 2, 2)])
def test_refuses_probabilities_of_another_shape(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="expected probabilities as"):
        metrics.log_loss(np.zeros(shape[0], np.int64), np.zeros(shape))
