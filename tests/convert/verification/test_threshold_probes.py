"""Rows at the thresholds of trees and bins: found through whatever comes before, and really on both sides."""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.datasets import make_classification
from sklearn.decomposition import PCA
from sklearn.ensemble import (
    BaggingClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    StackingClassifier,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import KBinsDiscretizer, OneHotEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier
from threadpoolctl import threadpool_limits

from skylane.convert.inspection.schema import infer
from skylane.convert.verification.threshold_probes import beside_thresholds

X, CLASSES = make_classification(
    300, 4, n_informative=3, n_redundant=1, n_classes=3, n_clusters_per_class=1, random_state=0
)
FRAME = pd.DataFrame(X, columns=list("abcd")).assign(
    n=np.arange(300), gaps=np.where(X[:, 0] > 1, np.nan, X[:, 1]), text=np.where(X[:, 0] > 0, "x", "y")
)

TREE = DecisionTreeClassifier(random_state=0)
FOREST = RandomForestClassifier(5, max_depth=4, random_state=0)

MIXED = ColumnTransformer(
    [
        ("numbers", make_pipeline(SimpleImputer(), StandardScaler()), ["gaps", "n", "a"]),
        ("texts", OneHotEncoder(), ["text"]),
    ]
)


def fitted(estimator: Any, rows: Any) -> Any:
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return estimator.fit(rows, CLASSES)


def answers(estimator: Any, rows: Any) -> Any:
    return estimator.transform(rows) if hasattr(estimator, "transform") else estimator.predict_proba(rows)


@pytest.mark.parametrize(
    ("estimator", "rows"),
    [
        pytest.param(DecisionTreeClassifier(max_depth=4), X, id="a tree"),
        pytest.param(FOREST, X, id="a forest"),
        pytest.param(make_pipeline(StandardScaler(), FOREST), X, id="behind a scaler"),
        pytest.param(make_pipeline(PCA(2), DecisionTreeClassifier(max_depth=3)), X, id="behind a rotation"),
        pytest.param(HistGradientBoostingClassifier(max_iter=3), X, id="histogram boosting"),
        pytest.param(GradientBoostingClassifier(n_estimators=3), X, id="gradient boosting"),
        pytest.param(BaggingClassifier(TREE, 3, max_features=2, random_state=0), X, id="trees of some features"),
        pytest.param(make_pipeline(MIXED, TREE), FRAME, id="behind a column transformer"),
        pytest.param(
            make_pipeline(FeatureUnion([("bins", KBinsDiscretizer(3, encode="ordinal"))])), X, id="bins in a union"
        ),
        pytest.param(CalibratedClassifierCV(TREE, cv=2), X, id="calibrated trees"),
        pytest.param(
            StackingClassifier([("a", make_pipeline(StandardScaler(), TREE))], cv=2), X,
            id="stacked trees",
        ),
    ],
)  # fmt: skip
def test_most_probes_are_on_different_sides(estimator: Any, rows: Any) -> None:
    """Not all: the two sides of a comparison may lead to equal leaves."""
    fitted(estimator, rows)
    layout, frame = infer(estimator, rows)
    found = beside_thresholds(estimator, layout, frame)
    assert found is not None
    said = answers(estimator, layout.native(found))
    before, at, after = np.split(said, 3)
    differ = np.any(before != at, axis=1) | np.any(at != after, axis=1)
    assert differ.mean() > 0.25


@pytest.mark.parametrize(
    ("rows", "neighbours"),
    [
        pytest.param(X, lambda low, high: np.nextafter(low, np.inf) == high, id="doubles"),
        pytest.param(
            X.astype(np.float32),
            lambda low, high: np.nextafter(low.astype(np.float32), np.float32(np.inf)) == high,
            id="single precision: no number is nearer to the threshold than its own",
        ),
        pytest.param(
            pd.DataFrame({"n": np.arange(300), "m": np.arange(300)[::-1]}), lambda low, high: low + 1 == high,
            id="integers stay integers",
        ),
    ],
)  # fmt: skip
def test_probes_are_neighbours_on_the_columns_own_lattice(rows: Any, neighbours: Callable[[Any, Any], Any]) -> None:
    tree = fitted(DecisionTreeClassifier(max_depth=3, random_state=0), rows)
    layout, frame = infer(tree, rows)
    found = beside_thresholds(tree, layout, frame)
    assert found is not None
    assert (found.dtypes == frame.dtypes).all()
    before, low, high = np.split(found.to_numpy(np.float64), 3)
    moved = low != high
    assert (moved.sum(axis=1) == 1).all(), "one number of each row is moved"
    assert neighbours(before[moved], low[moved]).all()
    assert neighbours(low[moved], high[moved]).all()


def test_no_trees_no_probes() -> None:
    model = fitted(LogisticRegression(), X)
    assert beside_thresholds(model, *infer(model, X)) is None


def test_the_same_pipeline_has_the_same_probes() -> None:
    forest = fitted(RandomForestClassifier(3, random_state=0), FRAME[["gaps", "n"]])
    layout, frame = infer(forest, FRAME[["gaps", "n"]])
    once, again = beside_thresholds(forest, layout, frame), beside_thresholds(forest, layout, frame)
    assert once is not None
    assert again is not None
    assert once.equals(again)
