"""ONNX nodes for trees: TreeEnsemble and TreeEnsembleRegressor.

ai.onnx.ml has two tree operators. TreeEnsemble (version 5) takes a half to a fifth of the size, supports categories,
and is the only one that sums in float64; but each of its leaves adds to a single output. TreeEnsembleRegressor
(version 3) has no such limit. One graph can use only one of the two.
"""

from typing import Any, Final

import numpy as np
from onnx import numpy_helper

from skylane.convert.export.emitters.emission import Emission, Outdated
from skylane.convert.export.emitters.features import Features
from skylane.convert.export.emitters.graph import DType, Graph, Tensor
from skylane.convert.export.emitters.trees.thresholds import compared
from skylane.convert.export.emitters.trees.tree_table import LEAF, TreeTable
from skylane.convert.inspection.schema import Array

AT_MOST, MEMBER = 0, 6
SUM: Final = 1


def boosted_sums(forest: TreeTable, base: Array, features: Features, emission: Emission) -> Features:
    """As `sums`, plus a base value, (width).

    In float64 the base value is added first, as the training libraries do: isotonic calibration may step between
    neighbouring numbers, so it needs sums that are equal to the last bit. In float32 it is added last: adding to a
    large number would cost each leaf its last digits.
    """
    tensor, forest = compared(forest, features, emission)
    if tensor.dtype == "float64" and emission.trees == 5:
        return _parts(TreeTable.joined([TreeTable.constant(base, forest.single), forest]), tensor, emission)
    return _parts(forest, tensor, emission).then("Add", base)


def sums(forest: TreeTable, features: Features, emission: Emission) -> Features:
    """The sum of the leaves that each row ends in: (rows, width)."""
    tensor, forest = compared(forest, features, emission)
    return _parts(forest, tensor, emission)


def _parts(forest: TreeTable, tensor: Tensor, emission: Emission) -> Features:
    if emission.nodes_max is None:
        return Features.of(_node(forest, tensor, emission))
    parts = [_node(part, tensor, emission) for part in forest.split(emission.nodes_max)]
    if len(parts) == 1:
        return Features.of(parts[0])
    return Features.of(emission.graph.node("Sum", parts, parts[0].dtype, forest.width))


def _node(forest: TreeTable, tensor: Tensor, emission: Emission) -> Tensor:
    if emission.trees == 3:
        if forest.members:
            raise Outdated("categories are told apart by trees of version 5 alone")
        return _version_3(forest, tensor, emission.graph)
    if not forest.several:
        return _version_5(forest, tensor, emission.graph)
    columns = [_version_5(forest.column(place), tensor, emission.graph) for place in range(forest.width)]
    return emission.graph.node("Concat", columns, tensor.dtype, forest.width, axis=1)


def _version_5(forest: TreeTable, tensor: Tensor, graph: Graph) -> Tensor:
    forest = _rooted(forest)
    leaf = forest.leaves
    inner = np.flatnonzero(~leaf)
    place = np.where(leaf, np.cumsum(leaf), np.cumsum(~leaf)) - 1
    left, right = forest.left[inner], forest.right[inner]
    values = forest.values[leaf]
    targets = np.abs(values).argmax(axis=1) if values.shape[1] > 1 else np.zeros(len(values), np.int64)
    dtype = np.float64 if tensor.dtype == "float64" else np.float32
    optional: dict[str, Any] = {}
    if forest.members:
        optional["membership_values"] = _tensor(_codes(forest), dtype)
    if forest.gaps_left[inner].any():
        optional["nodes_missing_value_tracks_true"] = forest.gaps_left[inner].astype(np.int64)
    modes = np.full(len(inner), AT_MOST, dtype=np.uint8)
    modes[np.isin(inner, list(forest.members))] = MEMBER
    return graph.node(
        "TreeEnsemble",
        [tensor],
        tensor.dtype,
        forest.width,
        domain="ai.onnx.ml",
        opset=5,
        tree_roots=place[forest.roots],
        nodes_featureids=forest.feature[inner],
        nodes_splits=_tensor(forest.threshold[inner], dtype),
        nodes_modes=numpy_helper.from_array(modes),
        nodes_truenodeids=place[left],
        nodes_trueleafs=leaf[left].astype(np.int64),
        nodes_falsenodeids=place[right],
        nodes_falseleafs=leaf[right].astype(np.int64),
        leaf_targetids=targets,
        leaf_weights=_tensor(values[np.arange(len(values)), targets], dtype),
        n_targets=forest.width,
        aggregate_function=SUM,
        **optional,
    )


