"""LightGBM's trees, read from its own dump: float64 thresholds, missing values, categories. Imports no LightGBM."""

from dataclasses import replace
from typing import Any, Final

import numpy as np

from skylane.convert.errors import Refused
from skylane.convert.export.emitters.emission import Emission
from skylane.convert.export.emitters.features import Features
from skylane.convert.export.emitters.graph import Tensor
from skylane.convert.export.emitters.registry import emits, in_one_node
from skylane.convert.export.emitters.trees.classifier_node import classified, link_of
from skylane.convert.export.emitters.trees.gradient_boosting import linked
from skylane.convert.export.emitters.trees.tree_nodes import sums
from skylane.convert.export.emitters.trees.tree_table import LEAF, TreeTable
from skylane.convert.inspection.schema import Array

CLASSIFIER, REGRESSOR = "lightgbm.sklearn.LGBMClassifier", "lightgbm.sklearn.LGBMRegressor"

ZERO_THRESHOLD: Final = float(np.float32(1e-35))
"""LightGBM reads numbers up to this magnitude as zero."""

IDENTITY: Final = {"regression", "regression_l1", "huber", "fair", "quantile", "mape"}
EXPONENTIAL: Final = {"poisson", "gamma", "tweedie"}


def forest_of(model: Any) -> TreeTable:
    """The trees of a fitted model. Raises Refused, with an unfinished sentence, for what has no graph."""
    dump = model.booster_.dump_model()
    if dump["pandas_categorical"]:
        raise Refused(
            "was trained on a data frame's categories: put an OrdinalEncoder before it, "
            "and name those columns in categorical_feature="
        )
    width = dump["num_tree_per_iteration"]
    scale = width / len(dump["tree_info"]) if dump["average_output"] else 1.0
    return TreeTable.joined([
        _tree(tree["tree_structure"], scale).spread(place % width, width)
        for place, tree in enumerate(dump["tree_info"])
    ])  # fmt: skip


def _tree(root: dict[str, Any], scale: float) -> TreeTable:
    nodes, queue = list[dict[str, Any]](), [root]
    left, right = list[int](), list[int]()
    for node in queue:  # grows during the loop
        nodes.append(node)
        inner = "split_index" in node
        left.append(len(queue) if inner else LEAF)
        right.append(len(queue) + 1 if inner else LEAF)
        queue.extend([node["left_child"], node["right_child"]] if inner else [])
    members = {
        place: np.array([int(code) for code in node["threshold"].split("||")])
        for place, node in enumerate(nodes)
        if node.get("decision_type") == "=="
    }
    return TreeTable(
        roots=np.zeros(1, np.int64),
        feature=np.array([node.get("split_feature", 0) for node in nodes], dtype=np.int64),
        threshold=_around_zero(np.array([0.0 if place in members else node.get("threshold", 0.0)
                                           for place, node in enumerate(nodes)])),
        left=np.array(left, dtype=np.int64),
        right=np.array(right, dtype=np.int64),
        gaps_left=np.array([_gap_goes_left(node) for node in nodes], dtype=np.bool_),
        values=np.array([_leaf(node) * scale for node in nodes])[:, None],
        single=False,
        members=members,
    )  # fmt: skip


def _around_zero(thresholds: Array) -> Array:
    """Thresholds near zero moved to the end of that interval, so that all numbers in it go the same way."""
    right = (thresholds >= -ZERO_THRESHOLD) & (thresholds < 0)
    left = (thresholds >= 0) & (thresholds < ZERO_THRESHOLD)
    return np.where(right, np.nextafter(-ZERO_THRESHOLD, -np.inf), np.where(left, ZERO_THRESHOLD, thresholds))


def _leaf(node: dict[str, Any]) -> float:
    if "leaf_const" in node:
        raise Refused("has linear models in its leaves, which have no graph: use linear_tree=False")
    return float(node.get("leaf_value", 0.0))


