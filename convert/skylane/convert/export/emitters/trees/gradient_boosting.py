"""Gradient boosting of scikit-learn: the sum of a base value and the leaves, and a link to probabilities."""

from typing import Any

import numpy as np
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import GradientBoostingClassifier, GradientBoostingRegressor

from skylane.convert.errors import Refused
from skylane.convert.export.emitters.affine import two_sided
from skylane.convert.export.emitters.bayes import softmax
from skylane.convert.export.emitters.emission import Emission
from skylane.convert.export.emitters.features import Features
from skylane.convert.export.emitters.graph import Tensor
from skylane.convert.export.emitters.registry import emits, in_one_node
from skylane.convert.export.emitters.trees.classifier_node import LEAST, classified, link_of
from skylane.convert.export.emitters.trees.sklearn_trees import tree_of
from skylane.convert.export.emitters.trees.tree_nodes import boosted_sums
from skylane.convert.export.emitters.trees.tree_table import TreeTable
from skylane.convert.inspection.schema import Array


@emits("decision_function", GradientBoostingClassifier)
@emits("predict", GradientBoostingRegressor)
def boosted(model: Any, features: Features, emission: Emission) -> Features:
    """The base value plus all leaves times the learning rate."""
    return boosted_sums(_forest(model), _base_value(model, emission), features, emission)


@in_one_node(GradientBoostingClassifier)
def classified_at_once(model: Any, features: Features, emission: Emission) -> tuple[Tensor, Tensor]:
    """For two classes with equal scores, the second class is chosen."""
    factor = 2.0 if model.loss == "exponential" else 1.0
    forest, base = _forest(model, factor), factor * _base_value(model, emission)
    if forest.width == 1:
        base = np.where(base == 0, LEAST, base)
    return classified(forest, base, link_of(forest), model.classes_, features, emission)


def _forest(model: Any, factor: float = 1.0) -> TreeTable:
    width = model.estimators_.shape[1]
    trees = [
        tree_of(tree.tree_, tree.tree_.value[:, :, 0] * model.learning_rate * factor).spread(place, width)
        for stage in model.estimators_
        for place, tree in enumerate(stage)
    ]
    return TreeTable.joined(trees)


def _base_value(model: Any, emission: Emission) -> Array:
    if not (isinstance(model.init_, str) or type(model.init_) in (DummyClassifier, DummyRegressor)):
        raise Refused(
            f"the step {emission.graph.path} begins with the answers of {type(model.init_).__name__}, "
            f"which has no graph here: leave out init="
        )
    return np.ravel(model._raw_predict_init(np.zeros((1, model.n_features_in_)))[0])


@emits("predict_proba", GradientBoostingClassifier)
def probabilities(model: Any, features: Features, emission: Emission) -> Features:
    """Sigmoid of the score for two classes, doubled for the exponential loss; softmax for more."""
    scores = emission.emit(model, "decision_function", features, step="")
    return linked(scores.then("Mul", 2.0) if model.loss == "exponential" else scores, emission)


def linked(scores: Features, emission: Emission) -> Features:
    """Probabilities from a single score of two classes, or from one score for each class."""
    if scores.width > 1:
        return softmax(scores, emission)
    x = emission.tensor(two_sided(scores))
    return Features.of(emission.graph.node("Sigmoid", [x], x.dtype, 2))


@emits("predict", GradientBoostingClassifier)
def decided(model: Any, features: Features, emission: Emission) -> Features:
    """The class with the highest score; for two classes with equal scores the second, unlike in other classifiers."""
    scores = emission.emit(model, "decision_function", features, step="")
    if scores.width > 1:
        return emission.likeliest(scores)
    x = emission.tensor(two_sided(scores))
    return Features.of(emission.graph.node("ArgMax", [x], "int64", None, axis=1, keepdims=0, select_last_index=1))
