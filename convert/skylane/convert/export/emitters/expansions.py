"""Feature expansion and selection: polynomials, bins, quantiles, and choosing columns."""

from typing import Any

import numpy as np
from sklearn.feature_selection import (
    RFE,
    RFECV,
    GenericUnivariateSelect,
    SelectFdr,
    SelectFpr,
    SelectFromModel,
    SelectFwe,
    SelectKBest,
    SelectPercentile,
    SequentialFeatureSelector,
    VarianceThreshold,
)
from sklearn.preprocessing import KBinsDiscretizer, PolynomialFeatures, QuantileTransformer, SplineTransformer

from skylane.convert.errors import Refused
from skylane.convert.export.emitters.emission import Emission
from skylane.convert.export.emitters.features import Features
from skylane.convert.export.emitters.graph import Tensor
from skylane.convert.export.emitters.registry import emits


@emits("transform", SelectKBest, SelectPercentile, SelectFpr, SelectFdr, SelectFwe, GenericUnivariateSelect,
       SelectFromModel, RFE, RFECV, SequentialFeatureSelector, VarianceThreshold)  # fmt: skip
def chosen(selector: Any, features: Features, emission: Emission) -> Features:
    """The selected columns."""
    places = np.flatnonzero(selector.get_support()).tolist()
    if not places:
        raise Refused(f"the step {emission.graph.path} chose none of the columns in training: let it choose some")
    return features.take(places)


@emits("transform", PolynomialFeatures)
def products(step: Any, features: Features, emission: Emission) -> Features:
    """Each product has as many factors as the degree; missing factors are a column of ones."""
    x, graph = emission.exact(features), emission.graph
    assert x.width is not None
    factors = [np.repeat(np.arange(x.width), powers).tolist() for powers in step.powers_]
    degree = max(1, *map(len, factors))
    if any(len(columns) < degree for columns in factors):
        pads, one = graph.constant([0, 0, 0, 1], "int64"), graph.constant(1.0, x.dtype)
        x = graph.node("Pad", [x, pads, one], x.dtype, x.width + 1)
        factors = [columns + [x.width - 1] * (degree - len(columns)) for columns in factors]  # type: ignore[operator]
    columns = [
        graph.node("Gather", [x, graph.constant(list(places), "int64")], x.dtype, len(factors), axis=1)
        for places in zip(*factors, strict=True)
    ]
    product: Tensor = columns[0]
    for column in columns[1:]:
        product = graph.node("Mul", [product, column], x.dtype, len(factors))
    return Features.of(product)


@emits("transform", KBinsDiscretizer)
def bins(step: Any, features: Features, emission: Emission) -> Features:
    """The bin of the last inner edge that a number reaches: a linear function of the comparisons with all edges."""
    x, graph = emission.exact(features), emission.graph
    inner = [np.asarray(edges, dtype=np.float64)[1:-1] for edges in step.bin_edges_]
    places = [place for place, edges in enumerate(inner) for _ in edges]
    ordinal = step.encode == "ordinal"
    width = len(inner) if ordinal else sum(len(edges) + 1 for edges in inner)
    matrix, offset, row, column = np.zeros((len(places), width)), np.zeros(width), 0, 0
    for edges in inner:
        if ordinal:
            matrix[row : row + len(edges), column] = 1.0
        else:
            offset[column] = 1.0
            for step_up in range(len(edges)):
                matrix[row + step_up, column + step_up] = -1.0
                matrix[row + step_up, column + step_up + 1] = 1.0
        row, column = row + len(edges), column + (1 if ordinal else len(edges) + 1)
    spread = graph.node("Gather", [x, graph.constant(places, "int64")], x.dtype, len(places), axis=1)
    below = np.array([_just_below(edge, x.dtype) for edges in inner for edge in edges])
    reached = graph.node("Greater", [spread, graph.constant(below, x.dtype)], "bool", len(places))
    return Features.of(emission.cast(reached)).times(matrix, offset)


@emits("transform", QuantileTransformer)
def quantiles(step: Any, features: Features, emission: Emission) -> Features:
    """The sum of the share of each interval between quantiles that lies below the number; intervals may be empty."""
    if step.output_distribution != "uniform":
        raise Refused(
            f"the step {emission.graph.path} has output_distribution={step.output_distribution!r}, which needs the "
            f"inverse of the normal distribution, and graphs have none: use 'uniform'"
        )
    graph, x = emission.graph, emission.tensor(features, "float64")
    edges, rises = step.quantiles_.T, np.diff(step.references_)
    start, width = edges[:, :-1], np.diff(edges, axis=1)

    def node(op: str, *inputs: Tensor | str, **attributes: Any) -> Tensor:
        return graph.node(op, inputs, "float64", None, **attributes)

    column = node("Unsqueeze", x, graph.constant([2], "int64"))
    past = node("Sub", column, graph.constant(start))
    share = node("Div", past, graph.constant(np.where(width > 0, width, 1.0)))
    share = node("Clip", share, graph.constant(0.0, "float64"), graph.constant(1.0, "float64"))
    if (width == 0).any():
        reached = node(
            "Cast", graph.node("GreaterOrEqual", [past, graph.constant(0.0, "float64")], "bool", None), to=11
        )
        passed = node("Cast", graph.node("Greater", [past, graph.constant(0.0, "float64")], "bool", None), to=11)
        weight = np.where(start == edges[:, -1:], 1.0, np.where(start == edges[:, :1], 0.0, 0.5))
        both = node(
            "Add", node("Mul", reached, graph.constant(weight)), node("Mul", passed, graph.constant(1 - weight))
        )
        share = node("Where", graph.constant(width == 0), both, share)
    total = node("ReduceSum", node("Mul", share, graph.constant(rises)), graph.constant([2], "int64"), keepdims=0)
    whole = Tensor(total.name, "float64", x.width)
    if not np.isnan(edges).any():
        return Features.of(whole)
    raise Refused(f"the step {emission.graph.path} met columns without numbers in training: leave them out")


@emits("transform", SplineTransformer)
def splines(_step: Any, _features: Features, emission: Emission) -> Features:
    """Always refused: splines have no implementation in ONNX operators here."""
    raise Refused(
        f"the step {emission.graph.path} makes splines, which have no graph: use PolynomialFeatures or KBinsDiscretizer"
    )


def _just_below(edge: float, dtype: str) -> float:
    """The largest number of this type below the edge."""
    rounded = np.asarray(edge, dtype=dtype)
    return float(rounded if float(rounded) < edge else np.nextafter(rounded, np.asarray(-np.inf, dtype=dtype)))
