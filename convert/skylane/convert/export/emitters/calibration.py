"""Calibrated classifiers: a model's scores mapped to probabilities by curves that were fitted afterwards."""

from typing import Any

import numpy as np
from sklearn.calibration import CalibratedClassifierCV
from sklearn.isotonic import IsotonicRegression

from skylane.convert.errors import Refused
from skylane.convert.export.emitters.affine import two_sided
from skylane.convert.export.emitters.bayes import softmax
from skylane.convert.export.emitters.emission import Emission
from skylane.convert.export.emitters.ensembles import averaged, normalized
from skylane.convert.export.emitters.features import Features
from skylane.convert.export.emitters.registry import Declined, emits


@emits("predict_proba", CalibratedClassifierCV)
def calibrated(model: Any, features: Features, emission: Emission) -> Features:
    """The mean over the folds, each of which has its own model."""
    return averaged([_of_fold(fold, features, emission) for fold in model.calibrated_classifiers_], emission)


def _of_fold(fold: Any, features: Features, emission: Emission) -> Features:
    member, classes = fold.estimator, len(fold.classes)
    if len(member.classes_) != classes:
        raise Refused(f"the step {emission.graph.path} has a fold that lacks a class: give it more rows of each")
    scores, are_probabilities = _scores(member, features, emission)
    if fold.method == "temperature":
        return _temperature_scaled(fold.calibrators[0].beta_, scores, are_probabilities, emission)
    if fold.method == "sigmoid":
        slopes = np.array([one.a_ for one in fold.calibrators])
        shifts = np.array([one.b_ for one in fold.calibrators])
        scaled = scores.then("Mul", -slopes).then("Sub", shifts)
        if classes == 2:
            x = emission.tensor(two_sided(emission.settled(scaled) if are_probabilities else scaled))
            return Features.of(emission.graph.node("Sigmoid", [x], x.dtype, 2))
        # In float64: ONNX Runtime's float32 sigmoid is 0 where 1e-8 is right, and the sum is a divisor.
        x = emission.tensor(scaled, "float64")
        each = Features.of(emission.graph.node("Sigmoid", [x], "float64", x.width))
        return normalized(each, emission, otherwise=1.0 / classes)
    curves = [_isotonic(curve, emission.settled(scores).take([place]), emission)
              for place, curve in enumerate(fold.calibrators)]  # fmt: skip
    if classes == 2:
        return curves[0].times(np.array([[-1.0, 1.0]]), np.array([1.0, 0.0]))
    return normalized(Features.joined([emission.settled(curve) for curve in curves]), emission, otherwise=1.0 / classes)


def _temperature_scaled(factor: float, scores: Features, are_probabilities: bool, emission: Emission) -> Features:
    """Softmax of all scores times one factor; of probabilities, their logarithms are the scores."""
    if are_probabilities:
        graph = emission.graph
        if scores.width == 1:
            scores = scores.times(np.array([[-1.0, 1.0]]), np.array([1.0, 0.0]))
        shares = emission.tensor(scores, "float64")
        # scikit-learn adds the same number before it takes logarithms.
        above = graph.node("Add", [shares, graph.constant(1e-12, "float64")], "float64", shares.width)
        return softmax(Features.of(graph.node("Log", [above], "float64", shares.width)).then("Mul", factor), emission)
    x = emission.tensor(two_sided(scores).then("Mul", factor))
    return softmax(Features.of(x), emission)


def _scores(member: Any, features: Features, emission: Emission) -> tuple[Features, bool]:
    """What the calibration curves take as input, and whether these are probabilities."""
    if hasattr(member, "decision_function"):
        return emission.emit(member, "decision_function", features), False
    shares = emission.emit(member, "predict_proba", features)
    return (shares.take([1]) if shares.width == 2 else shares), True


def _isotonic(curve: IsotonicRegression, score: Features, emission: Emission) -> Features:
    """Piecewise linear: for each pair of neighbouring thresholds, the share of the way between them times the rise."""
    if curve.out_of_bounds != "clip":
        raise Declined(f"out_of_bounds={curve.out_of_bounds!r}")
    x, y = np.asarray(curve.X_thresholds_, dtype=np.float64), np.asarray(curve.y_thresholds_, dtype=np.float64)
    if len(x) == 1:
        return Features.of(emission.tensor(score.times(np.zeros((1, 1)), y)))
    graph, column = emission.graph, emission.tensor(score, "float64")
    width = len(x) - 1
    distance = graph.node("Sub", [column, graph.constant(x[:-1])], "float64", width)
    share = graph.node("Div", [distance, graph.constant(np.diff(x))], "float64", width)
    bounds = [graph.constant(bound, "float64") for bound in (0.0, 1.0)]
    bounded = graph.node("Clip", [share, *bounds], "float64", width)
    rises, start = graph.constant(np.diff(y)[:, None]), graph.constant(y[:1])
    return Features.of(graph.node("Gemm", [bounded, rises, start], "float64", 1))
