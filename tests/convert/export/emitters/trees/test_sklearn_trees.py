"""Forests of scikit-learn as one node: every row goes where it went before."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.ensemble import (
    BaggingClassifier,
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, MaxAbsScaler, MinMaxScaler, RobustScaler, StandardScaler
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor, ExtraTreeRegressor

from skylane.convert.errors import Refused
from skylane.convert.export.emitters import emit
from skylane.convert.export.onnx_graph import operators
from skylane.convert.export.session import Session
from skylane.convert.inspection.schema import infer
from support.trees import WAYS, around, assert_same, compare, cuts_of, with_ends

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(300, 5))
FAR = X * [1e5, 3e-3, 1, 1, 1] + [1.7e9, 1e6, 0, 0, 0]
GAPS = np.where(RANDOM.random(X.shape) < 0.1, np.nan, X)
TWO = (X[:, 0] + X[:, 1] > 0).astype(int)
THREE = TWO + (X[:, 2] > 0)
NUMBERS = X[:, 0] * 3 + np.sin(X[:, 1]) + 1000


@pytest.mark.parametrize(("numbers", "precision"), WAYS)
@pytest.mark.parametrize(
    ("estimator", "rows", "target"),
    [
        pytest.param(DecisionTreeClassifier(), X, TWO, id="a tree of two classes"),
        pytest.param(DecisionTreeClassifier(max_depth=4), GAPS, THREE, id="a tree of three classes with gaps"),
        pytest.param(DecisionTreeRegressor(), GAPS, NUMBERS, id="a tree of numbers"),
        pytest.param(ExtraTreeRegressor(), X, NUMBERS, id="a tree that is split at random"),
        pytest.param(RandomForestClassifier(12), GAPS, TWO, id="a forest of two classes with gaps"),
        pytest.param(RandomForestClassifier(12, max_depth=5), GAPS, THREE, id="a forest of three classes with gaps"),
        pytest.param(RandomForestRegressor(12), GAPS, NUMBERS, id="a forest of numbers far from nought"),
        pytest.param(RandomForestRegressor(4), X, np.column_stack([NUMBERS, -NUMBERS]), id="two numbers at once"),
        pytest.param(ExtraTreesClassifier(12), X, TWO, id="extra trees"),
        pytest.param(ExtraTreesRegressor(12), FAR, NUMBERS, id="extra trees on numbers that are rounded"),
    ],
)
def test_rows_on_both_sides_of_every_threshold(
    estimator: Any, rows: Any, target: Any, numbers: Any, precision: Any
) -> None:
    estimator.set_params(random_state=0).fit(rows, target)
    trees = getattr(estimator, "estimators_", [estimator])
    asked = around(rows, cuts_of(trees))
    asked = with_ends(asked, infinite=False) if np.isnan(rows).any() else asked
    expected, actual, _ = compare(estimator, rows, asked, numbers, precision)
    assert_same(expected, actual, 2e-6 if numbers == "float32" or precision == "float32" else 1e-7)


@pytest.mark.parametrize(("numbers", "precision"), [("float64", "float32"), ("float64", "float64")])
@pytest.mark.parametrize(
    "scaler",
    [
        pytest.param(StandardScaler(), id="standard"),
        pytest.param(MinMaxScaler((-1, 3)), id="to a range"),
        pytest.param(MaxAbsScaler(), id="by the largest"),
        pytest.param(RobustScaler(), id="by quantiles"),
        pytest.param(make_pipeline(StandardScaler(), MinMaxScaler()), id="two of them"),
        pytest.param(
            ColumnTransformer([("a", StandardScaler(), [3, 0]), ("b", "passthrough", [4]), ("c", RobustScaler(), [1])]),
            id="branches",
        ),
        pytest.param(PCA(4), id="a projection, computed in doubles"),
        pytest.param(FunctionTransformer(np.abs), id="a function"),
    ],
)
def test_steps_in_front_move_no_row(scaler: Any, numbers: Any, precision: Any) -> None:
    estimator = make_pipeline(scaler, ExtraTreesClassifier(8, max_depth=8, random_state=0)).fit(FAR, TWO)
    expected, actual, _ = compare(estimator, FAR, np.vstack([FAR, FAR * (1 + 1e-7)]), numbers, precision)
    assert_same(expected, actual)


@pytest.mark.parametrize(("numbers", "precision"), [("float64", "float32"), ("float64", "float64")])
def test_thresholds_behind_a_scaler_are_found_to_the_last_bit(numbers: Any, precision: Any) -> None:
    estimator = make_pipeline(StandardScaler(), RandomForestRegressor(8, random_state=0)).fit(FAR, NUMBERS)
    asked = around(FAR, cuts_of(estimator[1].estimators_, estimator[0]))
    for _ in range(3):  # what is about there is exactly there somewhere among its neighbours
        asked = np.vstack([asked, np.nextafter(asked, np.inf)])
    expected, actual, _ = compare(estimator, FAR, asked, numbers, precision)
    assert_same(expected, actual)


def test_a_scaler_in_front_is_no_node() -> None:
    estimator = make_pipeline(StandardScaler(), RandomForestClassifier(3, random_state=0)).fit(FAR, TWO)
    model = emit(estimator, infer(estimator, FAR)[0], "float64", "classifier")
    assert operators(model) == {"TreeEnsemble": 1, "Gemm": 1, "ArgMax": 1, "Clip": 1}


def test_half_of_the_trees_for_each_class_is_the_first_one() -> None:
    rows = np.array([[0.0], [1.0]] * 20)
    estimator = RandomForestClassifier(6, max_depth=1, random_state=1).fit(rows, [0, 1] * 20)
    tree_of_other_opinion = DecisionTreeClassifier(max_depth=1).fit(rows, [1.0, 0.0] * 20)
    estimator.estimators_[:3] = [tree_of_other_opinion] * 3
    expected, actual, _ = compare(estimator, rows, rows, "float32", "float32")
    assert expected.label is not None
    assert actual.label is not None
    assert expected.label.tolist() == actual.label.tolist() == [0] * 40


@pytest.mark.parametrize("target", [pytest.param(TWO, id="two classes"), pytest.param(THREE, id="three classes")])
def test_a_forest_in_parts_answers_as_a_whole(target: Any) -> None:
    estimator = RandomForestClassifier(12, random_state=0).fit(GAPS, target)
    layout, _ = infer(estimator, GAPS)
    layout = layout.with_missing({column.name: np.nan for column in layout.columns})
    largest = max(tree.tree_.node_count for tree in estimator.estimators_)
    tensors = layout.tensors(infer(estimator, GAPS)[1], "float64")
    graphs = {most: emit(estimator, layout, "float64", "classifier", nodes_max=most) for most in (1, 3 * largest)}
    for most, graph in graphs.items():
        counts = operators(graph)
        parts = counts.get("TreeEnsemble", 0) + counts.get("TreeEnsembleRegressor", 0)
        assert parts == 12 if most == 1 else 2 <= parts <= 6
        found = Session(graph.SerializeToString()).named(tensors)["probabilities"]
        np.testing.assert_allclose(found, estimator.predict_proba(GAPS), atol=1e-6)


@pytest.mark.parametrize("target", [pytest.param([7] * 300, id="a number"), pytest.param(["yes"] * 300, id="a text")])
@pytest.mark.parametrize(
    "model",
    [
        pytest.param(DecisionTreeClassifier(), id="tree"),
        pytest.param(RandomForestClassifier(3), id="forest"),
        pytest.param(BaggingClassifier(DecisionTreeClassifier(), 3), id="bag"),
    ],
)
def test_a_single_class_is_refused(model: Any, target: Any) -> None:
    """skl2onnx's graph of it answers another label, and of texts, takes the process down."""
    estimator = make_pipeline(model).fit(X, target)
    with pytest.raises(Refused, match=r"the step \w+ met a single class in training, .*: train it on rows of two"):
        emit(estimator, infer(estimator, X)[0], "float32", "classifier")


@settings(deadline=None, max_examples=30)
@given(
    seed=st.integers(0, 10**6),
    gaps=st.sampled_from([0.0, 0.3]),
    depth=st.integers(1, 8),
    far=st.sampled_from([0.0, 1e3, 1.7e9]),
    scaled=st.booleans(),
    way=st.sampled_from(WAYS[1:]),
)
def test_law_no_row_goes_another_way(seed: int, gaps: float, depth: int, far: float, scaled: bool, way: Any) -> None:
    """Random rows, settings and steps; every leaf has a number of its own, so another way is another answer."""
    random = np.random.default_rng(seed)
    rows = random.normal(size=(80, 3)).round(random.integers(1, 9)) + far
    rows[random.random(rows.shape) < gaps] = np.nan
    tree = DecisionTreeRegressor(max_depth=depth, random_state=seed)
    estimator = (make_pipeline(StandardScaler(), tree) if scaled else tree).fit(rows, random.permutation(80) * 1.0)
    asked = around(rows, cuts_of([tree], estimator[0] if scaled else None))
    expected, actual, _ = compare(estimator, rows, with_ends(np.vstack([asked, rows]), infinite=False), *way)
    assert_same(expected, actual)