def _rooted(forest: TreeTable) -> TreeTable:
    """The same trees, in which a single leaf is replaced by a node with two such leaves.

    A node whose two sides are the same leaf is valid, but ONNX Runtime 1.24 returns wrong results for it.
    """
    alone = np.flatnonzero(forest.leaves[forest.roots])
    if not len(alone):
        return forest
    leaves, count, added = forest.roots[alone], len(forest.feature), len(alone)
    roots = forest.roots.copy()
    roots[alone] = np.arange(count, count + added)
    zeros, none = np.zeros(2 * added, np.int64), np.full(added, LEAF)
    return TreeTable(
        roots=roots,
        feature=np.append(forest.feature, zeros),
        threshold=np.append(forest.threshold, zeros.astype(np.float64)),
        left=np.concatenate([forest.left, leaves, none]),
        right=np.concatenate([forest.right, np.arange(count + added, count + 2 * added), none]),
        gaps_left=np.append(forest.gaps_left, zeros.astype(np.bool_)),
        values=np.concatenate([forest.values, np.zeros((added, forest.width)), forest.values[leaves]]),
        single=forest.single,
        members=forest.members,
    )


def _codes(forest: TreeTable) -> Array:
    """The codes of all nodes that test for categories, each list ended by NaN."""
    return np.concatenate([[*forest.members[node], np.nan] for node in sorted(forest.members)])


def _tensor(values: Array, dtype: Any) -> Any:
    with np.errstate(over="ignore"):
        return numpy_helper.from_array(np.ascontiguousarray(values, dtype))


def _version_3(forest: TreeTable, tensor: Tensor, graph: Graph) -> Tensor:
    leaves, targets = np.nonzero(np.where(forest.leaves[:, None], forest.values, 0.0))
    return graph.node(
        "TreeEnsembleRegressor",
        [tensor],
        "float32",
        forest.width,
        domain="ai.onnx.ml",
        n_targets=forest.width,
        **table(forest, tensor.dtype),
        **weights("target", forest, leaves, targets, tensor.dtype),
    )


def table(forest: TreeTable, dtype: DType) -> dict[str, Any]:
    """All nodes as attributes of version 3, with thresholds of this type."""
    leaf, (tree, own) = forest.leaves, places(forest)
    modes = np.where(leaf, b"LEAF", b"BRANCH_LEQ")
    optional: dict[str, Any] = {}
    if forest.gaps_left.any():
        optional["nodes_missing_value_tracks_true"] = forest.gaps_left.astype(np.int64)
    return optional | {
        "nodes_treeids": tree,
        "nodes_nodeids": own,
        "nodes_featureids": forest.feature,
        "nodes_modes": modes,
        "nodes_truenodeids": np.where(leaf, 0, forest.left - forest.roots[tree]),
        "nodes_falsenodeids": np.where(leaf, 0, forest.right - forest.roots[tree]),
        **numbers("nodes_values", forest.threshold, dtype),
    }


def weights(of: str, forest: TreeTable, leaves: Array, targets: Array, dtype: DType) -> dict[str, Any]:
    """What these leaves add to these outputs, as attributes of version 3. `of`: "target" or "class"."""
    tree, own = places(forest)
    return {
        f"{of}_treeids": tree[leaves],
        f"{of}_nodeids": own[leaves],
        f"{of}_ids": targets,
        **numbers(f"{of}_weights", forest.values[leaves, targets], dtype),
    }


def places(forest: TreeTable) -> tuple[Array, Array]:
    """For each node, the index of its tree and its own index in that tree."""
    tree = np.repeat(np.arange(len(forest.roots)), np.diff(np.append(forest.roots, len(forest.feature))))
    return tree, np.arange(len(tree)) - forest.roots[tree]


def numbers(name: str, values: Array, dtype: DType) -> dict[str, Any]:
    """An attribute of version 3: a tensor for float64, else a list."""
    if dtype == "float64":
        return {f"{name}_as_tensor": _tensor(values, np.float64)}
    with np.errstate(over="ignore"):
        return {name: values.astype(np.float32)}
