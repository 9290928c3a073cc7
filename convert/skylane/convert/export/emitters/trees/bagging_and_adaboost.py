"""Bagging and AdaBoost of trees: the members' trees in one node, their votes and weights in the leaves."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from sklearn.ensemble import AdaBoostClassifier, AdaBoostRegressor, BaggingClassifier, BaggingRegressor
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor, ExtraTreeClassifier, ExtraTreeRegressor

from skylane.convert.export.emitters.emission import Emission
from skylane.convert.export.emitters.ensembles import weighted_median
from skylane.convert.export.emitters.features import Features
from skylane.convert.export.emitters.registry import Declined, emits
from skylane.convert.export.emitters.trees.sklearn_trees import averaged_shares, mean_of, needs_two, tree_of
from skylane.convert.export.emitters.trees.tree_nodes import sums
from skylane.convert.export.emitters.trees.tree_table import TreeTable
from skylane.convert.inspection.schema import Array

TREES: Final = (DecisionTreeClassifier, DecisionTreeRegressor, ExtraTreeClassifier, ExtraTreeRegressor)


@emits("predict_proba", BaggingClassifier, special=True)
def bagged_shares(bag: Any, features: Features, emission: Emission) -> Features:
    """The mean of the trees' class frequencies."""
    _only_trees(bag.estimators_)
    needs_two(bag.classes_, emission)
    trees = [
        tree_of(member.tree_, _shares(member, len(bag.classes_))).renumbered(columns)
        for member, columns in zip(bag.estimators_, bag.estimators_features_, strict=True)
    ]
    forest = TreeTable.joined(trees)
    return averaged_shares(forest.column(1) if forest.width == 2 else forest, len(trees), features, emission)


def _shares(member: Any, classes: int) -> Array:
    """(nodes, classes): a member may have been trained on some of the classes only; its columns become the bag's."""
    values = np.zeros((member.tree_.node_count, classes))
    values[:, np.asarray(member.classes_, dtype=np.int64)] = member.tree_.value[:, 0]
    return values


@emits("predict", BaggingRegressor, special=True)
def bagged_mean(bag: Any, features: Features, emission: Emission) -> Features:
    """The mean of the trees."""
    _only_trees(bag.estimators_)
    return mean_of(list(zip(bag.estimators_, bag.estimators_features_, strict=True)), features, emission)


@emits("decision_function", AdaBoostClassifier, special=True)
def boosted_scores(boost: Any, features: Features, emission: Emission) -> Features:
    """The weighted votes of all trees; a vote counts against the other classes."""
    _only_trees(boost.estimators_)
    classes = len(boost.classes_)
    needs_two(boost.classes_, emission)
    weights = np.asarray(boost.estimator_weights_)[: len(boost.estimators_)] / np.sum(boost.estimator_weights_)
    if classes == 2:
        sides = [2.0 * weight * (_votes(member, boost)[:, [1]] * 2.0 - 1.0)
                 for member, weight in zip(boost.estimators_, weights, strict=True)]  # fmt: skip
        return sums(_forest(boost.estimators_, sides), features, emission)
    against = 1.0 / (classes - 1)
    each = [weight * (1.0 + against) * _votes(member, boost)
            for member, weight in zip(boost.estimators_, weights, strict=True)]  # fmt: skip
    return sums(_forest(boost.estimators_, each), features, emission).then("Sub", against * weights.sum())


def _votes(member: Any, boost: Any) -> Array:
    """(nodes, classes): 1 for the class that a leaf predicts."""
    chosen = np.searchsorted(boost.classes_, np.asarray(member.classes_)[member.tree_.value[:, 0].argmax(axis=1)])
    return np.asarray(np.eye(len(boost.classes_))[chosen])


@emits("predict", AdaBoostRegressor, special=True)
def boosted_median(boost: Any, features: Features, emission: Emission) -> Features:
    """The weighted median of the trees' predictions, each of which is a column."""
    _only_trees(boost.estimators_)
    places = np.eye(len(boost.estimators_))
    predictions = [member.tree_.value[:, :, 0] * place for member, place in zip(boost.estimators_, places, strict=True)]
    return weighted_median(boost, sums(_forest(boost.estimators_, predictions), features, emission), emission)


def _forest(members: Sequence[Any], values: Sequence[Array]) -> TreeTable:
    return TreeTable.joined([tree_of(member.tree_, leaves) for member, leaves in zip(members, values, strict=True)])


def _only_trees(members: Sequence[Any]) -> None:
    if not all(type(member) in TREES for member in members):
        raise Declined("members that are no trees")
