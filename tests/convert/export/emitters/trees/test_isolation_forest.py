"""Isolation forests as one node."""

from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import IsolationForest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from support.trees import WAYS, around, assert_same, compare, cuts_of

X = np.random.default_rng(0).normal(size=(400, 5))
FAR = X * [1e5, 3e-3, 1, 1, 1] + [1.7e9, 1e6, 0, 0, 0]


@pytest.mark.parametrize(("numbers", "precision"), WAYS)
@pytest.mark.parametrize(
    "model",
    [
        pytest.param(IsolationForest(n_estimators=12, random_state=0), id="as usual"),
        pytest.param(
            IsolationForest(n_estimators=12, max_features=0.5, contamination=0.1, max_samples=64, random_state=0),
            id="each tree sees half of the columns, and a tenth are outliers",
        ),
        pytest.param(IsolationForest(n_estimators=3, max_samples=1, random_state=0), id="nothing to be isolated"),
    ],
)
def test_scores_on_both_sides_of_every_threshold(model: Any, numbers: Any, precision: Any) -> None:
    model.fit(X)
    if model.max_samples == 1:
        asked = X
    else:
        pairs = zip(model.estimators_, model.estimators_features_, strict=True)
        cuts = ((int(seen[f]), cut) for tree, seen in pairs for f, cut in cuts_of([tree]))
        asked = np.vstack([around(X, cuts), X * 10])
    expected, actual, ops = compare(model, X, asked, numbers, precision)
    assert_same(expected, actual)
    assert model.max_samples == 1 or sum(ops.values()) <= 7


def test_behind_a_scaler() -> None:
    model = make_pipeline(StandardScaler(), IsolationForest(n_estimators=12, random_state=0)).fit(FAR)
    asked = around(FAR, cuts_of(model[1].estimators_, model[0]))
    expected, actual, ops = compare(model, FAR, asked, "float64", "float64")
    assert_same(expected, actual, 1e-12)
    assert ops["TreeEnsemble"] == 1
