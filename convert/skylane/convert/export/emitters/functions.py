"""NumPy functions that ONNX operators can compute, and transformers that change each number on its own."""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from scipy import special
from sklearn.preprocessing import Binarizer, FunctionTransformer, Normalizer, PowerTransformer

from skylane.convert.errors import Refused
from skylane.convert.export.emitters.emission import Emission
from skylane.convert.export.emitters.features import Features
from skylane.convert.export.emitters.graph import Tensor
from skylane.convert.export.emitters.registry import emits

OPERATORS: Final[Mapping[Any, str]] = {
    np.log: "Log", np.exp: "Exp", np.sqrt: "Sqrt", np.abs: "Abs", np.negative: "Neg", np.reciprocal: "Reciprocal",
    np.sin: "Sin", np.cos: "Cos", np.tanh: "Tanh", np.sign: "Sign", np.floor: "Floor", np.ceil: "Ceil",
    np.rint: "Round", special.expit: "Sigmoid",
}  # fmt: skip
"""NumPy function → the ONNX operator that computes it in float32 and in float64."""

COMPOSED: Final = (np.log1p, np.expm1, np.log2, np.log10, np.square, np.nan_to_num)

SUPPORTED: Final = ", ".join(sorted(function.__name__ for function in (*OPERATORS, *COMPOSED)))


@emits("transform", FunctionTransformer)
def function(transformer: Any, features: Features, emission: Emission) -> Features:
    """The function applied to every number; the input unchanged if there is no function."""
    if transformer.func is None:
        return features
    if transformer.kw_args:
        raise Refused(f"the step {emission.graph.path} gives its function arguments: {transformer.kw_args}")
    return apply(transformer.func, features, emission)


def apply(func: Any, features: Features, emission: Emission) -> Features:
    """A NumPy function on every number, computed in the type of the input. Raises Refused."""
    try:
        supported = func in OPERATORS or func in COMPOSED
    except TypeError:
        supported = False
    if not supported:
        raise Refused(
            f"the step {emission.graph.path} calls {getattr(func, '__name__', func)!r}, which has no graph: do it "
            f"before the pipeline, or use one of numpy's {SUPPORTED}"
        )
    return Features.of(_applied(func, emission.exact(features), emission))


def _applied(func: Any, x: Tensor, emission: Emission) -> Tensor:
    graph = emission.graph

    def node(op: str, *inputs: Tensor | str) -> Tensor:
        return graph.node(op, inputs, x.dtype, x.width)

    def number(value: float) -> str:
        return graph.constant(value, x.dtype)

    if func in OPERATORS:
        return node(OPERATORS[func], x)
    if func is np.log1p:
        return node("Log", node("Add", x, number(1.0)))
    if func is np.expm1:
        return node("Sub", node("Exp", x), number(1.0))
    if func in (np.log2, np.log10):
        return node("Div", node("Log", x), number(np.log(2.0 if func is np.log2 else 10.0)))
    if func is np.square:
        return node("Mul", x, x)
    gaps = graph.node("IsNaN", [x], "bool", x.width)
    limits = np.finfo(np.dtype(x.dtype))
    return node("Clip", node("Where", gaps, number(0.0), x), number(float(limits.min)), number(float(limits.max)))


@emits("transform", Binarizer)
def binarizer(step: Any, features: Features, emission: Emission) -> Features:
    """1.0 above the threshold."""
    x = emission.exact(features)
    above = emission.graph.node("Greater", [x, threshold(step.threshold, x, emission)], "bool", x.width)
    return Features.of(emission.cast(above))


def threshold(value: float, x: Tensor, emission: Emission) -> str:
    """The value rounded down to the tensor's type: the same numbers are above it as above the value itself."""
    rounded = np.asarray(value, dtype=x.dtype)
    if float(rounded) > value:
        rounded = np.nextafter(rounded, np.asarray(-np.inf, dtype=x.dtype))
    return emission.graph.constant(rounded)


@emits("transform", Normalizer)
def normalizer(step: Any, features: Features, emission: Emission) -> Features:
    """Each row divided by its norm; rows of zeros stay as they are."""
    return normalized(features, step.norm, emission)


def normalized(features: Features, norm: str, emission: Emission) -> Features:
    """Each row divided by its norm."""
    graph, x = emission.graph, emission.exact(features)
    op = {"l1": "ReduceL1", "l2": "ReduceL2", "max": "ReduceMax"}[norm]
    measured = graph.node("Abs", [x], x.dtype, x.width) if norm == "max" else x
    length = graph.node(op, [measured, graph.constant([1], "int64")], x.dtype, 1, keepdims=1)
    is_zero = graph.node("Equal", [length, graph.constant(0.0, x.dtype)], "bool", 1)
    divisor = graph.node("Where", [is_zero, graph.constant(1.0, x.dtype), length], x.dtype, 1)
    return Features.of(graph.node("Div", [x, divisor], x.dtype, x.width))


@emits("transform", PowerTransformer)
def power(step: Any, features: Features, emission: Emission) -> Features:
    """The power transform with each column's fitted λ, standardized afterwards if the step says so."""
    x, lambdas = emission.exact(features), np.asarray(step.lambdas_, dtype=np.float64)
    powered = _box_cox(x, lambdas, emission) if step.method == "box-cox" else _yeo_johnson(x, lambdas, emission)
    result = Features.of(powered)
    if step.standardize:
        result = result.then("Sub", step._scaler.mean_).then("Div", step._scaler.scale_)
    return result


def _box_cox(x: Tensor, lambdas: Any, emission: Emission) -> Tensor:
    """(x^λ - 1) / λ, and log x where λ is zero."""
    graph = emission.graph
    flat = np.abs(lambdas) < np.finfo(np.float64).eps
    divisor = np.where(flat, 1.0, lambdas)
    raised = graph.node("Pow", [x, graph.constant(divisor, x.dtype)], x.dtype, x.width)
    minus_one = graph.node("Sub", [raised, graph.constant(1.0, x.dtype)], x.dtype, x.width)
    result = graph.node("Div", [minus_one, graph.constant(divisor, x.dtype)], x.dtype, x.width)
    if not flat.any():
        return result
    log = graph.node("Log", [x], x.dtype, x.width)
    return graph.node("Where", [graph.constant(flat), log, result], x.dtype, x.width)


def _yeo_johnson(x: Tensor, lambdas: Any, emission: Emission) -> Tensor:
    """Box-Cox of x + 1 where x ≥ 0; below, the negative of Box-Cox of 1 - x with 2 - λ."""
    graph = emission.graph
    zero, one = graph.constant(0.0, x.dtype), graph.constant(1.0, x.dtype)

    def node(op: str, *inputs: Tensor | str) -> Tensor:
        return graph.node(op, inputs, x.dtype, x.width)

    above = _box_cox(node("Add", node("Max", x, zero), one), lambdas, emission)
    below = _box_cox(node("Sub", one, node("Min", x, zero)), 2.0 - lambdas, emission)
    positive = graph.node("GreaterOrEqual", [x, zero], "bool", x.width)
    return graph.node("Where", [positive, above, node("Neg", below)], x.dtype, x.width)
