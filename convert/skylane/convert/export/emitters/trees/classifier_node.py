"""Label and probabilities from one node: to a single row, each node of a graph costs as much as a dozen small trees.

Only the older form of trees has such a node. It compares in doubles where it must, but adds up in single precision.
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
"""How the node makes probabilities of what its leaves add up to."""

LEAST = float(np.finfo(np.float32).tiny)
"""As a first guess of nought: it changes no sum but nought itself, and then the second of two classes is taken."""


def link_of(forest: TreeTable) -> Link:
    """What boosted trees are linked to probabilities with."""
    return "LOGISTIC" if forest.width == 1 else "SOFTMAX"


def classified(
    forest: TreeTable, guess: Array | None, link: Link, classes: Array, features: Features, emission: Emission
) -> tuple[Tensor, Tensor]:
    """The label, (rows), and the probabilities, (rows, classes), of leaves added up, and to a first guess, (width).

    With LOGISTIC there is one score, the second class's. Raises Declined for what one such node gets wrong.
    """
    if forest.members:
        raise Declined("its trees split on categories, which one node with a label cannot tell apart")
    if link == "LOGISTIC" and not (forest.values[forest.leaves] < 0).any():
        raise Declined("no leaf of its trees is below nought, and then one node takes scores for probabilities")
    texts = classes.dtype.kind in "OUS"
    known = all(isinstance(one, str) for one in classes) if texts else (classes.astype(np.int64) == classes).all()
    if not known:
        raise Declined("its classes are neither whole numbers nor texts")
    tensor, forest = compared(forest, features, emission)
    leaves, targets = _told(forest)
    told: dict[str, Any] = (
        {"classlabels_strings": classes.tolist()} if texts else {"classlabels_int64s": classes.astype(np.int64)}
    )
    if guess is not None:
        told |= numbers("base_values", guess, tensor.dtype)
    label, probabilities = emission.graph.nodes(
        "TreeEnsembleClassifier",
        [tensor],
        2,
        domain="ai.onnx.ml",
        post_transform=link,
        **told,
        **table(forest, tensor.dtype),
        **weights("class", forest, leaves, targets, tensor.dtype),
    )
    return Tensor(label, "string" if texts else "int64", None), Tensor(probabilities, "float32", len(classes))


def _told(forest: TreeTable) -> tuple[Array, Array]:
    """Leaves, and the answers that they add to; where they add nothing, the answer that their tree is about.

    The node leaves out of its decision what no leaf on a row's way speaks of.
    """
    values = np.where(forest.leaves[:, None], forest.values, 0.0)
    added = values != 0
    silent = np.flatnonzero(forest.leaves & ~added.any(axis=1))
    of_tree = np.add.reduceat(np.abs(values), forest.roots).argmax(axis=1)
    added[silent, of_tree[places(forest)[0][silent]]] = True
    leaves, targets = np.nonzero(added)
    return leaves, targets
