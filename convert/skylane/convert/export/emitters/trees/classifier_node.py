"""Label and probabilities from one node: for a single row, each node of a graph costs as much as a dozen small trees.

Only ai.onnx.ml version 3 has such a node. It can compare in float64, but sums in float32.
"""

from typing import Any, Literal

import numpy as np

from skylane.convert.export.emitters.emission import Emission
from skylane.convert.export.emitters.features import Features
from skylane.convert.export.emitters.graph import Tensor
from skylane.convert.export.emitters.registry import Declined
from skylane.convert.export.emitters.trees.thresholds import compared
from skylane.convert.export.emitters.trees.tree_nodes import numbers, places, table, weights
from skylane.convert.export.emitters.trees.tree_table import TreeTable
from skylane.convert.inspection.schema import Array

Link = Literal["NONE", "LOGISTIC", "SOFTMAX"]
"""The function from the sum of the leaves to probabilities."""

LEAST = float(np.finfo(np.float32).tiny)
"""Base value in place of zero: it changes no sum except one of exactly zero, for which the second class is chosen."""


def link_of(forest: TreeTable) -> Link:
    """The link function of boosted trees."""
    return "LOGISTIC" if forest.width == 1 else "SOFTMAX"


def classified(
    forest: TreeTable, base_values: Array | None, link: Link, classes: Array, features: Features, emission: Emission
) -> tuple[Tensor, Tensor]:
    """The label, (rows), and the probabilities, (rows, classes), of the sum of the leaves and a base value, (width).

    With LOGISTIC there is one score, the second class's. Raises Declined where the node would give wrong results.
    """
    if forest.members:
        raise Declined("its trees split on categories, which one node with a label cannot tell apart")
    if link == "LOGISTIC" and not (forest.values[forest.leaves] < 0).any():
        raise Declined("no leaf of its trees is below nought, and then one node takes scores for probabilities")
    texts = classes.dtype.kind in "OUS"
    supported = all(isinstance(one, str) for one in classes) if texts else (classes.astype(np.int64) == classes).all()
    if not supported:
        raise Declined("its classes are neither whole numbers nor texts")
    tensor, forest = compared(forest, features, emission)
    leaves, targets = _leaf_targets(forest)
    attributes: dict[str, Any] = (
        {"classlabels_strings": classes.tolist()} if texts else {"classlabels_int64s": classes.astype(np.int64)}
    )
    if base_values is not None:
        attributes |= numbers("base_values", base_values, tensor.dtype)
    label, probabilities = emission.graph.nodes(
        "TreeEnsembleClassifier",
        [tensor],
        2,
        domain="ai.onnx.ml",
        post_transform=link,
        **attributes,
        **table(forest, tensor.dtype),
        **weights("class", forest, leaves, targets, tensor.dtype),
    )
    return Tensor(label, "string" if texts else "int64", None), Tensor(probabilities, "float32", len(classes))


def _leaf_targets(forest: TreeTable) -> tuple[Array, Array]:
    """Leaves, and the outputs that each adds to; a leaf that adds nothing is given the output that its tree adds to.

    The node ignores a class if none of the leaves that a row ends in adds to it, so each leaf must add to some class.
    """
    values = np.where(forest.leaves[:, None], forest.values, 0.0)
    added = values != 0
    empty = np.flatnonzero(forest.leaves & ~added.any(axis=1))
    of_tree = np.add.reduceat(np.abs(values), forest.roots).argmax(axis=1)
    added[empty, of_tree[places(forest)[0][empty]]] = True
    leaves, targets = np.nonzero(added)
    return leaves, targets
