"""Support vector machines and Gaussian processes: one product with all points, then the kernel function of each."""

from typing import Any

import numpy as np
from sklearn.gaussian_process import GaussianProcessClassifier, GaussianProcessRegressor, kernels
from sklearn.svm import SVC, SVR, NuSVC, NuSVR, OneClassSVM

from skylane.convert.errors import Refused
from skylane.convert.export.emitters.affine import two_sided
from skylane.convert.export.emitters.emission import Emission
from skylane.convert.export.emitters.features import Features
from skylane.convert.export.emitters.graph import Tensor
from skylane.convert.export.emitters.registry import Declined, emits
from skylane.convert.inspection.schema import Array


class Kernel:
    """Nodes that compute a kernel between rows and fixed points, (points, features)."""

    def __init__(self, features: Features, points: Array, emission: Emission) -> None:
        self.features, self.points, self.emission = features, np.asarray(points, dtype=np.float64), emission

    def node(self, op: str, *inputs: Tensor | str, **attributes: Any) -> Tensor:
        """A node with one number for each row and point."""
        return self.emission.graph.node(op, inputs, self.emission.precision, len(self.points), **attributes)

    def number(self, value: float) -> str:
        """A constant."""
        return self.emission.graph.constant(value, self.emission.precision)

    def products(self, scale: float, offset: float) -> Features:
        """scale · x·s + offset."""
        return self.features.times(scale * self.points.T, offset)

    def minus_squares(self, length: Array | float, scale: float) -> Tensor:
        """-scale · |(x - s) / length|², never above zero except by rounding."""
        middle, by = self.points.mean(axis=0), np.sqrt(scale) / np.asarray(length, dtype=np.float64)
        points, graph = (self.points - middle) * by, self.emission.graph
        z = self.emission.tensor(self.features.then("Sub", middle).then("Mul", by).folded())
        z = self.emission.cast(z)
        own = graph.node("ReduceSumSquare", [z, graph.constant([1], "int64")], z.dtype, 1, keepdims=1)
        return self.node(
            "Sub", self.emission.tensor(Features.of(z).times(2.0 * points.T, -(points**2).sum(axis=1))), own
        )

    def distances(self, length: Array | float, scale: float) -> Tensor:
        """scale · |(x - s) / length|."""
        squares = self.node("Neg", self.minus_squares(length, scale**2))
        return self.node("Sqrt", self.node("Max", squares, self.number(0.0)))

    def named(self, name: Any, gamma: float, coef0: float, degree: float) -> Features:
        """A kernel by its name, (rows, points). Raises Refused for an unsupported one."""
        if name == "linear":
            return self.products(1.0, 0.0)
        if name == "rbf":
            return Features.of(self.node("Exp", self.minus_squares(1.0, gamma)))
        if name not in ("sigmoid", "poly", "polynomial"):
            own = f"the kernel {name!r}" if isinstance(name, str) and name != "precomputed" else "a kernel of its own"
            raise Refused(
                f"the step {self.emission.graph.path} has {own}, which has no graph: use linear, poly, rbf or sigmoid"
            )
        inner = self.emission.tensor(self.products(gamma, coef0))
        if name == "sigmoid":
            return Features.of(self.node("Tanh", inner))
        return Features.of(self.node("Pow", inner, self.number(float(degree))))


def _support(model: Any, features: Features, emission: Emission) -> Features:
    """The kernel of each row with each support vector."""
    kernel = Kernel(features, model.support_vectors_, emission)
    return kernel.named(model.kernel, float(model._gamma), model.coef0, model.degree)


@emits("predict", SVR, NuSVR)
def regression(model: Any, features: Features, emission: Emission) -> Features:
    """Kernels times weights."""
    return _support(model, features, emission).times(np.asarray(model._dual_coef_).T, model._intercept_)


@emits("decision_function", OneClassSVM)
def novelty(model: Any, features: Features, emission: Emission) -> Features:
    """Kernels times weights."""
    return _support(model, features, emission).times(np.asarray(model._dual_coef_).T, model._intercept_)


