"""The thresholds that an estimator compares features with, and the steps before them. Knows estimators, not graphs."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import FeatureUnion, Pipeline

from skylane.convert.errors import Refused
from skylane.convert.export.emitters.trees import lightgbm, xgboost
from skylane.convert.export.emitters.trees.tree_table import LEAF, TreeTable
from skylane.convert.inspection.schema import Array
from skylane.convert.inspection.structure import branches, column_names

Prefix = Callable[[Any], Any]
"""Rows as the pipeline gets them → as one of its parts gets them."""

MEMBERS: Final = ("best_estimator_", "estimators_", "calibrated_classifiers_", "estimator_", "estimator")
"""Attributes of meta-estimators with the members that get the same rows."""


@dataclass(frozen=True)
class Split:
    """One comparison on a row's path through a tree."""

    feature: int
    threshold: float
    single: bool
    """Whether the feature is rounded to float32 first, as in scikit-learn's trees."""

    def below(self, values: Array) -> Array:
        """Which of these features, (any) float64, go to the lower side."""
        return np.asarray((values.astype(np.float32) if self.single else values) <= np.float64(self.threshold))


@dataclass(frozen=True)
class Splitter:
    """One tree, or the bins of one step, with the rows that it gets."""

    before: Prefix
    on_way: Callable[[Array], list[Split]]
    """A row, (features) float64, as the part gets it → the comparisons on its path."""


def splitters(estimator: Any, before: Prefix = lambda rows: rows) -> Iterator[Splitter]:
    """Every part that compares numbers with thresholds, with the steps before it."""
    if isinstance(estimator, Pipeline):
        for _, step in estimator.steps:
            if step is None or isinstance(step, str):
                continue
            yield from splitters(step, before)
            before = _then(before, getattr(step, "transform", None))
    elif isinstance(estimator, ColumnTransformer):
        fitted = {name: part for name, part, _ in estimator.transformers_}
        for name, positions in branches(estimator):
            yield from splitters(fitted[name], _then(before, _taking(estimator, positions)))
    elif isinstance(estimator, FeatureUnion):
        for _, part in estimator.transformer_list:
            yield from splitters(part, before)
    elif hasattr(estimator, "tree_"):
        yield Splitter(before, lambda row: _through_tree(estimator.tree_, row))
    elif hasattr(estimator, "_predictors"):
        inside = _then(before, getattr(estimator._preprocessor, "transform", None))
        for predictor in _flat(estimator._predictors):
            yield Splitter(inside, _through_nodes(predictor.nodes))
    elif (forest := _foreign(estimator)) is not None:
        for root in forest.roots:
            yield Splitter(before, _through_forest(forest, int(root)))
    elif hasattr(estimator, "bin_edges_"):
        yield Splitter(before, lambda row: _through_bins(estimator.bin_edges_, row))
    else:
        yield from _members(estimator, before)


def _members(estimator: Any, before: Prefix) -> Iterator[Splitter]:
    taken = getattr(estimator, "estimators_features_", None)
    for attribute in MEMBERS:
        if attribute not in vars(estimator):
            continue
        for index, member in enumerate(_flat(vars(estimator)[attribute])):
            positions = None if taken is None else [int(place) for place in taken[index]]
            if positions is None or positions == list(range(estimator.n_features_in_)):
                yield from splitters(member, before)
            elif hasattr(member, "tree_"):  # the members share one prefix object, so that they are searched together
                yield Splitter(before, _through_some(member.tree_, positions))
            else:
                yield from splitters(member, _then(before, _taking(estimator, positions)))
        return  # the first that exists is the fitted one


def _flat(members: Any) -> Iterator[Any]:
    """One estimator, or all in a list or array. (NumPy would treat a pipeline as a list of its steps.)"""
    if isinstance(members, list | tuple | np.ndarray):
        for member in members:
            yield from _flat(member)
    else:
        yield members


def _then(before: Prefix, step: Prefix | None) -> Prefix:
    return before if step is None else lambda rows: step(before(rows))


def _taking(estimator: Any, positions: Any) -> Prefix:
    """Some of the columns; of a frame by name, because it may lack those that no step reads."""
    places, names = list(positions), column_names(estimator)

    def take(rows: Any) -> Any:
        if isinstance(rows, pd.DataFrame):
            return rows[[names[place] for place in places]] if names else rows.iloc[:, places]
        return rows[:, places]

    return take


def _through_tree(tree: Any, row: Array) -> list[Split]:
    path, node = list[Split](), 0
    while tree.children_left[node] >= 0:
        split = Split(int(tree.feature[node]), float(tree.threshold[node]), single=True)
        path.append(split)
        value = row[split.feature]
        left = tree.missing_go_to_left[node] if np.isnan(value) else split.below(value)
        node = tree.children_left[node] if left else tree.children_right[node]
    return path


def _through_some(tree: Any, positions: Sequence[int]) -> Callable[[Array], list[Split]]:
    """The path through a tree that uses some of the features, with indices into all of them."""

    def through(row: Array) -> list[Split]:
        path = _through_tree(tree, row[positions])
        return [replace(split, feature=positions[split.feature]) for split in path]

    return through


def _through_nodes(nodes: Array) -> Callable[[Array], list[Split]]:
    """The path through a tree of histogram boosting; it ends at splits on categories, which have no threshold."""

    def through(row: Array) -> list[Split]:
        path, node = list[Split](), nodes[0]
        while not node["is_leaf"] and not node["is_categorical"]:
            split = Split(int(node["feature_idx"]), float(node["num_threshold"]), single=False)
            path.append(split)
            value = row[split.feature]
            left = node["missing_go_to_left"] if np.isnan(value) else split.below(value)
            node = nodes[node["left"] if left else node["right"]]
        return path

    return through


def _foreign(estimator: Any) -> TreeTable | None:
    """The trees of LightGBM or XGBoost; None for other estimators, and if there is no graph."""
    module = type(estimator).__module__
    read = {"lightgbm.sklearn": lightgbm.forest_of, "xgboost.sklearn": xgboost.forest_of}.get(module)
    try:
        return read(estimator) if read else None
    except Refused:
        return None


def _through_forest(forest: TreeTable, root: int) -> Callable[[Array], list[Split]]:
    """The path through one of the trees; it ends at splits on categories."""

    def through(row: Array) -> list[Split]:
        path, node = list[Split](), root
        while forest.left[node] != LEAF and node not in forest.members:
            split = Split(int(forest.feature[node]), float(forest.threshold[node]), single=forest.single)
            path.append(split)
            value = row[split.feature]
            left = forest.gaps_left[node] if np.isnan(value) else split.below(value)
            node = int(forest.left[node] if left else forest.right[node])
        return path

    return through


def _through_bins(edges: Any, row: Array) -> list[Split]:
    """For each feature, the nearest inner bin edge."""
    return [
        Split(feature, float(inner[np.abs(inner - row[feature]).argmin()]), single=False)
        for feature, all_edges in enumerate(edges)
        if len(inner := np.asarray(all_edges[1:-1])) and np.isfinite(row[feature])
    ]
