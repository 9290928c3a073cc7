"""KNNImputer: missing values filled from the nearest training rows, by the columns that both rows have.

Over these columns, |x - y|² is x²·p(y) - 2 x·y + p(x)·y², where missing values are zero and p is 1 where a value is
present, else 0. skl2onnx's graph of it fails in ONNX Runtime on some rows (measured).
"""

from typing import Any

import numpy as np
from sklearn.impute import KNNImputer

from skylane.convert.errors import Refused
from skylane.convert.export.emitters.emission import Emission
from skylane.convert.export.emitters.features import Features
from skylane.convert.export.emitters.graph import Tensor
from skylane.convert.export.emitters.imputers import indicator
from skylane.convert.export.emitters.registry import emits
from skylane.convert.inspection.schema import Array


@emits("transform", KNNImputer)
def from_neighbours(imputer: Any, features: Features, emission: Emission) -> Features:
    """The mean of the nearest rows that have the value; of all rows, where none has a column in common."""
    if not np.isnan(imputer.missing_values):
        _refuse(f"missing_values={imputer.missing_values!r}", "missing_values=nan", emission)
    if imputer.weights not in ("uniform", "distance"):
        _refuse("weights by a function", "'uniform' or 'distance'", emission)
    if imputer.metric != "nan_euclidean":
        _refuse("a metric of its own", "'nan_euclidean'", emission)
    graph, x = emission.graph, emission.tensor(features, "float64")
    gaps = graph.node("IsNaN", [x], "bool", x.width)
    squares = _squares(imputer._fit_X, imputer._mask_fit_X, x, gaps, emission)
    columns = []
    for place, valid in enumerate(imputer._valid_mask):
        gap = _column(gaps, place, emission)
        if valid:
            filler = _filler(imputer, place, squares, emission)
            columns.append(graph.node("Where", [gap, filler, _column(x, place, emission)], "float64", 1))
        elif imputer.keep_empty_features:  # zeros, whatever the caller sends
            columns.append(graph.node("Mul", [emission.cast(gap, "float64"), _zero(emission)], "float64", 1))
    filled = [Features.of(column) for column in columns]
    if imputer.add_indicator:
        filled.append(indicator(imputer.indicator_, features, emission))
    return Features.joined(filled)


def _refuse(what: str, instead: str, emission: Emission) -> None:
    raise Refused(f"the step {emission.graph.path} has {what}, which has no graph: use {instead}")


def _zero(emission: Emission) -> str:
    return emission.graph.constant(0.0, "float64")


def _column(tensor: Tensor, place: int, emission: Emission) -> Tensor:
    """(rows, 1)"""
    return emission.graph.node("Gather", [tensor, emission.graph.constant([place], "int64")], tensor.dtype, 1, axis=1)


def _squares(points: Array, missing: Array, x: Tensor, gaps: Tensor, emission: Emission) -> Tensor:
    """Mean squared differences to all points, (rows, points); infinity where no column is in common."""
    graph, count = emission.graph, len(points)
    missing = np.asarray(missing, dtype=np.bool_)
    present_points = np.where(missing, np.nan, np.asarray(points, dtype=np.float64))
    middle = np.nan_to_num(present_points).sum(axis=0) / np.maximum((~missing).sum(axis=0), 1)
    y, there = np.where(missing, 0.0, present_points - middle), (~missing).astype(np.float64)
    zero = _zero(emission)

    def node(op: str, *inputs: Tensor | str) -> Tensor:
        return graph.node(op, inputs, "float64", count)

    z = node("Where", gaps, zero, node("Sub", x, graph.constant(middle)))
    present = emission.cast(graph.node("Not", [gaps], "bool", x.width), "float64")
    own = node("MatMul", node("Mul", z, z), graph.constant(there.T))
    both = node("Add", own, node("MatMul", z, graph.constant(-2.0 * y.T)))
    total = node("Max", node("Add", both, node("MatMul", present, graph.constant((y**2).T))), zero)
    common = node("MatMul", present, graph.constant(there.T))
    one = graph.constant(1.0, "float64")
    mean = node("Mul", node("Div", total, node("Max", common, one)), graph.constant(float(points.shape[1]), "float64"))
    none = graph.node("Less", [common, graph.constant(0.5, "float64")], "bool", count)
    return node("Where", none, graph.constant(np.inf, "float64"), mean)


def _filler(imputer: Any, place: int, squares: Tensor, emission: Emission) -> Tensor:
    """The value that fills missing ones of one column, (rows, 1)."""
    graph = emission.graph
    (donors,) = np.nonzero(~np.asarray(imputer._mask_fit_X, dtype=np.bool_)[:, place])
    values = np.asarray(imputer._fit_X, dtype=np.float64)[donors, place]
    near = graph.node("Gather", [squares, graph.constant(donors, "int64")], "float64", len(donors), axis=1)
    nearest = graph.constant([min(imputer.n_neighbors, len(donors))], "int64")
    far, places = graph.nodes("TopK", [near, nearest], 2, axis=1, largest=0)
    distance = Tensor(far, "float64", None)

    def node(op: str, *inputs: Tensor | str, **attributes: Any) -> Tensor:
        return graph.node(op, inputs, "float64", 1, **attributes)

    first = graph.constant([1], "int64")
    is_infinite = graph.node("IsInf", [distance], "bool", None)
    if imputer.weights == "uniform":
        weights = emission.cast(graph.node("Not", [is_infinite], "bool", None), "float64")
    else:
        exact_match = emission.cast(graph.node("Equal", [distance, _zero(emission)], "bool", None), "float64")
        any_match = emission.cast(node("ReduceMax", exact_match, first, keepdims=1), "bool")
        inverse = node("Reciprocal", node("Sqrt", distance))  # zero where the distance is infinite
        weights = node("Where", any_match, exact_match, inverse)
    neighbour_values = node("Gather", graph.constant(values), places, axis=0)
    total = node("ReduceSum", weights, first, keepdims=1)
    mean = node("Div", node("ReduceSum", node("Mul", weights, neighbour_values), first, keepdims=1), total)
    none_near = graph.node("Equal", [total, _zero(emission)], "bool", 1)
    return node("Where", none_near, graph.constant(float(values.mean()), "float64"), mean)
