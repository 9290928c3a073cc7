"""Sums of blocks merge to the sums of all rows, whatever the split, and give the metrics of the rows."""

import json
from functools import reduce
from operator import add
from typing import Any

import numpy as np
import pytest

from skylane.statistics.performance import ClassificationSums, RegressionSums, metrics

SUMS = ClassificationSums | RegressionSums


def _classification(rows: int, classes: int, seed: int = 3) -> tuple[Any, ...]:
    generator = np.random.default_rng(seed)
    given = generator.dirichlet(np.ones(classes), rows)
    labels = generator.integers(0, classes, rows)
    return labels, given, 1 / generator.uniform(0.05, 1, rows)


def _regression(rows: int, scale: float, seed: int = 3) -> tuple[Any, ...]:
    generator = np.random.default_rng(seed)
    return generator.normal(size=rows) * scale, generator.normal(size=rows) * scale, generator.uniform(1, 9, rows)


KINDS = [
    pytest.param(ClassificationSums, _classification(400, 2), id="two classes"),
    pytest.param(ClassificationSums, _classification(400, 5), id="five classes"),
    pytest.param(RegressionSums, _regression(400, 1.0), id="regression"),
    pytest.param(RegressionSums, _regression(400, 1e-12), id="regression of tiny values"),
    pytest.param(RegressionSums, _regression(400, 1e12), id="regression of huge values"),
]


@pytest.mark.parametrize(("kind", "rows"), KINDS)
def test_any_split_over_workers_and_any_order_gives_the_same(kind: Any, rows: tuple[Any, ...]) -> None:
    whole = kind.of(*rows)
    generator = np.random.default_rng(4)
    for workers in (1, 2, 7, 400):
        order = generator.permutation(400)
        owner = generator.integers(0, workers, 400)
        parts = [kind.of(*(each[order][owner[order] == worker] for each in rows)) for worker in range(workers)]
        assert reduce(add, generator.permutation(np.array(parts, object)).tolist()) == whole


@pytest.mark.parametrize(("kind", "rows"), KINDS)
def test_taking_a_part_away_leaves_exactly_the_rest(kind: Any, rows: tuple[Any, ...]) -> None:
    whole, part, rest = (
        kind.of(*(each[where] for each in rows)) for where in (slice(None), slice(90), slice(90, None))
    )
    assert whole.without(part) == rest


@pytest.mark.parametrize(("kind", "rows"), KINDS)
def test_goes_to_json_and_back(kind: Any, rows: tuple[Any, ...]) -> None:
    sums = kind.of(*rows)
    assert kind.from_json(json.loads(json.dumps(sums.to_json()))) == sums


@pytest.mark.parametrize("classes", [2, 3, 6])
def test_figures_of_a_classifier_are_those_of_its_rows(classes: int) -> None:
    rows = _classification(3000, classes)
    figures = ClassificationSums.of(*rows).figures()
    assert figures.log_loss == pytest.approx(metrics.log_loss(*rows), rel=1e-12)
    assert figures.brier == pytest.approx(metrics.brier_score(*rows), rel=1e-12)
    assert figures.accuracy == pytest.approx(metrics.accuracy(*rows), rel=1e-12)
    error = metrics.expected_calibration_error(metrics.reliability(*rows))
    assert figures.calibration_error == pytest.approx(error, rel=1e-12)
    assert abs(figures.auc - metrics.auc(*rows)) <= figures.auc_error < 0.01
    assert figures.skill == 1 - figures.log_loss / figures.base_log_loss


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
def test_figures_of_a_regression_are_those_of_its_rows(scale: float) -> None:
    rows = _regression(500, scale)
    figures = RegressionSums.of(*rows).figures()
    assert figures.mae == pytest.approx(metrics.mean_absolute_error(*rows), rel=1e-12)
    assert figures.rmse == pytest.approx(metrics.root_mean_squared_error(*rows), rel=1e-12)
    assert figures.bias == pytest.approx(metrics.bias(*rows), rel=1e-12, abs=scale * 1e-12)


def test_the_bound_of_the_auc_holds_where_scores_share_a_bin() -> None:
    labels, scores = np.array([0, 1, 0, 1]), np.array([0.5001, 0.5002, 0.5003, 0.5004])
    figures = ClassificationSums.of(labels, scores).figures()
    assert (figures.auc, figures.auc_error) == (0.5, 0.5)


@pytest.mark.parametrize(("kind", "rows"), KINDS)
def test_no_rows_change_nothing_and_have_no_figures(kind: Any, rows: tuple[Any, ...]) -> None:
    sums, none = kind.of(*rows), kind.of(*(each[:0] for each in rows))
    assert sums + none == sums == none + sums
    assert kind.from_json(json.loads(json.dumps(none.to_json()))) == none
    assert np.isnan(none.figures().bias if kind is RegressionSums else none.figures().log_loss)


@pytest.mark.parametrize(
    ("labels", "weights", "message"),
    [
        pytest.param([0, 2], [1.0, 1.0], "labels from 0 to 1", id="a class that the model does not have"),
        pytest.param([0, -1], [1.0, 1.0], "labels from 0 to 1", id="a label below 0"),
        pytest.param([0, 1], [1.0, 0.0], "weights above 0", id="a weight of 0"),
        pytest.param([0], [1.0], "as many rows", id="fewer labels than rows"),
    ],
)
def test_refuses_rows_that_do_not_fit(labels: list[int], weights: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ClassificationSums.of(np.array(labels), np.array([0.5, 0.5]), np.array(weights))


def test_refuses_to_merge_other_classes_and_to_read_another_kind() -> None:
    two, three = (ClassificationSums.of(*_classification(5, classes)) for classes in (2, 3))
    with pytest.raises(ValueError, match="sums over 2 classes"):
        two + three
    with pytest.raises(ValueError, match="expected regression sums"):
        RegressionSums.from_json(two.to_json())
