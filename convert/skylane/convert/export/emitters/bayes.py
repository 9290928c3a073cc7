"""Naive Bayes and quadratic discriminants: log-likelihoods as matrix products; in float64, as squares lose digits."""

from typing import Any

import numpy as np
from sklearn.discriminant_analysis import QuadraticDiscriminantAnalysis
from sklearn.naive_bayes import BernoulliNB, CategoricalNB, ComplementNB, GaussianNB, MultinomialNB

from skylane.convert.export.emitters.emission import Emission
from skylane.convert.export.emitters.features import Features
from skylane.convert.export.emitters.functions import threshold
from skylane.convert.export.emitters.graph import Tensor
from skylane.convert.export.emitters.registry import Method, emits
from skylane.convert.inspection.schema import Array

SCORES: Method = "decision_function"
"""The method under which log-likelihoods are registered; of these, only quadratic discriminants have it themselves."""


@emits(SCORES, GaussianNB)
def gaussian(model: Any, features: Features, emission: Emission) -> Features:
    """Squared distances to each class's means over its variances: z² · a + z · b + c, where z is centred."""
    centre = np.average(model.theta_, axis=0, weights=model.class_prior_)
    means, precisions = model.theta_ - centre, 1.0 / model.var_
    z = emission.tensor(features.then("Sub", centre), "float64")
    log_prior = np.log(model.class_prior_) - 0.5 * np.log(2.0 * np.pi * model.var_).sum(axis=1)
    offset = log_prior - 0.5 * (means**2 * precisions).sum(axis=1)
    return _quadratic(z, -0.5 * precisions.T, (means * precisions).T, offset, emission)


def _quadratic(z: Tensor, square: Array, linear: Array, offset: Array, emission: Emission) -> Features:
    graph, classes = emission.graph, square.shape[1]
    squares = graph.node("Mul", [z, z], "float64", z.width)
    straight = graph.node("Gemm", [z, graph.constant(linear), graph.constant(offset)], "float64", classes)
    return Features.of(graph.node("Gemm", [squares, graph.constant(square), straight], "float64", classes))


@emits(SCORES, MultinomialNB)
def multinomial(model: Any, features: Features, _: Emission) -> Features:
    """Counts times the logarithms of the features' probabilities."""
    return features.times(model.feature_log_prob_.T, model.class_log_prior_)


@emits(SCORES, ComplementNB)
def complement(model: Any, features: Features, _: Emission) -> Features:
    """Counts times weights that are learnt from all other classes."""
    return features.times(model.feature_log_prob_.T, model.class_log_prior_ if len(model.classes_) == 1 else 0.0)


@emits(SCORES, BernoulliNB)
def bernoulli(model: Any, features: Features, emission: Emission) -> Features:
    """Whether each number is above the threshold, times the log-odds of that."""
    if model.binarize is not None:
        x = emission.exact(features)
        above = emission.graph.node("Greater", [x, threshold(model.binarize, x, emission)], "bool", x.width)
        features = Features.of(emission.cast(above))
    absent = np.log(1 - np.exp(model.feature_log_prob_))
    return features.times((model.feature_log_prob_ - absent).T, model.class_log_prior_ + absent.sum(axis=1))


@emits(SCORES, CategoricalNB)
def categorical(model: Any, features: Features, emission: Emission) -> Features:
    """For each column the table's row of its category, and the sum of these rows."""
    graph = emission.graph
    sizes = [table.shape[1] for table in model.feature_log_prob_]
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    table = np.concatenate([each.T for each in model.feature_log_prob_])
    categories = emission.cast(emission.exact(features), "int64")
    rows = graph.node("Add", [categories, graph.constant(starts, "int64")], "int64", features.width)
    terms = graph.node("Gather", [graph.constant(table, "float64"), rows], "float64", None, axis=0)
    total = graph.node("ReduceSum", [terms, graph.constant([1], "int64")], "float64", table.shape[1], keepdims=0)
    return Features.of(total).then("Add", model.class_log_prior_)


@emits("predict_proba", GaussianNB, MultinomialNB, ComplementNB, BernoulliNB, CategoricalNB)
def probabilities(model: Any, features: Features, emission: Emission) -> Features:
    """Softmax of the log-likelihoods."""
    return softmax(emission.emit(model, SCORES, features), emission)


@emits("predict", GaussianNB, MultinomialNB, ComplementNB, BernoulliNB, CategoricalNB)
def decided(model: Any, features: Features, emission: Emission) -> Features:
    """The likeliest class."""
    return emission.likeliest(emission.emit(model, SCORES, features))


@emits("predict_proba", QuadraticDiscriminantAnalysis)
def discriminant_probabilities(model: Any, features: Features, emission: Emission) -> Features:
    """Softmax of the log-likelihoods."""
    return softmax(_discriminants(model, features, emission), emission)


@emits("predict", QuadraticDiscriminantAnalysis)
def discriminant_decided(model: Any, features: Features, emission: Emission) -> Features:
    """The likeliest class."""
    return emission.likeliest(_discriminants(model, features, emission))


@emits(SCORES, QuadraticDiscriminantAnalysis)
def discriminant_scores(model: Any, features: Features, emission: Emission) -> Features:
    """The log-likelihoods; for two classes their difference."""
    each = _discriminants(model, features, emission)
    return each.times(np.array([[-1.0], [1.0]])) if each.width == 2 else each


def _discriminants(model: Any, features: Features, emission: Emission) -> Features:
    """The whitened differences to all classes' means in one product, squared, and summed by class."""
    graph = emission.graph
    centre = model.means_.mean(axis=0)
    whiten = [
        np.asarray(rotation) * np.asarray(scaling) ** -0.5
        for rotation, scaling in zip(model.rotations_, model.scalings_, strict=True)
    ]
    shifts = [-(mean - centre) @ matrix for mean, matrix in zip(model.means_, whiten, strict=True)]
    z = emission.tensor(features.then("Sub", centre), "float64")
    matrix, shift = np.concatenate(whiten, axis=1), np.concatenate(shifts)
    white = graph.node("Gemm", [z, graph.constant(matrix), graph.constant(shift)], "float64", len(shift))
    squares = graph.node("Mul", [white, white], "float64", len(shift))
    owner = np.repeat(np.arange(len(whiten)), [one.shape[1] for one in whiten])
    halves = -0.5 * (owner[:, None] == np.arange(len(whiten)))
    offset = np.log(model.priors_) - 0.5 * np.array([np.sum(np.log(scaling)) for scaling in model.scalings_])
    summing, added = graph.constant(halves), graph.constant(offset)
    return Features.of(graph.node("Gemm", [squares, summing, added], "float64", len(whiten)))


def softmax(scores: Features, emission: Emission) -> Features:
    """Probabilities, in the type of the scores."""
    x = emission.exact(scores)
    return Features.of(emission.graph.node("Softmax", [x], x.dtype, x.width, axis=1))
