"""Calibrated classifiers: scores of a model turned into probabilities by curves learnt afterwards."""

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
    """The mean over folds."""
    return averaged(
        [_of_fold(fold, features, emission) for fold in model.calibrated_classifiers_], emission
    )  # each with a model of its own


def _of_fold(fold: Any, features: Features, emission: Emission) -> Features:
    member, classes = fold.estimator, len(fold.classes)
    if len(member.classes_) != classes:
        raise Refused(f"the step {emission.graph.path} has a fold that lacks a class: give it more rows of each")
    scores, probable = _scores(member, features, emission)
    if fold.method == "temperature":
        return _cooled(fold.calibrators[0].beta_, scores, probable, emission)
    if fold.method == "sigmoid":
        slopes = np.array([one.a_ for one in fold.calibrators])
        shifts = np.array([one.b_ for one in fold.calibrators])
        curved = scores.then("Mul", -slopes).then("Sub", shifts)
        if classes == 2:
            x = emission.tensor(two_sided(emission.settled(curved) if probable else curved))
            return Features.of(emission.graph.node("Sigmoid", [x], x.dtype, 2))
        # In doubles, for ONNX Runtime's sigmoid of single numbers is 0 where 1e-8 is right, and sums are divided by.
        x = emission.tensor(curved, "float64")
        each = Features.of(emission.graph.node("Sigmoid", [x], "float64", x.width))
        return normalized(each, emission, otherwise=1.0 / classes)
    curves = [_interpolated(curve, emission.settled(scores).take([place]), emission)
              for place, curve in enumerate(fold.calibrators)]  # fmt: skip
    if classes == 2:
        return curves[0].times(np.array([[-1.0, 1.0]]), np.array([1.0, 0.0]))
    return normalized(Features.joined([emission.settled(curve) for curve in curves]), emission, otherwise=1.0 / classes)


def _cooled(factor: float, scores: Features, probable: bool, emission: Emission) -> Features:
    """Softmax of all scores times one factor; probabilities count as their logarithms."""
    if probable:
        graph = emission.graph
        if scores.width == 1:
            scores = scores.times(np.array([[-1.0, 1.0]]), np.array([1.0, 0.0]))
        shares = emission.tensor(scores, "float64")
        above = graph.node("Add", [shares, graph.constant(1e-12, "float64")], "float64", shares.width)  # as it does
        return softmax(Features.of(graph.node("Log", [above], "float64", shares.width)).then("Mul", factor), emission)
    x = emission.tensor(two_sided(scores).then("Mul", factor))
    return softmax(Features.of(x), emission)


def _scores(member: Any, features: Features, emission: Emission) -> tuple[Features, bool]:
    """What the curves are laid over, and whether it is probabilities."""
    if hasattr(member, "decision_function"):
        return emission.ask(member, "decision_function", features), False
    shares = emission.ask(member, "predict_proba", features)
    return (shares.take([1]) if shares.width == 2 else shares), True


def _interpolated(curve: IsotonicRegression, score: Features, emission: Emission) -> Features:
    """Between neighbouring thresholds, how much of the way is gone, times how far the curve rises there."""
    if curve.out_of_bounds != "clip":
        raise Declined(f"out_of_bounds={curve.out_of_bounds!r}")
    x, y = np.asarray(curve.X_thresholds_, dtype=np.float64), np.asarray(curve.y_thresholds_, dtype=np.float64)
    if len(x) == 1:
        return Features.of(emission.tensor(score.times(np.zeros((1, 1)), y)))
    graph, column = emission.graph, emission.tensor(score, "float64")
    width = len(x) - 1
    gone = graph.node("Sub", [column, graph.constant(x[:-1])], "float64", width)
    share = graph.node("Div", [gone, graph.constant(np.diff(x))], "float64", width)
    bounds = [graph.constant(bound, "float64") for bound in (0.0, 1.0)]
    bounded = graph.node("Clip", [share, *bounds], "float64", width)
    rises, start = graph.constant(np.diff(y)[:, None]), graph.constant(y[:1])
    return Features.of(graph.node("Gemm", [bounded, rises, start], "float64", 1))
