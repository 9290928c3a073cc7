"""Scalers, projections and linear models: affine operations, deferred until they are one matrix product."""

from typing import Any

import numpy as np
from sklearn.decomposition import PCA, FactorAnalysis, FastICA, TruncatedSVD
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import (
    ARDRegression,
    BayesianRidge,
    ElasticNet,
    ElasticNetCV,
    HuberRegressor,
    Lars,
    Lasso,
    LassoCV,
    LassoLars,
    LinearRegression,
    LogisticRegression,
    LogisticRegressionCV,
    PassiveAggressiveClassifier,
    Perceptron,
    Ridge,
    RidgeClassifier,
    RidgeClassifierCV,
    RidgeCV,
    SGDClassifier,
    SGDRegressor,
    TheilSenRegressor,
)
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, RobustScaler, StandardScaler
from sklearn.random_projection import GaussianRandomProjection, SparseRandomProjection
from sklearn.svm import LinearSVC, LinearSVR

from skylane.convert.export.emitters.emission import Emission
from skylane.convert.export.emitters.features import Features
from skylane.convert.export.emitters.registry import Declined, emits


@emits("transform", StandardScaler)
def standard(scaler: Any, features: Features, _: Emission) -> Features:
    """(x - mean) / deviation."""
    if scaler.with_mean:
        features = features.then("Sub", scaler.mean_)
    return features.then("Div", scaler.scale_) if scaler.with_std else features


@emits("transform", RobustScaler)
def robust(scaler: Any, features: Features, _: Emission) -> Features:
    """(x - median) / distance of quantiles."""
    if scaler.with_centering:
        features = features.then("Sub", scaler.center_)
    return features.then("Div", scaler.scale_) if scaler.with_scaling else features


@emits("transform", MinMaxScaler)
def min_max(scaler: Any, features: Features, emission: Emission) -> Features:
    """x · scale + shift, clipped to the range if the scaler says so."""
    features = features.then("Mul", scaler.scale_).then("Add", scaler.min_)
    return clipped(features, scaler.feature_range[0], scaler.feature_range[1], emission) if scaler.clip else features


@emits("transform", MaxAbsScaler)
def max_abs(scaler: Any, features: Features, emission: Emission) -> Features:
    """x / largest magnitude, clipped to [-1, 1] if the scaler says so."""
    features = features.then("Div", scaler.scale_)
    return clipped(features, -1.0, 1.0, emission) if getattr(scaler, "clip", False) else features


def clipped(features: Features, low: float, high: float, emission: Emission) -> Features:
    """Every number clipped to the range; missing values stay missing."""
    graph, tensor = emission.graph, emission.tensor(features)
    bounds = [graph.constant(bound, tensor.dtype) for bound in (low, high)]
    return Features.of(graph.node("Clip", [tensor, *bounds], tensor.dtype, tensor.width))


@emits("transform", PCA)
def principal(pca: Any, features: Features, _: Emission) -> Features:
    """(x - mean) projected onto the components, and scaled to unit variance if the model whitens."""
    if pca.mean_ is not None:
        features = features.then("Sub", pca.mean_)
    projected = features.times(pca.components_.T)
    if not pca.whiten:
        return projected
    scale = np.sqrt(pca.explained_variance_)
    smallest = np.finfo(scale.dtype).eps
    return projected.then("Div", np.maximum(scale, smallest))


@emits("transform", FastICA)
def unmixed(model: Any, features: Features, _: Emission) -> Features:
    """Independent components."""
    centred = features.then("Sub", model.mean_) if hasattr(model, "mean_") else features
    return centred.times(np.asarray(model.components_, dtype=np.float64).T, 0.0)


@emits("transform", FactorAnalysis)
def factors(model: Any, features: Features, _: Emission) -> Features:
    """The expected value of each factor."""
    loads = np.asarray(model.components_, dtype=np.float64)
    weighed = loads / model.noise_variance_
    spread = np.linalg.inv(np.eye(len(loads)) + weighed @ loads.T)
    return features.then("Sub", model.mean_).times(weighed.T @ spread, 0.0)


