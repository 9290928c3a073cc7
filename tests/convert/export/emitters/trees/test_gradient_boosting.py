"""Boosted trees of scikit-learn: thresholds in doubles, gaps, categories, first guesses and links."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import (
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    VotingClassifier,
)
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from skylane.convert.errors import Refused
from skylane.convert.export.emitters import emit
from skylane.convert.inspection.schema import infer
from support.trees import WAYS, around, assert_same, compare, cuts_of, with_ends

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(300, 5))
FAR = X * [1e5, 3e-3, 1, 1, 1] + [1.7e9, 1e6, 0, 0, 0]
GAPS = np.where(RANDOM.random(X.shape) < 0.1, np.nan, X)
SINGLE = X.astype(np.float32).astype(np.float64)
TWO = (X[:, 0] + X[:, 1] > 0).astype(int)
THREE = TWO + (X[:, 2] > 0)
NUMBERS = X[:, 0] * 3 + np.sin(X[:, 1])


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Histogram boosting would start a thread for each core, and spin."""
    with threadpool_limits(1):
        yield


@pytest.mark.parametrize(("numbers", "precision"), WAYS)
@pytest.mark.parametrize(
    ("estimator", "rows", "target"),
    [
        pytest.param(GradientBoostingClassifier(n_estimators=8), X, TWO, id="two classes"),
        pytest.param(GradientBoostingClassifier(n_estimators=4), FAR, THREE, id="three classes"),
        pytest.param(GradientBoostingClassifier(n_estimators=4, init="zero"), X, TWO, id="from nought"),
        pytest.param(GradientBoostingClassifier(n_estimators=4, loss="exponential"), X, TWO, id="exponential loss"),
        pytest.param(GradientBoostingRegressor(n_estimators=8), X, NUMBERS + 1000, id="numbers far from nought"),
        pytest.param(GradientBoostingRegressor(n_estimators=4, loss="quantile"), X, NUMBERS, id="a quantile"),
    ],
)
def test_rows_on_both_sides_of_every_threshold(
    estimator: Any, rows: Any, target: Any, numbers: Any, precision: Any
) -> None:
    estimator.set_params(random_state=0).fit(rows, target)
    asked = around(rows, cuts_of(estimator.estimators_.ravel()))
    if numbers == "float32" and rows is FAR:
        numbers = "float64"
    expected, actual, _ = compare(estimator, X, asked, numbers, precision)
    assert_same(expected, actual)


def test_in_a_draw_gradient_boosting_takes_the_second_class() -> None:
    estimator = GradientBoostingClassifier(n_estimators=1, init="zero").fit([[0.0], [0.0]], [0, 1])
    expected, actual, _ = compare(estimator, np.zeros((2, 1)), np.zeros((2, 1)), "float32", "float32")
    assert expected.label is not None
    assert actual.label is not None
    assert expected.label.tolist() == actual.label.tolist() == [1, 1]


def test_in_a_draw_histogram_boosting_takes_the_first_class() -> None:
    estimator = HistGradientBoostingClassifier(max_iter=1).fit([[0.0], [0.0]], [0, 1])
    expected, actual, _ = compare(estimator, np.zeros((2, 1)), np.zeros((2, 1)), "float32", "float32")
    assert expected.label is not None
    assert actual.label is not None
    assert expected.label.tolist() == actual.label.tolist() == [0, 0]


def test_a_first_guess_of_another_model_is_refused() -> None:
    estimator = make_pipeline(GradientBoostingClassifier(n_estimators=2, init=LogisticRegression())).fit(X, TWO)
    with pytest.raises(Refused, match=r"the step gradientboostingclassifier begins .*: leave out init="):
        emit(estimator, infer(estimator, X)[0], "float32", "classifier")


def cuts_of_histograms(model: Any) -> Iterator[tuple[int, float]]:
    for stage in model._predictors:
        for predictor in stage:
            for node in predictor.nodes:
                if not node["is_leaf"] and not node["is_categorical"] and np.isfinite(node["num_threshold"]):
                    yield int(node["feature_idx"]), float(node["num_threshold"])


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize(
    ("estimator", "rows", "target"),
    [
        pytest.param(HistGradientBoostingClassifier(max_iter=8), FAR, TWO, id="two classes"),
        pytest.param(HistGradientBoostingClassifier(max_iter=4), GAPS, THREE, id="three classes with gaps"),
        pytest.param(HistGradientBoostingRegressor(max_iter=8), GAPS, NUMBERS, id="numbers"),
        pytest.param(
            HistGradientBoostingRegressor(max_iter=4, loss="poisson"), FAR, np.exp(NUMBERS), id="counts, with a link"
        ),
    ],
)
def test_doubles_on_both_sides_of_every_threshold(estimator: Any, rows: Any, target: Any, precision: Any) -> None:
    """These take infinities, too."""
    estimator.fit(rows, target)
    asked = with_ends(around(rows, cuts_of_histograms(estimator)), infinite=True)
    assert_same(*compare(estimator, rows, asked, "float64", precision)[:2])


