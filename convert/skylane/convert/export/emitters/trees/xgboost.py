"""XGBoost's trees, read from its own JSON: float32 throughout; below the threshold goes left. Imports no XGBoost."""

import json
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

CLASSIFIERS: Final = ("xgboost.sklearn.XGBClassifier", "xgboost.sklearn.XGBRFClassifier")
REGRESSORS: Final = ("xgboost.sklearn.XGBRegressor", "xgboost.sklearn.XGBRFRegressor")

IDENTITY: Final = {
    "reg:squarederror", "reg:absoluteerror", "reg:pseudohubererror", "reg:quantileerror", "reg:squaredlogerror",
}  # fmt: skip
LOGISTIC: Final = {"binary:logistic", "reg:logistic"}
EXPONENTIAL: Final = {"count:poisson", "reg:gamma", "reg:tweedie"}
SOFTMAX: Final = {"multi:softprob", "multi:softmax"}

ENCODE_FIRST: Final = "put a OneHotEncoder or an OrdinalEncoder before it, and leave out enable_categorical="
"""Advice for models that were trained on categories."""


def forest_of(model: Any) -> TreeTable:
    """The trees of a fitted model. Raises Refused, with an unfinished sentence, for what has no graph."""
    learner = _learner(model)
    booster = learner["gradient_booster"]
    if booster["name"] != "gbtree":
        raise Refused(f"has the booster {booster['name']}, which has no graph here: use booster='gbtree'")
    if model.missing is not None and not np.isnan(model.missing):
        raise Refused(f"takes {model.missing} for a gap, which has no graph: use NaN for gaps, and leave out missing=")
    trees, classes = booster["model"]["trees"], booster["model"]["tree_info"]
    width = max(1, int(learner["learner_model_param"]["num_class"]), len(_base(learner)))
    return TreeTable.joined([_tree(tree).spread(place, width) for tree, place in zip(trees, classes, strict=True)])


def _learner(model: Any) -> dict[str, Any]:
    booster, best = model.get_booster(), getattr(model, "best_iteration", None)
    booster = booster if best is None else booster[: best + 1]
    learner: dict[str, Any] = json.loads(booster.save_raw("json").decode())["learner"]
    if "c" in (learner.get("feature_types") or ()):  # of a frame's categories it knows the indices, not the values
        raise Refused(f"was trained on a data frame's categories, which has no graph here: {ENCODE_FIRST}")
    return learner


def _tree(tree: dict[str, Any]) -> TreeTable:
    if tree["categories_nodes"]:
        raise Refused(f"splits on categories, which has no graph here: {ENCODE_FIRST}")
    if int(tree["tree_param"]["size_leaf_vector"]) > 1:
        raise Refused("has several numbers in a leaf, which has no graph here: leave out multi_strategy=")
    left, right = (np.array(tree[f"{side}_children"], dtype=np.int64) for side in ("left", "right"))
    leaf, numbers = left < 0, np.array(tree["split_conditions"], dtype=np.float32)
    # x < t is x <= the float32 number before t.
    before = np.nextafter(numbers, np.float32(-np.inf)).astype(np.float64)
    return TreeTable(
        roots=np.zeros(1, np.int64),
        feature=np.where(leaf, 0, np.array(tree["split_indices"], dtype=np.int64)),
        threshold=np.where(leaf, 0.0, before),
        left=np.where(leaf, LEAF, left),
        right=np.where(leaf, LEAF, right),
        gaps_left=np.array(tree["default_left"], dtype=np.bool_) & ~leaf,
        values=np.where(leaf, numbers, 0.0).astype(np.float64)[:, None],
        single=True,
    )


def _base(learner: dict[str, Any]) -> Array:
    """The base score as XGBoost writes it: before version 3.1, a single number for all classes."""
    return np.array([float(number) for number in learner["learner_model_param"]["base_score"].strip("[]").split(",")])


def _raw(model: Any, features: Features, emission: Emission) -> tuple[Features, str]:
    """The scores, and the objective's name."""
    forest, base, name = _read(model, emission)
    features = _zeros_as_missing(features, emission) if emission.sparse else features
    return sums(forest, features, emission).then("Add", base), name


def _read(model: Any, emission: Emission) -> tuple[TreeTable, Array, str]:
    """The trees, the base score, (width), and the objective's name."""
    try:
        forest = forest_of(model)
    except Refused as why:
        raise Refused(f"the step {emission.graph.path} {why}") from None
    learner = _learner(model)
    name, base = learner["objective"]["name"], _base(learner)
    if name in LOGISTIC:
        base = np.log(base / (1.0 - base))
    elif name in EXPONENTIAL:
        base = np.log(base)
    elif name not in IDENTITY | SOFTMAX:
        raise Refused(
            f"the step {emission.graph.path} has the objective {name!r}, whose answers have no graph here: "
            f"use one for classes or numbers, such as binary:logistic, multi:softprob, reg:squarederror"
        )
    return forest, np.broadcast_to(base, (forest.width,)), name


def _zeros_as_missing(features: Features, emission: Emission) -> Features:
    """Zeros replaced by NaN: XGBoost reads entries that are absent from sparse rows as missing, as in training."""
    graph, x = emission.graph, emission.exact(features)
    is_zero = graph.node("Equal", [x, graph.constant(0.0, x.dtype)], "bool", x.width)
    return Features.of(graph.node("Where", [is_zero, graph.constant(np.nan, x.dtype), x], x.dtype, x.width))


@emits("predict_proba", *CLASSIFIERS)
def probabilities(model: Any, features: Features, emission: Emission) -> Features:
    """Sigmoid of the score for two classes, softmax for more."""
    return linked(_raw(model, features, emission)[0], emission)


@in_one_node(*CLASSIFIERS)
def classified_at_once(model: Any, features: Features, emission: Emission) -> tuple[Tensor, Tensor]:
    """The likeliest class, and the probabilities."""
    forest, base, _ = _read(model, emission)
    features = _zeros_as_missing(features, emission) if emission.sparse else features
    return classified(forest, base, link_of(forest), np.asarray(model.classes_), features, emission)


@emits("predict", *CLASSIFIERS)
def decided(model: Any, features: Features, emission: Emission) -> Features:
    """The likeliest class."""
    return emission.likeliest(emission.emit(model, "predict_proba", features, step=""))


@emits("predict", *REGRESSORS)
def prediction(model: Any, features: Features, emission: Emission) -> Features:
    """The sum of the leaves, its sigmoid, or its exponential, as the objective says."""
    raw, name = _raw(model, features, emission)
    if name in IDENTITY:
        return raw
    x = emission.tensor(raw)
    return Features.of(emission.graph.node("Sigmoid" if name in LOGISTIC else "Exp", [x], x.dtype, 1))
