"""Label and probabilities from one node: the same answers as from the library, for all links, gaps and draws."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from lightgbm import LGBMClassifier
from sklearn.ensemble import (
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier
from threadpoolctl import threadpool_limits
from xgboost import XGBClassifier

from skylane.convert.errors import Unconvertible
from skylane.convert.export.emitters import emit
from skylane.convert.inspection.schema import NumberType, infer
from skylane.convert.verification.answers import Answers
from skylane.convert.verification.parity import difference, flips
from support.trees import assert_same, compare, with_ends

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(300, 5))
FAR = X * [1e5, 3e-3, 1, 1, 1] + [1.7e9, 1e6, 0, 0, 0]
GAPS = np.where(RANDOM.random(X.shape) < 0.1, np.nan, X)
TWO = (X[:, 0] + X[:, 1] > 0).astype(int)
THREE = TWO + (X[:, 2] > 0)
TEXTS = np.array(["no", "perhaps", "yes"])[THREE]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Boosting would start a thread for each core, and spin."""
    with threadpool_limits(1):
        yield


def boosted(**options: Any) -> Any:
    return GradientBoostingClassifier(n_estimators=6, random_state=0, **options)


def binned(**options: Any) -> Any:
    return HistGradientBoostingClassifier(max_iter=8, min_samples_leaf=5, random_state=0, **options)


def grown(trees: int = 9, **options: Any) -> Any:
    return RandomForestClassifier(trees, random_state=0, **options)


def light(**options: Any) -> Any:
    return LGBMClassifier(n_estimators=8, min_child_samples=5, n_jobs=1, verbose=-1, **options)


def extreme(**options: Any) -> Any:
    return XGBClassifier(n_estimators=8, n_jobs=1, **options)


@pytest.mark.parametrize("numbers", ["float32", "float64"])
@pytest.mark.parametrize(
    ("estimator", "rows", "target"),
    [
        pytest.param(boosted(), X, TWO, id="boosting, two classes"),
        pytest.param(boosted(), FAR, THREE, id="boosting, three classes, numbers that singles round"),
        pytest.param(boosted(init="zero"), X, TEXTS, id="boosting from nought, classes are texts"),
        pytest.param(boosted(loss="exponential"), X, TWO * 2.0 - 1.0, id="exponential loss, classes -1 and 1"),
        pytest.param(binned(), GAPS, TWO, id="histograms, two classes, gaps"),
        pytest.param(binned(), GAPS, TEXTS, id="histograms, three classes, gaps"),
        pytest.param(light(), GAPS, TWO + 5, id="LightGBM, classes 5 and 6"),
        pytest.param(light(sigmoid=2.5), GAPS, TWO, id="LightGBM, a steeper sigmoid"),
        pytest.param(light(), GAPS, THREE, id="LightGBM, three classes"),
        pytest.param(extreme(), GAPS, TWO, id="XGBoost, two classes"),
        pytest.param(extreme(base_score=0.1), X, TWO, id="XGBoost, a first guess"),
        pytest.param(extreme(), GAPS, THREE, id="XGBoost, three classes"),
        pytest.param(grown(), GAPS, THREE, id="forest, gaps"),
        pytest.param(grown(max_depth=3), X, TEXTS, id="forest, shares in its leaves"),
        pytest.param(ExtraTreesClassifier(7, random_state=0), FAR, THREE, id="extra trees"),
        pytest.param(DecisionTreeClassifier(max_depth=4), GAPS, THREE, id="a tree"),
        pytest.param(make_pipeline(StandardScaler(), grown()), FAR, TEXTS, id="a scaler before"),
        pytest.param(GridSearchCV(make_pipeline(StandardScaler(), grown(5)), {}, cv=2), X, THREE, id="a search"),
    ],
)
def test_one_node_says_what_the_library_says(estimator: Any, rows: Any, target: Any, numbers: NumberType) -> None:
    if numbers == "float32":
        rows = rows.astype(np.float32).astype(np.float64)
    estimator.fit(rows, target)
    gaps = bool(np.isnan(rows).any())
    asked = with_ends(rows, infinite=False) if gaps else rows
    if numbers == "float32" and hasattr(estimator, "steps") and rows[0, 0] > 1e8:
        numbers = "float64"  # what a scaler takes off is computed in doubles
    expected, actual, operators = compare(estimator, rows, asked, numbers, "float32", in_one_node=True)
    assert_same(expected, actual)
    assert operators["TreeEnsembleClassifier"] == 1
    assert not operators.keys() & {"ArgMax", "Gather", "Sigmoid", "Softmax"}


