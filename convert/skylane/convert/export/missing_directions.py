"""Fixes skl2onnx's decision trees, which ignore the learnt direction of missing values.

scikit-learn's trees send NaN left or right, as learnt (`missing_go_to_left`); skl2onnx's graph sends every NaN to the
right: 57% of rows with missing values were wrong (measured; sklearn-onnx issue 1253).
"""

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import onnx

from skylane.convert.inspection.structure import parts

ENSEMBLES: Final = ("TreeEnsembleClassifier", "TreeEnsembleRegressor")


def restore_missing_directions(model: onnx.ModelProto, estimator: Any) -> None:
    """Set for every tree node whether NaN goes left, if the estimator's trees match those of the graph."""
    ensembles = [trees for part in parts(estimator) if (trees := list(_trees(part)))]
    for node in model.graph.node:
        if node.op_type not in ENSEMBLES:
            continue
        attributes = {attribute.name: attribute for attribute in node.attribute}
        for trees in ensembles:
            if _is_made_from(attributes, trees):
                _write(attributes["nodes_missing_value_tracks_true"], trees)
                break


def _trees(part: Any) -> Iterator[Any]:
    """scikit-learn's trees of one estimator, in the order in which skl2onnx writes them."""
    if hasattr(part, "tree_"):
        yield part.tree_
    elif hasattr(part, "estimators_"):
        for estimator in np.asarray(part.estimators_, dtype=object).ravel():
            if hasattr(estimator, "tree_"):
                yield estimator.tree_


def _is_made_from(attributes: dict[str, onnx.AttributeProto], trees: list[Any]) -> bool:
    """Whether the graph's nodes split on the same features in the same places."""
    features = np.concatenate([np.where(tree.children_left >= 0, tree.feature, 0) for tree in trees])
    return np.array_equal(np.asarray(attributes["nodes_featureids"].ints), features)


def _write(attribute: onnx.AttributeProto, trees: list[Any]) -> None:
    left = np.concatenate([np.where(tree.children_left >= 0, tree.missing_go_to_left, 0) for tree in trees])
    del attribute.ints[:]
    attribute.ints.extend(left.astype(int).tolist())