def _gap_goes_left(node: dict[str, Any]) -> bool:
    """A missing value counts as zero where training had none, and belongs to no category."""
    if "split_index" not in node or node["decision_type"] == "==":
        return False
    if node["missing_type"] == "Zero":
        raise Refused("takes noughts for gaps, which has no graph: use zero_as_missing=False, and NaN for gaps")
    return bool(node["default_left"] if node["missing_type"] == "NaN" else node["threshold"] >= 0)


def _forest(model: Any, emission: Emission) -> TreeTable:
    try:
        return forest_of(model)
    except Refused as why:
        raise Refused(f"the step {emission.graph.path} {why}") from None


def _raw(model: Any, features: Features, emission: Emission) -> Features:
    forest = _forest(model, emission)
    return sums(forest, _truncated(forest, features, emission), emission)


def _truncated(forest: TreeTable, features: Features, emission: Emission) -> Features:
    """Categories are whole numbers here: fractions are truncated towards zero."""
    coded = sorted({int(forest.feature[node]) for node in forest.members})
    if not coded:
        return features
    x, graph = emission.exact(features.take(coded)), emission.graph
    whole = graph.node("Floor", [graph.node("Abs", [x], x.dtype, x.width)], x.dtype, x.width)
    codes = Features.of(graph.node("Mul", [graph.node("Sign", [x], x.dtype, x.width), whole], x.dtype, x.width))
    others = [place for place in range(features.width) if place not in coded]
    order = np.argsort([*coded, *others])
    return Features.joined([codes, emission.settled(features).take(others)]).take(order.tolist())


def _objective(model: Any) -> tuple[str, dict[str, str]]:
    """Its name and its parameters, from a text such as 'binary sigmoid:1'."""
    name, *parameters = str(model.booster_.dump_model(num_iteration=1).get("objective", "custom")).split()
    return name, dict(one.partition(":")[::2] for one in parameters)


def _unknown(name: str, emission: Emission) -> Refused:
    return Refused(
        f"the step {emission.graph.path} has the objective {name!r}, whose answers have no graph here: "
        f"use one of LightGBM's for classes or numbers, such as binary, multiclass, regression, poisson"
    )


@emits("decision_function", CLASSIFIER)
def scores(model: Any, features: Features, emission: Emission) -> Features:
    """The sums of the leaves. Newer versions of LightGBM have this method, and meta-estimators then call no other."""
    return _raw(model, features, emission)


@emits("predict_proba", CLASSIFIER)
def probabilities(model: Any, features: Features, emission: Emission) -> Features:
    """Sigmoid of the score for two classes, softmax for more."""
    name, parameters = _objective(model)
    if name == "multiclass":
        return linked(_raw(model, features, emission), emission)
    if name != "binary":
        raise _unknown(name, emission)
    return linked(_raw(model, features, emission).then("Mul", float(parameters["sigmoid"])), emission)


@in_one_node(CLASSIFIER)
def classified_at_once(model: Any, features: Features, emission: Emission) -> tuple[Tensor, Tensor]:
    """The likeliest class, and the probabilities."""
    name, parameters = _objective(model)
    if name not in ("binary", "multiclass"):
        raise _unknown(name, emission)
    forest = _forest(model, emission)
    if name == "binary":
        forest = replace(forest, values=forest.values * float(parameters["sigmoid"]))
    return classified(forest, None, link_of(forest), model.classes_, _truncated(forest, features, emission), emission)


@emits("predict", CLASSIFIER)
def decided(model: Any, features: Features, emission: Emission) -> Features:
    """The likeliest class."""
    return emission.likeliest(emission.emit(model, "predict_proba", features, step=""))


@emits("predict", REGRESSOR)
def prediction(model: Any, features: Features, emission: Emission) -> Features:
    """The sum of the leaves, or its exponential, as the objective says."""
    name, parameters = _objective(model)
    if name in IDENTITY and "sqrt" not in parameters:
        return _raw(model, features, emission)
    if name not in EXPONENTIAL:
        raise _unknown(" ".join([name, *parameters]), emission)
    x = emission.tensor(_raw(model, features, emission))
    return Features.of(emission.graph.node("Exp", [x], x.dtype, 1))
