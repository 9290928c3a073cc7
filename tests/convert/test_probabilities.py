"""Probabilities lie between 0 and 1, in every candidate of every family: callers take logarithms of them."""

import warnings
from typing import Any

import numpy as np
import onnx
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import make_classification
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis, QuadraticDiscriminantAnalysis
from sklearn.ensemble import (
    AdaBoostClassifier,
    BaggingClassifier,
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.multiclass import OneVsRestClassifier
from sklearn.naive_bayes import BernoulliNB, GaussianNB, MultinomialNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier
from threadpoolctl import threadpool_limits

from skylane.convert.export.onnx_graph import bound_shares
from skylane.convert.publishing.conversion import convert

pytestmark = pytest.mark.usefixtures("untimed")

X, THREE = make_classification(150, 5, n_informative=4, n_redundant=0, n_classes=3, class_sep=2.0, random_state=0)
X = X.astype(np.float32).astype(np.float64)

FOREST = RandomForestClassifier(23, random_state=0)
TREE = DecisionTreeClassifier(max_depth=4, random_state=0)


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize(
    "family",
    [
        pytest.param(FOREST, id="a forest, whose shares sum to 1.0000001"),
        pytest.param(ExtraTreesClassifier(30, random_state=0), id="extra trees"),
        pytest.param(TREE, id="a tree"),
        pytest.param(BaggingClassifier(TREE, 7, random_state=0), id="bagged trees"),
        pytest.param(BaggingClassifier(LogisticRegression(), 7, random_state=0), id="bagged linear models"),
        pytest.param(BaggingClassifier(SGDClassifier(random_state=0), 7, random_state=0), id="bagged votes"),
        pytest.param(GradientBoostingClassifier(n_estimators=5), id="gradient boosting"),
        pytest.param(HistGradientBoostingClassifier(max_iter=5), id="histogram boosting"),
        pytest.param(AdaBoostClassifier(TREE, n_estimators=5, random_state=0), id="AdaBoost"),
        pytest.param(KNeighborsClassifier(7), id="neighbours"),
        pytest.param(KNeighborsClassifier(7, weights="distance"), id="neighbours by distance"),
        pytest.param(GaussianNB(), id="naive Bayes of normal numbers"),
        pytest.param(BernoulliNB(), id="naive Bayes of truths"),
        pytest.param(make_pipeline(MinMaxScaler(clip=True), MultinomialNB()), id="naive Bayes of counts"),
        pytest.param(LinearDiscriminantAnalysis(), id="linear discriminants"),
        pytest.param(QuadraticDiscriminantAnalysis(), id="quadratic discriminants"),
        pytest.param(LogisticRegression(C=1e6), id="logistic regression"),
        pytest.param(SGDClassifier(loss="modified_huber", random_state=0), id="modified Huber"),
        pytest.param(MLPClassifier((5,), max_iter=20, random_state=0), id="a network"),
        pytest.param(SVC(probability=True, random_state=0), id="SVM"),
        pytest.param(CalibratedClassifierCV(FOREST, method="isotonic", cv=3), id="calibrated by steps"),
        pytest.param(CalibratedClassifierCV(GaussianNB(), method="sigmoid", cv=3), id="calibrated by a sigmoid"),
        pytest.param(OneVsRestClassifier(TREE), id="one against the rest"),
        pytest.param(VotingClassifier([("f", FOREST), ("t", TREE)], voting="soft", weights=[0.3, 0.7]), id="a vote"),
        pytest.param(StackingClassifier([("f", FOREST), ("t", TREE)], TREE, cv=2), id="a stack"),
    ],
)
def test_probabilities_are_shares(family: Any, classes: int) -> None:
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        estimator = family.__sklearn_clone__().fit(X, np.minimum(THREE, classes - 1))
        found = convert(estimator, X, target=None, tolerance="close", quantize="never", force=False, say=lambda _: None)
    assert found.tried
    assert not [reason for reason in found.skipped.values() if "between 0 and 1" in reason]
    for item in found.tried:
        answers = item.session.named(found.layout.tensors(found.frame, item.built.numbers))["probabilities"]
        assert 0 <= answers.min() <= answers.max() <= 1, item.recipe.name


def graph_of(operator: str, **attributes: Any) -> onnx.ModelProto:
    """One node that answers probabilities."""
    node = onnx.helper.make_node(operator, ["x"], ["probabilities"], name="step/last", **attributes)
    value = onnx.helper.make_tensor_value_info("probabilities", onnx.TensorProto.FLOAT, [None, 2])
    return onnx.helper.make_model(onnx.helper.make_graph([node], "g", [], [value]))


@pytest.mark.parametrize(
    ("graph", "nodes"),
    [
        pytest.param(graph_of("TreeEnsemble"), ["TreeEnsemble", "Clip"], id="a sum: bounded"),
        pytest.param(graph_of("Softmax"), ["Softmax"], id="a softmax is bounded"),
        pytest.param(
            graph_of("TreeEnsembleClassifier", post_transform="LOGISTIC"), ["TreeEnsembleClassifier"],
            id="so is a sum that the same node squashes",
        ),
    ],
)  # fmt: skip
def test_only_sums_get_a_node_more(graph: onnx.ModelProto, nodes: list[str]) -> None:
    bound_shares(graph, "probabilities")
    assert [node.op_type for node in graph.graph.node] == nodes
    assert graph.graph.node[-1].name.startswith("step/")