def told_by_one_node(model: Any, rows: Any) -> tuple[Answers, Answers] | None:
    """What the library says and what the node says; None where there is none, for no leaf is below nought."""
    try:
        expected, actual, _ = compare(model, rows, rows, "float32", "float32", in_one_node=True)
    except Unconvertible as error:
        if "no leaf of its trees is below nought" in str(error):
            return None
        raise
    return expected, actual


@pytest.mark.parametrize(
    ("model", "target"),
    [
        pytest.param(boosted(), np.tile([0, 1], 150), id="of two classes boosting takes the second"),
        pytest.param(binned(max_leaf_nodes=2), np.tile([0, 1], 150), id="and histograms the first"),
        pytest.param(boosted(), np.tile([0, 1, 2], 100), id="of three boosting takes the first"),
        pytest.param(grown(4), np.tile([0, 1, 2], 100), id="of three a forest takes the first"),
    ],
)
def test_draws(model: Any, target: Any) -> None:
    """Rows that tell nothing: all leaves are nought, or hold equal shares."""
    same = np.ones((300, 2))
    model.set_params(**({"bootstrap": False} if hasattr(model, "bootstrap") else {}))
    model.fit(same, target)
    answers = told_by_one_node(model, same)
    if answers is not None:
        assert_same(*answers)


def test_a_score_of_exactly_nought_is_the_second_class() -> None:
    rows = np.array([[0.0], [0.0], [1.0], [1.0], [2.0], [2.0]])
    model = GradientBoostingClassifier(n_estimators=2, learning_rate=1.0, max_depth=2).fit(rows, [0, 0, 0, 1, 1, 1])
    scores = model.decision_function(rows)
    assert scores[2] == 0.0
    expected, actual, _ = compare(model, rows, rows, "float32", "float32", in_one_node=True)
    assert_same(expected, actual)


@pytest.mark.parametrize(
    ("model", "target", "why"),
    [
        pytest.param(grown(), TWO, "two numbers in each leaf, or decide draws", id="a forest of two classes"),
        pytest.param(binned(categorical_features=[4]), THREE, "split on categories", id="categories"),
    ],
)
def test_what_one_node_would_get_wrong_has_none(model: Any, target: Any, why: str) -> None:
    rows = np.column_stack([X[:, :4], RANDOM.integers(0, 9, len(X))])
    model.fit(rows, np.where(rows[:, 4] % 3 == 0, target, 0))
    layout, _ = infer(model, rows)
    with pytest.raises(Unconvertible, match=why):
        emit(model, layout, "float64", "classifier", "float32", in_one_node=True)


@settings(max_examples=25)
@given(
    kind=st.sampled_from([boosted, binned, grown, light, extreme]),
    classes=st.integers(2, 4),
    seed=st.integers(0, 2**16),
    gaps=st.booleans(),
    columns=st.integers(1, 4),
)
def test_any_data(kind: Any, classes: int, seed: int, gaps: bool, columns: int) -> None:
    assume(kind is not grown or classes > 2)
    random = np.random.default_rng(seed)
    rows = np.round(random.normal(size=(120, columns)), 1).astype(np.float32).astype(np.float64)
    if gaps and kind is not boosted:
        rows[random.random(rows.shape) < 0.2] = np.nan
    target = np.concatenate([np.arange(classes), random.integers(0, classes, 120 - classes)])
    answers = told_by_one_node(kind().fit(rows, target), rows)
    if answers is None:
        return
    expected, actual = answers
    assert difference(expected, actual).max() < 2e-6
    clear = np.ptp(np.sort(expected.numbers, axis=1)[:, -2:], axis=1) > 1e-6  # type: ignore[arg-type]
    assert not flips(expected, actual)[clear].any()
