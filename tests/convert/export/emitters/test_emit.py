"""Graphs of our own making against scikit-learn, and what is folded into what."""

from typing import Any

import numpy as np
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA, IncrementalPCA
from sklearn.linear_model import LogisticRegression, Ridge, SGDClassifier
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from sklearn.svm import LinearSVC

from skylane.convert.errors import Unconvertible
from skylane.convert.export.emitters import emit
from skylane.convert.export.onnx_graph import operators
from skylane.convert.export.session import Session
from skylane.convert.inspection.schema import infer
from skylane.convert.inspection.structure import task_of
from skylane.convert.verification.answers import by_estimator, by_graph
from skylane.convert.verification.parity import difference, flips

RANDOM = np.random.default_rng(0)
TAME = RANDOM.normal(size=(200, 5))
FAR = TAME * [1e5, 3e-3, 1, 1, 1] + [1.7e9, 1e6, 0, 0, 0]
"""Epoch seconds, and numbers that hardly differ."""
CLASSES = (TAME[:, 0] + TAME[:, 1] > 0).astype(int) + (TAME[:, 2] > 0)


def scaled(*steps: Any) -> Any:
    return make_pipeline(StandardScaler(), *steps)


@pytest.mark.parametrize(
    ("estimator", "nodes"),
    [
        pytest.param(scaled(LogisticRegression()), {"Sub", "Cast", "Gemm", "Softmax", "ArgMax"}, id="scaler and model"),
        pytest.param(scaled(PCA(3, whiten=True), Ridge()), {"Sub", "Cast", "Gemm"}, id="a projection is folded, too"),
        pytest.param(make_pipeline(MinMaxScaler(), LinearSVC()), {"Sub", "Cast", "Gemm", "ArgMax"}, id="no centre"),
        pytest.param(scaled(SGDClassifier(loss="log_loss")), None, id="sigmoids made to sum to one"),
        pytest.param(
            make_pipeline(
                ColumnTransformer([("a", StandardScaler(), [3, 0]), ("b", MinMaxScaler(), [1, 2])]),
                LogisticRegression(),
            ), None, id="branches",
        ),
        pytest.param(
            make_pipeline(
                FeatureUnion([("a", StandardScaler()), ("b", scaled(PCA(2)))], transformer_weights={"b": 2.0}),
                LogisticRegression(),
            ), None, id="a union with weights",
        ),
        pytest.param(
            scaled(IncrementalPCA(3), LogisticRegression()), None, id="one step by skl2onnx",
        ),
    ],
)  # fmt: skip
def test_right_on_numbers_that_single_precision_cannot_hold(estimator: Any, nodes: set[str] | None) -> None:
    estimator.fit(FAR, CLASSES)
    layout, frame = infer(estimator, FAR)
    task = task_of(estimator)
    model = emit(estimator, layout, "float64", task, "float32")
    actual = by_graph(Session(model.SerializeToString()).named(layout.tensors(frame, "float64")))
    expected = by_estimator(estimator, layout, frame, task)
    assert difference(expected, actual).max() < 1e-6
    assert not flips(expected, actual).any()
    assert nodes is None or set(operators(model)) == nodes


def test_a_centre_near_nought_is_folded_as_well() -> None:
    estimator = scaled(LogisticRegression()).fit(TAME, CLASSES)
    model = emit(estimator, infer(estimator, TAME)[0], "float32", "classifier")
    assert operators(model) == {"Gemm": 1, "Softmax": 1, "ArgMax": 1}


def test_nodes_are_named_for_the_steps_that_they_come_from() -> None:
    estimator = scaled(LogisticRegression()).fit(FAR, CLASSES)
    model = emit(estimator, infer(estimator, FAR)[0], "float64", "classifier")
    assert all("logisticregression" in node.name for node in model.graph.node)


def test_a_pipeline_of_others_is_theirs() -> None:
    estimator = make_pipeline(IncrementalPCA(2)).fit(TAME)
    with pytest.raises(Unconvertible, match="no emitter of its own for IncrementalPCA"):
        emit(estimator, infer(estimator, TAME)[0], "float32", "transformer")
