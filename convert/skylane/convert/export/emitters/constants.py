"""Dummy estimators, which predict the same for every row."""

from typing import Any

import numpy as np
from sklearn.dummy import DummyClassifier, DummyRegressor

from skylane.convert.errors import Refused
from skylane.convert.export.emitters.emission import Emission
from skylane.convert.export.emitters.features import Features
from skylane.convert.export.emitters.registry import emits
from skylane.convert.inspection.schema import Array


@emits("predict", DummyRegressor)
def same_number(model: Any, features: Features, emission: Emission) -> Features:
    """A mean, a quantile, or a constant that the author chose."""
    return _constant(np.ravel(model.constant_), features, emission)


@emits("predict_proba", DummyClassifier)
def same_shares(model: Any, features: Features, emission: Emission) -> Features:
    """The class frequencies of the training, or 1.0 for one class."""
    if model.strategy in ("stratified", "uniform"):
        raise Refused(
            f"the step {emission.at} answers at random, which graphs do not: use strategy='prior' or 'most_frequent'"
        )
    shares = np.asarray(model.class_prior_, dtype=np.float64)
    chosen = int(np.argmax(shares))
    if model.strategy == "constant":
        chosen = int(np.flatnonzero(np.asarray(model.classes_) == np.ravel(model.constant)[0])[0])
    return _constant(shares if model.strategy == "prior" else np.eye(len(shares))[chosen], features, emission)


def _constant(values: Array, features: Features, emission: Emission) -> Features:
    """These numbers for each row."""
    graph, tensor = emission.graph, features.parts[0].tensor
    rows = graph.node("Slice", [graph.node("Shape", [tensor], "int64", None), *(
        graph.constant([place], "int64") for place in (0, 1)
    )], "int64", None)  # fmt: skip
    shape = graph.node("Concat", [rows, graph.constant([1], "int64")], "int64", None, axis=0)
    row = graph.constant(np.asarray(values, dtype=np.float64)[None, :], emission.precision)
    return Features.of(graph.node("Expand", [row, shape], emission.precision, len(values)))
