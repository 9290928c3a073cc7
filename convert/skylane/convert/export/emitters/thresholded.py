"""Binary classifiers with a chosen or tuned decision threshold."""

from typing import Any

import numpy as np
from sklearn.model_selection import FixedThresholdClassifier, TunedThresholdClassifierCV

from skylane.convert.export.emitters.emission import Emission
from skylane.convert.export.emitters.features import Features
from skylane.convert.export.emitters.registry import Emitter, Method, emits


def _by_member(method: Method) -> Emitter:
    def emit(model: Any, features: Features, emission: Emission) -> Features:
        return emission.emit(model.estimator_, method, features)

    return emit


for _method in ("predict_proba", "decision_function"):
    emits(_method, FixedThresholdClassifier, TunedThresholdClassifierCV)(_by_member(_method))


@emits("predict", FixedThresholdClassifier, TunedThresholdClassifierCV)
def decided(model: Any, features: Features, emission: Emission) -> Features:
    """The positive class where the score reaches the threshold, the other below."""
    member, positive = model.estimator_, _positive(model)
    are_probabilities = model.response_method != "decision_function" and hasattr(member, "predict_proba")
    if are_probabilities:
        scores = emission.emit(member, "predict_proba", features).take([positive])
    else:
        scores = emission.emit(member, "decision_function", features)
        scores = scores if positive else scores.then("Mul", -1.0)
    graph, x = emission.graph, emission.vector(scores)
    reached = graph.node(
        "GreaterOrEqual", [x, graph.constant(_threshold(model, are_probabilities), x.dtype)], "bool", None
    )
    places = graph.constant(np.array([1 - positive, positive]))
    return Features.of(graph.node("Gather", [places, emission.cast(reached, "int64")], "int64", None, axis=0))


def _threshold(model: Any, are_probabilities: bool) -> float:
    if isinstance(model, TunedThresholdClassifierCV):
        return float(model.best_threshold_)
    return (0.5 if are_probabilities else 0.0) if model.threshold == "auto" else float(model.threshold)


def _positive(model: Any) -> int:
    """Index of the positive class: the second one, unless the model names another."""
    tuned = isinstance(model, TunedThresholdClassifierCV)
    label = model._curve_scorer._get_pos_label() if tuned else model.pos_label
    return 1 if label is None else int(np.flatnonzero(np.asarray(model.classes_) == label)[0])
