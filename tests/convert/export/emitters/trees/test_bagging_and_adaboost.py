"""Bagging and AdaBoost of trees as one node."""

from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import AdaBoostClassifier, AdaBoostRegressor, BaggingClassifier, BaggingRegressor
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor, ExtraTreeClassifier

from support.trees import WAYS, around, assert_same, compare, cuts_of

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(300, 5))
FAR = X * [1e5, 3e-3, 1, 1, 1] + [1.7e9, 1e6, 0, 0, 0]
TWO = np.where(X[:, 0] + X[:, 1] > 0, 7, 3)
THREE = np.where(X[:, 2] > 1.8, 9, TWO)
NUMBERS = X[:, 0] * 3 + np.sin(X[:, 1])
SMALL = DecisionTreeClassifier(max_depth=3)


@pytest.mark.parametrize(("numbers", "precision"), WAYS)
@pytest.mark.parametrize(
    ("estimator", "target"),
    [
        pytest.param(BaggingClassifier(DecisionTreeClassifier(), 8), TWO, id="bagged, two classes"),
        pytest.param(BaggingClassifier(SMALL, 8, max_features=0.6), THREE, id="bagged, some of the columns each"),
        pytest.param(
            BaggingClassifier(ExtraTreeClassifier(), 8, max_samples=6), THREE, id="bagged, members lack a class"
        ),
        pytest.param(BaggingClassifier(SMALL, 8, max_samples=2), TWO, id="bagged, members know one class of two"),
        pytest.param(BaggingRegressor(DecisionTreeRegressor(), 8, max_features=3), NUMBERS + 50, id="bagged numbers"),
        pytest.param(AdaBoostClassifier(SMALL, n_estimators=8), TWO, id="boosted, two classes"),
        pytest.param(AdaBoostClassifier(SMALL, n_estimators=8), THREE, id="boosted, three classes"),
        pytest.param(AdaBoostClassifier(DecisionTreeClassifier(), n_estimators=8), TWO, id="boosted, right at once"),
        pytest.param(AdaBoostRegressor(n_estimators=8), NUMBERS, id="boosted numbers"),
    ],
)
def test_merged(estimator: Any, target: Any, numbers: Any, precision: Any) -> None:
    estimator.set_params(random_state=0).fit(X, target)
    members = estimator.estimators_
    taken = getattr(estimator, "estimators_features_", [range(5)] * len(members))
    cuts = ((int(seen[f]), cut) for tree, seen in zip(members, taken, strict=True) for f, cut in cuts_of([tree]))
    expected, actual, ops = compare(estimator, X, np.vstack([X, around(X, cuts)]), numbers, precision)
    assert_same(expected, actual)
    assert sum(count for name, count in ops.items() if name.startswith("TreeEnsemble")) == 1


def test_behind_a_scaler() -> None:
    estimator = make_pipeline(StandardScaler(), BaggingRegressor(DecisionTreeRegressor(), 8)).fit(FAR, NUMBERS)
    asked = around(FAR, cuts_of(estimator[1].estimators_, estimator[0]))
    assert_same(*compare(estimator, FAR, asked, "float64", "float64")[:2])


def test_members_that_are_no_trees_are_asked_one_by_one() -> None:
    estimator = BaggingClassifier(make_pipeline(StandardScaler(), LogisticRegression()), 3).fit(X, TWO)
    expected, actual, ops = compare(estimator, X, X, "float64", "float64")
    assert_same(expected, actual)
    assert "TreeEnsemble" not in ops
