"""Multi-layer perceptrons: one matrix product for each layer, with preceding steps folded into the first."""

from typing import Any, Final

from sklearn.neural_network import MLPClassifier, MLPRegressor

from skylane.convert.export.emitters.affine import two_sided
from skylane.convert.export.emitters.emission import Emission
from skylane.convert.export.emitters.features import Features
from skylane.convert.export.emitters.registry import emits

ACTIVATIONS: Final = {"relu": "Relu", "tanh": "Tanh", "logistic": "Sigmoid"}


def _last_layer(network: Any, features: Features, emission: Emission) -> Features:
    """The last layer before its activation; its product is deferred."""
    layers = list(zip(network.coefs_, network.intercepts_, strict=True))
    for weights, bias in layers[:-1]:
        features = features.times(weights, bias)
        if network.activation in ACTIVATIONS:
            x = emission.tensor(features)
            features = Features.of(emission.graph.node(ACTIVATIONS[network.activation], [x], x.dtype, x.width))
    return features.times(*layers[-1])


@emits("predict", MLPRegressor)
def regression(network: Any, features: Features, emission: Emission) -> Features:
    """The last layer with its output activation, which is none unless the loss is Poisson's."""
    last = _last_layer(network, features, emission)
    if network.out_activation_ == "identity":
        return last
    x = emission.tensor(last)
    op = {"exp": "Exp", **ACTIVATIONS}[network.out_activation_]
    return Features.of(emission.graph.node(op, [x], x.dtype, x.width))


@emits("decision_function", MLPClassifier)
def scores(network: Any, features: Features, emission: Emission) -> Features:
    """The last layer before its activation."""
    return _last_layer(network, features, emission)


@emits("predict_proba", MLPClassifier)
def probabilities(network: Any, features: Features, emission: Emission) -> Features:
    """Sigmoid of the scores for two classes, softmax for more."""
    last = two_sided(emission.emit(network, "decision_function", features))
    x = emission.tensor(last)
    if network.out_activation_ == "logistic":
        return Features.of(emission.graph.node("Sigmoid", [x], x.dtype, x.width))
    return Features.of(emission.graph.node("Softmax", [x], x.dtype, x.width, axis=1))


@emits("predict", MLPClassifier)
def decided(network: Any, features: Features, emission: Emission) -> Features:
    """The class with the highest score."""
    return emission.likeliest(two_sided(emission.emit(network, "decision_function", features)))
