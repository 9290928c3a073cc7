"""Kernel approximations and kernel ridge: kernels with training points, or random Fourier features, as columns."""

from typing import Any

import numpy as np
from sklearn.kernel_approximation import Nystroem, RBFSampler
from sklearn.kernel_ridge import KernelRidge

from skylane.convert.export.emitters.emission import Emission
from skylane.convert.export.emitters.features import Features
from skylane.convert.export.emitters.kernels import Kernel
from skylane.convert.export.emitters.registry import Declined, emits


@emits("transform", Nystroem)
def nystroem(step: Any, features: Features, emission: Emission) -> Features:
    """The kernel with each landmark, projected; the projection is deferred."""
    if step.kernel_params:
        raise Declined("parameters of a kernel")
    gamma = 1.0 / features.width if step.gamma is None else float(step.gamma)
    coef0, degree = 1.0 if step.coef0 is None else step.coef0, 3.0 if step.degree is None else step.degree
    kernel = Kernel(features, step.components_, emission).named(step.kernel, gamma, coef0, degree)
    return emission.settled(kernel).times(np.asarray(step.normalization_, dtype=np.float64).T, 0.0)


@emits("predict", KernelRidge)
def ridge(model: Any, features: Features, emission: Emission) -> Features:
    """The kernel with all training rows, times weights."""
    if model.kernel_params:
        raise Declined("parameters of a kernel")
    gamma = 1.0 / features.width if model.gamma is None else float(model.gamma)
    kernel = Kernel(features, model.X_fit_, emission).named(model.kernel, gamma, model.coef0, model.degree)
    weights = np.asarray(model.dual_coef_, dtype=np.float64)
    return emission.settled(kernel).times(weights.reshape(len(weights), -1), 0.0)


@emits("transform", RBFSampler)
def random_fourier(step: Any, features: Features, emission: Emission) -> Features:
    """Cosines of random projections, all with the same amplitude."""
    x = emission.tensor(features.times(np.asarray(step.random_weights_), np.asarray(step.random_offset_)))
    cosine = Features.of(emission.graph.node("Cos", [x], x.dtype, x.width))
    return cosine.then("Mul", np.sqrt(2.0 / step.n_components))
