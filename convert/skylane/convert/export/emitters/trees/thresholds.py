"""The tensor that trees compare, and thresholds of its type with which every comparison ends as in their library.

A preceding scaler becomes no node. Instead, each threshold becomes the largest number of the input's type that is at
most the original threshold after scaling and rounding to float32. Bisection over all numbers of the type finds it, so
every row takes the same path as before.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from skylane.convert.export.emitters.emission import Emission
from skylane.convert.export.emitters.features import UFUNC, Features, Part, Pointwise
from skylane.convert.export.emitters.graph import Tensor
from skylane.convert.export.emitters.trees.tree_table import TreeTable
from skylane.convert.inspection.float_order import between, keys, numbers
from skylane.convert.inspection.schema import Array, NumberType


def compared(forest: TreeTable, features: Features, emission: Emission) -> tuple[Tensor, TreeTable]:
    """The tensor that the trees get, (rows, any), and the trees with its columns as features.

    Their thresholds are numbers of the tensor's type.
    """
    if features.matrix is not None:
        features = Features.of(in_doubles(features, emission))
    if not forest.members.keys() <= set(np.flatnonzero(_unchanged(features)[forest.feature])):
        raise AssertionError("codes of categories are compared as they are")
    dtype: NumberType = "float64" if any(part.tensor.dtype == "float64" for part in features.parts) else "float32"
    rounded_after = forest.single and dtype == "float64" and emission.precision == "float32"
    if rounded_after or not all(_is_increasing(step) for part in features.parts for step in part.steps):
        return _as_nodes(forest, features, emission)
    tensor, columns = _side_by_side(features, dtype, emission)
    steps = [_of_column(part, place) for part in features.parts for place in range(part.width)]
    return tensor, replace(forest, threshold=_moved(forest, steps, dtype)).renumbered(columns)


def in_doubles(features: Features, emission: Emission) -> Tensor:
    """All deferred arithmetic as nodes in float64, because a comparison follows."""
    precision, emission.precision = emission.precision, "float64"
    try:
        return emission.tensor(_as_doubles(features, emission), "float64")
    finally:
        emission.precision = precision


def _as_doubles(features: Features, emission: Emission) -> Features:
    parts = [
        part if part.codes else replace(part, tensor=emission.cast(part.tensor, "float64")) for part in features.parts
    ]
    return replace(features, parts=tuple(parts))


def _as_nodes(forest: TreeTable, features: Features, emission: Emission) -> tuple[Tensor, TreeTable]:
    """The deferred steps become nodes, in float64 as in scikit-learn."""
    tensor = in_doubles(features, emission)
    if forest.single:
        tensor = emission.cast(tensor, "float32")
        return tensor, replace(forest, threshold=largest(forest, [()] * features.width, "float32"))
    return tensor, forest


def _side_by_side(features: Features, dtype: NumberType, emission: Emission) -> tuple[Tensor, list[int]]:
    """A tensor with all columns, before any deferred step, and the index of each column in it."""
    first = features.parts[0].tensor
    if all(part.tensor == first and not part.codes for part in features.parts) and first.dtype == dtype and first.width:
        return first, [column for part in features.parts for column in part.columns]
    plain = Features(tuple(replace(part, steps=()) for part in features.parts))
    return emission.tensor(plain, dtype), list(range(features.width))


def _unchanged(features: Features) -> Array:
    """For each column, whether it has no deferred steps."""
    return np.array([not part.steps for part in features.parts for _ in range(part.width)], dtype=np.bool_)


def _is_increasing(step: Pointwise) -> bool:
    """Whether the step keeps the order of numbers, and keeps infinities."""
    by = step.by
    return bool(np.isfinite(by).all() and (step.op in ("Sub", "Add") or (by > 0).all()))


def _of_column(part: Part, place: int) -> tuple[Pointwise, ...]:
    return tuple(step.take([place]) for step in part.steps)


def _moved(forest: TreeTable, steps: Sequence[tuple[Pointwise, ...]], dtype: NumberType) -> Array:
    if dtype == "float64" and not forest.single and not any(steps):
        return forest.threshold
    return largest(forest, steps, dtype)


def largest(forest: TreeTable, steps: Sequence[tuple[Pointwise, ...]], dtype: NumberType) -> Array:
    """For each node, the largest number of this type that goes left after its column's steps."""
    if dtype == "float32" and not any(steps):
        return _rounded_down(forest.threshold)
    moved, inner = np.zeros(len(forest.threshold)), ~forest.leaves
    for column in np.unique(forest.feature[inner]):
        nodes = inner & (forest.feature == column)
        thresholds, places = np.unique(forest.threshold[nodes], return_inverse=True)
        moved[nodes] = _bisected(thresholds, steps[column], forest.single, dtype)[places]
    return moved


def _rounded_down(thresholds: Array) -> Array:
    """The largest float32 numbers that are not above these, as float64."""
    with np.errstate(over="ignore"):
        near = thresholds.astype(np.float32)
    above = near > thresholds
    near[above] = np.nextafter(near[above], np.float32(-np.inf))
    return near.astype(np.float64)


def _bisected(thresholds: Array, steps: Sequence[Pointwise], single: bool, dtype: NumberType) -> Array:
    """Minus infinity always goes left; so does infinity, if the threshold is infinite."""
    low, high = (np.full(len(thresholds), keys(np.array([end]), dtype)[0]) for end in (-np.inf, np.inf))
    low = np.where(np.isposinf(thresholds), high, low)
    with np.errstate(over="ignore"):
        while (high - 1 > low).any():
            middle = between(low, high)
            values = numbers(middle, dtype)
            for step in steps:
                values = UFUNC[step.op](values, step.by)
            left = (values.astype(np.float32) if single else values) <= thresholds
            low, high = np.where(left, middle, low), np.where(left, high, middle)
    return numbers(low, dtype)
