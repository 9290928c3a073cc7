"""Histogram gradient boosting of scikit-learn: float64 thresholds, missing values, and native categories."""

from typing import Any

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

from skylane.convert.errors import Refused
from skylane.convert.export.emitters.affine import two_sided
from skylane.convert.export.emitters.emission import Emission
from skylane.convert.export.emitters.features import Features
from skylane.convert.export.emitters.graph import Tensor
from skylane.convert.export.emitters.registry import emits, in_one_node
from skylane.convert.export.emitters.trees.classifier_node import classified, link_of
from skylane.convert.export.emitters.trees.gradient_boosting import linked
from skylane.convert.export.emitters.trees.tree_nodes import boosted_sums
from skylane.convert.export.emitters.trees.tree_table import LEAF, TreeTable
from skylane.convert.inspection.schema import Array


@emits("decision_function", HistGradientBoostingClassifier)
def scores(model: Any, features: Features, emission: Emission) -> Features:
    """The base value plus all leaves."""
    base = np.ravel(model._baseline_prediction)
    return boosted_sums(_forest(model), base, _encoded(model, features, emission), emission)


@in_one_node(HistGradientBoostingClassifier)
def classified_at_once(model: Any, features: Features, emission: Emission) -> tuple[Tensor, Tensor]:
    """For two classes with equal scores, the first class is chosen."""
    forest, base = _forest(model), np.ravel(model._baseline_prediction)
    return classified(forest, base, link_of(forest), model.classes_, _encoded(model, features, emission), emission)


def _forest(model: Any) -> TreeTable:
    categories = model._bin_mapper.make_known_categories_bitsets()
    trees = [
        _tree(predictor, *categories).spread(place, model.n_trees_per_iteration_)
        for stage in model._predictors
        for place, predictor in enumerate(stage)
    ]
    return TreeTable.joined(trees)


@emits("predict_proba", HistGradientBoostingClassifier)
def probabilities(model: Any, features: Features, emission: Emission) -> Features:
    """Sigmoid of the score for two classes, softmax for more."""
    return linked(emission.emit(model, "decision_function", features, step=""), emission)


@emits("predict", HistGradientBoostingClassifier)
def decided(model: Any, features: Features, emission: Emission) -> Features:
    """The class with the highest score, the first of equals."""
    return emission.likeliest(two_sided(emission.emit(model, "decision_function", features, step="")))


@emits("predict", HistGradientBoostingRegressor)
def prediction(model: Any, features: Features, emission: Emission) -> Features:
    """The sum of the leaves, or its exponential, as the loss says."""
    raw, link = scores(model, features, emission), type(model._loss.link).__name__
    if link == "IdentityLink":
        return raw
    if link != "LogLink":
        raise Refused(f"the step {emission.graph.path} has the link {link}, which has no graph here: use another loss=")
    x = emission.tensor(raw)
    return Features.of(emission.graph.node("Exp", [x], x.dtype, 1))


def _encoded(model: Any, features: Features, emission: Emission) -> Features:
    """Columns in the order that the trees use: codes of categories first, then numbers."""
    if model._preprocessor is None:
        return features
    categories = np.flatnonzero(model.is_categorical_).tolist()
    numbers = np.flatnonzero(~np.asarray(model.is_categorical_)).tolist()
    encoder = model._preprocessor.named_transformers_["encoder"]
    codes = emission.emit(encoder, "transform", features.take(categories), step="categories")
    return emission.beside([codes, features.take(numbers)] if numbers else [codes])


def _tree(predictor: Any, category_bits: Array, place_of: Array) -> TreeTable:
    nodes = predictor.nodes
    leaf = nodes["is_leaf"].astype(np.bool_)
    categorical = nodes["is_categorical"].astype(np.bool_) & ~leaf
    gaps_left = nodes["missing_go_to_left"].astype(np.bool_) & ~leaf
    left, right = (np.where(leaf, LEAF, nodes[side].astype(np.int64)) for side in ("left", "right"))
    members: dict[int, Array] = {}
    for node in np.flatnonzero(categorical):
        goes_left = _bits(predictor.raw_left_cat_bitsets[nodes["bitset_idx"][node]])
        if gaps_left[node]:  # so do unknown categories: test for those that go right, and swap the sides
            members[int(node)] = np.setdiff1d(_bits(category_bits[place_of[nodes["feature_idx"][node]]]), goes_left)
            left[node], right[node] = right[node], left[node]
        else:
            members[int(node)] = goes_left
    return TreeTable(
        roots=np.zeros(1, np.int64),
        feature=np.where(leaf, 0, nodes["feature_idx"]).astype(np.int64),
        threshold=np.where(leaf | categorical, 0.0, nodes["num_threshold"]).astype(np.float64),
        left=left,
        right=right,
        gaps_left=gaps_left & ~categorical,
        values=np.where(leaf, nodes["value"], 0.0).astype(np.float64)[:, None],
        single=False,
        members=members,
    )


def _bits(words: Array) -> Array:
    """Which bits are set in eight words of 32 bits."""
    return np.flatnonzero(np.unpackbits(np.ascontiguousarray(words, dtype="<u4").view(np.uint8), bitorder="little"))
