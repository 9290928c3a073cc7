"""Isolation forest: the sum of a row's depths in all trees, from one node. skl2onnx makes 27 nodes for each tree."""

from typing import Any

import numpy as np
from sklearn.ensemble import IsolationForest
from sklearn.ensemble._iforest import _average_path_length

from skylane.convert.export.emitters.emission import Emission
from skylane.convert.export.emitters.features import Features
from skylane.convert.export.emitters.registry import emits
from skylane.convert.export.emitters.trees.sklearn_trees import tree_of
from skylane.convert.export.emitters.trees.tree_nodes import sums
from skylane.convert.export.emitters.trees.tree_table import TreeTable


@emits("decision_function", IsolationForest)
def scores(model: Any, features: Features, emission: Emission) -> Features:
    """-offset - 2^(-depth), where depth is the mean over the trees, divided by the average path length."""
    average = len(model.estimators_) * float(_average_path_length([model._max_samples])[0])
    trees = []
    for member, columns, length, beyond in zip(
        model.estimators_,
        model.estimators_features_,
        model._decision_path_lengths,
        model._average_path_length_per_tree,
        strict=True,
    ):
        depth = np.asarray(length + beyond - 1.0, dtype=np.float64)[:, None]
        # For trees of a single leaf, trained on one row, scikit-learn takes the average path length as the mean depth.
        share = depth / average if average else np.full_like(depth, 1.0 / len(model.estimators_))
        trees.append(tree_of(member.tree_, -np.log(2.0) * share).renumbered(columns))
    graph, x = emission.graph, emission.tensor(sums(TreeTable.joined(trees), features, emission))
    power = graph.node("Exp", [x], x.dtype, 1)
    return Features.of(graph.node("Sub", [graph.constant(-model.offset_, x.dtype), power], x.dtype, 1))


@emits("predict", IsolationForest)
def inlier(model: Any, features: Features, emission: Emission) -> Features:
    """-1 where the score is below zero, else 1."""
    graph, score = emission.graph, emission.vector(emission.emit(model, "decision_function", features, step=""))
    below = graph.node("Less", [score, graph.constant(0.0, score.dtype)], "bool", None)
    signs = [graph.constant(sign, "int64") for sign in (-1, 1)]
    return Features.of(graph.node("Where", [below, *signs], "int64", None))