@emits("predict", OneClassSVM)
def novel(model: Any, features: Features, emission: Emission) -> Features:
    """1 where the score is above zero, else -1."""
    graph = emission.graph
    above = emission.likeliest(emission.emit(model, "decision_function", features))
    signs = graph.constant([-1, 1], "int64")
    return Features.of(graph.node("Gather", [signs, emission.vector(above, "int64")], "int64", None, axis=0))


def _pairs(model: Any, features: Features, emission: Emission) -> Features:
    """The score of each pair of classes, above zero for the first of the two; the pairs in scikit-learn's order."""
    classes, ends = len(model.classes_), np.cumsum(model._n_support)
    starts, weights = ends - model._n_support, np.asarray(model._dual_coef_)
    columns = []
    for first in range(classes):
        for second in range(first + 1, classes):
            column = np.zeros(weights.shape[1])
            column[starts[first] : ends[first]] = weights[second - 1, starts[first] : ends[first]]
            column[starts[second] : ends[second]] = weights[first, starts[second] : ends[second]]
            columns.append(column)
    return _support(model, features, emission).times(np.stack(columns, axis=1), model._intercept_)


def votes(pairs: Tensor, classes: int, emission: Emission) -> Features:
    """How many pairs each class wins; deferred."""
    graph = emission.graph
    second_wins = graph.node("Less", [pairs, graph.constant(0.0, pairs.dtype)], "bool", pairs.width)
    first, second = _members(classes)
    return Features.of(emission.cast(second_wins)).times(second - first, first.sum(axis=0))


def _members(classes: int) -> tuple[Array, Array]:
    """For each pair of classes, which class is its first and which its second: (pairs, classes) each."""
    pairs = [(i, j) for i in range(classes) for j in range(i + 1, classes)]
    eye = np.eye(classes)
    return eye[[i for i, _ in pairs]], eye[[j for _, j in pairs]]


@emits("decision_function", SVC, NuSVC)
def scores(model: Any, features: Features, emission: Emission) -> Features:
    """For two classes their score; for more, all pairs' votes with a tie-break, or for "ovo" the pairs' scores."""
    pairs, classes = _pairs(model, features, emission), len(model.classes_)
    if classes == 2:
        return pairs.then("Mul", -1.0)
    if model.decision_function_shape == "ovo":
        return pairs
    x = emission.tensor(pairs)
    return with_confidence(votes(x, classes, emission), x, classes, emission)


def with_confidence(won: Features, pairs: Tensor, classes: int, emission: Emission) -> Features:
    """Votes plus the sum of scores, which is mapped to minus_squares than a third of a vote in either direction."""
    graph, dtype = emission.graph, emission.precision
    first, second = _members(classes)
    total = emission.tensor(Features.of(pairs).times(first - second))
    size = graph.node("Abs", [total], dtype, classes)
    bounded = graph.node("Add", [size, graph.constant(1.0, dtype)], dtype, classes)
    share = graph.node("Div", [total, bounded], dtype, classes)
    third = graph.node("Mul", [share, graph.constant(1.0 / 3.0, dtype)], dtype, classes)
    return Features.of(graph.node("Add", [emission.tensor(won), third], dtype, classes))


@emits("predict", SVC, NuSVC)
def decided(model: Any, features: Features, emission: Emission) -> Features:
    """The class with the most votes, the first of equals; with break_ties, the one with the highest score."""
    classes = len(model.classes_)
    if classes == 2 or model.break_ties:
        return emission.likeliest(two_sided(emission.emit(model, "decision_function", features)))
    return emission.likeliest(votes(emission.tensor(_pairs(model, features, emission)), classes, emission))


@emits("predict", GaussianProcessRegressor)
def process(model: Any, features: Features, emission: Emission) -> Features:
    """The kernel with all training points, times weights."""
    if not hasattr(model, "X_train_"):
        raise Declined("a process without training rows")
    kernel = _evaluated(model.kernel_, Kernel(features, model.X_train_, emission))
    alpha = np.asarray(model.alpha_).reshape(len(model.X_train_), -1)
    return kernel.times(alpha * model._y_train_std, np.ravel(model._y_train_mean))