@emits("transform", TruncatedSVD, GaussianRandomProjection, SparseRandomProjection)
def truncated(svd: Any, features: Features, _: Emission) -> Features:
    """The projection onto the components."""
    return features.times(svd.components_.T)


@emits("transform", LinearDiscriminantAnalysis)
def discriminants(model: Any, features: Features, _: Emission) -> Features:
    """The projection onto the directions that separate the classes."""
    if model.solver == "lsqr":
        raise Declined("solver='lsqr', which has no directions")
    if model.solver == "svd":
        features = features.then("Sub", model.xbar_)
    return features.times(model.scalings_[:, : model._max_components], 0.0)


@emits("predict", LinearRegression, Ridge, RidgeCV, Lasso, LassoCV, ElasticNet, ElasticNetCV, Lars, LassoLars,
       SGDRegressor, HuberRegressor, BayesianRidge, ARDRegression, TheilSenRegressor, LinearSVR)  # fmt: skip
def linear(model: Any, features: Features, _: Emission) -> Features:
    """One matrix product."""
    return features.times(np.atleast_2d(model.coef_).T, np.ravel(model.intercept_))


@emits("decision_function", LogisticRegression, LogisticRegressionCV, LinearDiscriminantAnalysis, LinearSVC,
       SGDClassifier, Perceptron, PassiveAggressiveClassifier, RidgeClassifier, RidgeClassifierCV)  # fmt: skip
def scores(model: Any, features: Features, _: Emission) -> Features:
    """One matrix product; a single column for two classes."""
    return features.times(np.atleast_2d(model.coef_).T, np.ravel(model.intercept_))


@emits("predict", LogisticRegression, LogisticRegressionCV, LinearDiscriminantAnalysis, LinearSVC,
       SGDClassifier, Perceptron, PassiveAggressiveClassifier, RidgeClassifier, RidgeClassifierCV)  # fmt: skip
def decided(model: Any, features: Features, emission: Emission) -> Features:
    """The class with the highest score, not probability: probabilities round to 1 where scores still differ."""
    return emission.likeliest(two_sided(emission.emit(model, "decision_function", features)))


@emits("predict_proba", LogisticRegression, LogisticRegressionCV, LinearDiscriminantAnalysis)
def probabilities(model: Any, features: Features, emission: Emission) -> Features:
    """Sigmoid of the scores for two classes, softmax for more."""
    graph, features = emission.graph, emission.emit(model, "decision_function", features)
    if features.width == 1:
        tensor = emission.tensor(two_sided(features))
        return Features.of(graph.node("Sigmoid", [tensor], tensor.dtype, 2))
    tensor = emission.tensor(features)
    return Features.of(graph.node("Softmax", [tensor], tensor.dtype, tensor.width, axis=1))


@emits("predict_proba", SGDClassifier)
def stochastic(model: Any, features: Features, emission: Emission) -> Features:
    """Sigmoids, normalized to sum to one. In float64: ONNX Runtime's float32 sigmoid is 0 where 1e-8 is right."""
    if model.loss != "log_loss":
        raise Declined(f"probabilities of loss={model.loss!r}")
    if len(model.classes_) == 2:
        return probabilities(model, features, emission)
    graph, scores = emission.graph, emission.emit(model, "decision_function", features)
    tensor = emission.cast(emission.tensor(scores), "float64")
    each = graph.node("Sigmoid", [tensor], tensor.dtype, tensor.width)
    total = graph.node("ReduceSum", [each, graph.constant([1], "int64")], tensor.dtype, 1, keepdims=1)
    return Features.of(graph.node("Div", [each, total], tensor.dtype, tensor.width))


def two_sided(scores: Features) -> Features:
    """A single score of two classes as two scores, the first the negative of the second; more scores unchanged."""
    return scores.times(np.array([[-1.0, 1.0]])) if scores.width == 1 else scores