def test_single_precision_is_right_where_it_holds_the_rows() -> None:
    estimator = HistGradientBoostingRegressor(max_iter=8).fit(SINGLE, NUMBERS)
    asked = around(SINGLE, cuts_of_histograms(estimator)).astype(np.float32).astype(np.float64)
    assert_same(*compare(estimator, SINGLE, asked, "float32", "float32")[:2])


def test_a_scaler_moves_double_thresholds_to_the_last_bit() -> None:
    estimator = make_pipeline(StandardScaler(), HistGradientBoostingRegressor(max_iter=4)).fit(FAR, NUMBERS)
    scaler = estimator[0]
    cuts = ((f, cut * scaler.scale_[f] + scaler.mean_[f]) for f, cut in cuts_of_histograms(estimator[1]))
    asked = around(FAR, cuts)
    asked = np.vstack([asked, np.nextafter(asked, np.inf), np.nextafter(asked, -np.inf)])
    expected, actual, ops = compare(estimator, FAR, asked, "float64", "float64")
    assert_same(expected, actual, 0.0)
    assert ops == {"TreeEnsemble": 1}, "the first guess is a tree, too"


@pytest.mark.parametrize(
    ("target", "leaf"), [pytest.param(TWO, 3, id="two classes"), pytest.param(THREE, 5, id="three classes")]
)
def test_isotonic_calibration_that_steps_between_neighbouring_numbers(target: Any, leaf: int) -> None:
    """Scores that are a last bit off are another probability."""
    model = HistGradientBoostingClassifier(max_iter=6, min_samples_leaf=leaf)
    estimator = CalibratedClassifierCV(model, cv=3, method="isotonic").fit(FAR, target)
    assert_same(*compare(estimator, FAR, np.vstack([FAR, FAR * (1 + 1e-7)]), "float64", "float64")[:2], 1e-12)


@settings(deadline=None, max_examples=15)
@given(
    seed=st.integers(0, 10**6),
    count=st.sampled_from([2, 5, 31, 64, 130, 250]),
    gaps=st.sampled_from([0.0, 0.2]),
    precision=st.sampled_from(["float32", "float64"]),
)
def test_law_categories_go_where_they_went(seed: int, count: int, gaps: float, precision: Any) -> None:
    """Known ones, unknown ones, those between two of them, and none at all."""
    random = np.random.default_rng(seed)
    codes = random.permutation(np.arange(600) % count) * 3.0 - 30
    effect = random.normal(size=count)[((codes + 30) / 3).astype(int)]
    codes[random.random(600) < gaps] = np.nan
    rows = np.column_stack([random.normal(size=600), codes, random.normal(size=600)])
    estimator = HistGradientBoostingRegressor(max_iter=4, categorical_features=[1], min_samples_leaf=2)
    estimator.fit(rows, effect + rows[:, 0] * 0.1)
    asked = np.vstack([rows, rows[:20] + np.array([0, 1.5, 0]), rows[:20] * [1, 100, 1], rows[:3] * [1, np.nan, 1]])
    assert_same(*compare(estimator, rows, asked, "float64", precision)[:2])


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_categories_of_a_data_frame(precision: Any) -> None:
    """Texts, codes, both with gaps; texts never seen."""
    words = np.array(["x", "y", "z", "", "über"])[RANDOM.integers(0, 5, 300)]
    frame = pd.DataFrame({"a": X[:, 0], "word": pd.Series(words).mask(RANDOM.random(300) < 0.1), "b": X[:, 1]})
    frame = frame.astype({"word": "category"})
    frame["code"] = pd.Categorical(RANDOM.integers(0, 30, 300))
    target = frame["word"].isin(["x", "über"]).to_numpy() ^ (X[:, 0] > 0)
    estimator = HistGradientBoostingClassifier(max_iter=8, min_samples_leaf=2).fit(frame, target.astype(int))
    asked = pd.concat([frame.astype({"word": object}), frame.head(9).assign(word="never seen")], ignore_index=True)
    assert_same(*compare(estimator, frame, asked, "float64", precision)[:2])


def test_categories_beside_a_forest_of_three_classes_are_one_graph() -> None:
    """The former need the newer form of trees, the latter would rather have the older one."""
    codes = RANDOM.integers(0, 6, 300)
    rows = np.column_stack([X[:, 0], codes])
    target = (np.isin(codes, [1, 4]) ^ (X[:, 0] > 0)).astype(int) + (X[:, 0] > 1)
    boosted = HistGradientBoostingClassifier(max_iter=3, categorical_features=[1], min_samples_leaf=2)
    forest = RandomForestClassifier(3, max_depth=5, random_state=0)
    vote = VotingClassifier([("a", boosted), ("b", forest)], voting="soft")
    expected, actual, ops = compare(vote.fit(rows, target), rows, rows, "float64", "float32")
    assert_same(expected, actual)
    assert ops["TreeEnsemble"] == 4