@emits("predict_proba", GaussianProcessClassifier)
def process_of_classes(_model: Any, _features: Features, emission: Emission) -> Features:
    """Always refused: skl2onnx's graph of it needs an operator that ONNX Runtime lacks."""
    raise Refused(
        f"the step {emission.graph.path} is a Gaussian process of classes, which has no graph: use LogisticRegression "
        f"behind Nystroem, or SVC with probabilities"
    )


def _evaluated(kernel: Any, of: Kernel) -> Features:
    """A kernel of scikit-learn between rows and points; white noise contributes nothing."""
    match kernel:
        case kernels.Sum():
            for constant, other in ((kernel.k1, kernel.k2), (kernel.k2, kernel.k1)):
                if isinstance(constant, kernels.WhiteKernel | kernels.ConstantKernel):
                    return _evaluated(other, of).then("Add", getattr(constant, "constant_value", 0.0))
            both = [of.emission.tensor(_evaluated(one, of)) for one in (kernel.k1, kernel.k2)]
            return Features.of(of.node("Add", *both))
        case kernels.Product():
            for constant, other in ((kernel.k1, kernel.k2), (kernel.k2, kernel.k1)):
                if isinstance(constant, kernels.ConstantKernel):
                    return _evaluated(other, of).then("Mul", constant.constant_value)
            return Features.of(
                of.node("Mul", *(of.emission.tensor(_evaluated(one, of)) for one in (kernel.k1, kernel.k2)))
            )
        case kernels.Exponentiation():
            inner = of.emission.tensor(_evaluated(kernel.kernel, of))
            return Features.of(of.node("Pow", inner, of.number(kernel.exponent)))
        case kernels.WhiteKernel() | kernels.ConstantKernel():
            value = getattr(kernel, "constant_value", 0.0)
            constant_kernel = of.features.times(np.zeros((of.features.width, len(of.points))), value)
            return Features.of(of.emission.tensor(constant_kernel))
        case kernels.DotProduct():
            return of.products(1.0, kernel.sigma_0**2)
        case kernels.Matern():  # before RBF, its base class
            return Features.of(_matern(kernel, of))
        case kernels.RBF():
            return Features.of(of.node("Exp", of.minus_squares(kernel.length_scale, 0.5)))
        case kernels.RationalQuadratic():
            minus_squares = of.minus_squares(kernel.length_scale, 0.5 / kernel.alpha)
            return Features.of(of.node("Pow", of.node("Sub", of.number(1.0), minus_squares), of.number(-kernel.alpha)))
        case kernels.ExpSineSquared():
            sine = of.node("Sin", of.distances(1.0, np.pi / kernel.periodicity))
            squared = of.node("Mul", of.node("Mul", sine, sine), of.number(-2.0 / kernel.length_scale**2))
            return Features.of(of.node("Exp", squared))
    raise Refused(
        f"the step {of.emission.graph.path} has the kernel {type(kernel).__name__}, which has no graph: use RBF, "
        f"Matern, RationalQuadratic, ExpSineSquared or DotProduct, their sums and products"
    )


def _matern(kernel: Any, of: Kernel) -> Tensor:
    if kernel.nu == np.inf:
        return of.node("Exp", of.minus_squares(kernel.length_scale, 0.5))
    if kernel.nu not in (0.5, 1.5, 2.5):
        raise Refused(f"the step {of.emission.graph.path} has Matern(nu={kernel.nu}): use 0.5, 1.5, 2.5 or inf")
    scaled_distance = of.distances(kernel.length_scale, np.sqrt(2.0 * kernel.nu))
    decay = of.node("Exp", of.node("Neg", scaled_distance))
    if kernel.nu == 0.5:
        return decay
    polynomial = of.node("Add", scaled_distance, of.number(1.0))
    if kernel.nu == 2.5:
        squared = of.node("Mul", scaled_distance, scaled_distance)
        polynomial = of.node("Add", polynomial, of.node("Mul", squared, of.number(1.0 / 3.0)))
    return of.node("Mul", polynomial, decay)
