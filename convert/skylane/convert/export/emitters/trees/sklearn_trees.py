"""Decision trees, random forests and extra trees of scikit-learn: the mean of the leaves' values."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor, RandomForestClassifier, RandomForestRegressor
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor, ExtraTreeClassifier, ExtraTreeRegressor

from skylane.convert.errors import Refused
from skylane.convert.export.emitters.emission import Emission
from skylane.convert.export.emitters.features import Features
from skylane.convert.export.emitters.graph import Tensor
from skylane.convert.export.emitters.registry import Declined, emits, in_one_node
from skylane.convert.export.emitters.trees.classifier_node import classified
from skylane.convert.export.emitters.trees.tree_nodes import sums
from skylane.convert.export.emitters.trees.tree_table import LEAF, TreeTable
from skylane.convert.inspection.schema import Array


def tree_of(tree: Any, values: Array) -> TreeTable:
    """A tree of scikit-learn, with these values, (nodes, width), in its leaves."""
    leaf = tree.children_left < 0
    return TreeTable(
        roots=np.zeros(1, np.int64),
        feature=np.where(leaf, 0, tree.feature).astype(np.int64),
        threshold=np.where(leaf, 0.0, tree.threshold).astype(np.float64),
        left=np.where(leaf, LEAF, tree.children_left).astype(np.int64),
        right=np.where(leaf, LEAF, tree.children_right).astype(np.int64),
        gaps_left=np.where(leaf, False, tree.missing_go_to_left).astype(np.bool_),
        values=np.where(leaf[:, None], values, 0.0).astype(np.float64),
        single=True,
    )


def shares(trees: Sequence[Any]) -> TreeTable:
    """The class frequencies in the leaves; for two classes, only the second's."""
    width = trees[0].tree_.value.shape[2]
    taken = slice(1, 2) if width == 2 else slice(None)
    return TreeTable.joined([tree_of(tree.tree_, tree.tree_.value[:, 0, taken]) for tree in trees])


def averaged_shares(forest: TreeTable, trees: int, features: Features, emission: Emission) -> Features:
    """The trees' probabilities, averaged: (rows, classes)."""
    total = sums(forest, features, emission)
    if forest.width > 1:
        return total if trees == 1 else total.then("Div", trees)
    # Rounded down, so that a tie stays a tie: half of the trees sum to at most a half, and the first class is chosen.
    share = np.nextafter(1.0 / trees, 0.0, dtype=np.float32) if 1.0 / trees < np.float32(1.0 / trees) else 1.0 / trees
    return total.times(np.array([[-share, share]]), np.array([1.0, 0.0]))


@emits("predict_proba", DecisionTreeClassifier, ExtraTreeClassifier)
def tree_probabilities(tree: Any, features: Features, emission: Emission) -> Features:
    """The class frequencies in a row's leaf."""
    _check_single_output(tree, emission)
    return averaged_shares(shares([tree]), 1, features, emission)


@emits("predict_proba", RandomForestClassifier, ExtraTreesClassifier)
def forest_probabilities(forest: Any, features: Features, emission: Emission) -> Features:
    """The mean of the trees' class frequencies."""
    _check_single_output(forest, emission)
    return averaged_shares(shares(forest.estimators_), len(forest.estimators_), features, emission)


@in_one_node(DecisionTreeClassifier, ExtraTreeClassifier)
def tree_at_once(tree: Any, features: Features, emission: Emission) -> tuple[Tensor, Tensor]:
    """The class frequencies in a row's leaf, and the class with the largest."""
    return _voted([tree], tree, features, emission)


@in_one_node(RandomForestClassifier, ExtraTreesClassifier)
def forest_at_once(forest: Any, features: Features, emission: Emission) -> tuple[Tensor, Tensor]:
    """The mean of the trees' class frequencies, and the class with the largest."""
    return _voted(forest.estimators_, forest, features, emission)


def _voted(trees: Sequence[Any], model: Any, features: Features, emission: Emission) -> tuple[Tensor, Tensor]:
    _check_single_output(model, emission)
    if len(model.classes_) == 2:  # the other form holds half as many numbers, and is faster from 64 rows on
        raise Declined("of two classes it would hold two numbers in each leaf, or decide draws wrongly")
    each = [tree_of(tree.tree_, tree.tree_.value[:, 0] / len(trees)) for tree in trees]
    return classified(TreeTable.joined(each), None, "NONE", model.classes_, features, emission)


@emits("predict", DecisionTreeRegressor, ExtraTreeRegressor)
def tree_prediction(tree: Any, features: Features, emission: Emission) -> Features:
    """The value of a row's leaf."""
    return sums(tree_of(tree.tree_, tree.tree_.value[:, :, 0]), features, emission)


@emits("predict", RandomForestRegressor, ExtraTreesRegressor)
def forest_prediction(forest: Any, features: Features, emission: Emission) -> Features:
    """The mean of the values of the trees' leaves."""
    return mean_of([(tree, None) for tree in forest.estimators_], features, emission)


def mean_of(trees: Sequence[tuple[Any, Sequence[int] | None]], features: Features, emission: Emission) -> Features:
    """The mean of regression trees, each with the columns that it was trained on, or None for all.

    The mean of the target is subtracted from the leaves and added after the sum, because small numbers lose less.
    """
    centre = np.mean([tree.tree_.value[0, :, 0] for tree, _ in trees], axis=0)
    forest = TreeTable.joined([_on_columns(tree_of(tree.tree_, tree.tree_.value[:, :, 0] - centre), columns)
                            for tree, columns in trees])  # fmt: skip
    return sums(forest, features, emission).times(np.eye(len(centre)) / len(trees), centre)


def _on_columns(forest: TreeTable, columns: Sequence[int] | None) -> TreeTable:
    return forest if columns is None else forest.renumbered(columns)


def _check_single_output(model: Any, emission: Emission) -> None:
    if model.n_outputs_ != 1:
        raise Declined("several questions")
    needs_two(model.classes_, emission)


def needs_two(classes: Array, emission: Emission) -> None:
    """Raises Refused for a single class: skl2onnx's trees would then predict another class, or crash the process."""
    if len(classes) < 2:
        raise Refused(
            f"the step {emission.graph.path} met a single class in training, {classes[0]}: "
            f"train it on rows of two or more"
        )
