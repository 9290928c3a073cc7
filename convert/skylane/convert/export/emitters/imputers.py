"""Imputers: missing values filled with fitted ones, and columns that say where values were missing."""

from typing import Any

import numpy as np
from sklearn.impute import MissingIndicator, SimpleImputer

from skylane.convert.export.emitters.emission import Emission
from skylane.convert.export.emitters.features import Features
from skylane.convert.export.emitters.graph import Tensor
from skylane.convert.export.emitters.registry import Declined, emits
from skylane.convert.inspection.schema import Array


@emits("transform", SimpleImputer)
def simple(imputer: Any, features: Features, emission: Emission) -> Features:
    """Missing values replaced by the column's fitted one; columns that were empty in training are left out."""
    statistics = np.asarray(imputer.statistics_, dtype=object)
    columns = [place for place, value in enumerate(statistics) if not _is_nan(value)]
    if imputer.strategy == "constant" or imputer.keep_empty_features:
        columns = list(range(len(statistics)))
    kept = features.take(columns)
    filled = _filled(kept, statistics[columns], imputer.missing_values, emission)
    if not imputer.add_indicator:
        return filled
    return Features.joined([filled, indicator(imputer.indicator_, features, emission)])


@emits("transform", MissingIndicator)
def indicator(step: Any, features: Features, emission: Emission) -> Features:
    """1.0 where a value is missing, for the columns that had missing values in training."""
    taken = features.take([int(place) for place in step.features_])
    if not taken.width:
        return Features(())
    gaps = is_gap(emission.exact(taken), step.missing_values, emission)
    return Features.of(emission.cast(gaps))


def is_gap(tensor: Tensor, missing: Any, emission: Emission) -> Tensor:
    """Where the tensor holds the marker of missing values: (rows, width) bool."""
    graph = emission.graph
    if tensor.dtype == "string":
        is_missing = graph.node(
            "LabelEncoder", [tensor], "int64", tensor.width, domain="ai.onnx.ml",
            keys_strings=[text_of(missing)], values_int64s=[1], default_int64=0,
        )  # fmt: skip
        return emission.cast(is_missing, "bool")
    if _is_nan(missing):
        return graph.node("IsNaN", [tensor], "bool", tensor.width)
    if not isinstance(missing, int | float | np.number):
        raise Declined(f"gaps that are written {missing!r} in numbers")
    return graph.node("Equal", [tensor, graph.constant(missing, tensor.dtype)], "bool", tensor.width)


def text_of(category: Any) -> str:
    """How a category, or a missing value, is written in a string tensor."""
    return "nan" if _is_nan(category) else str(category)


def _filled(features: Features, fillers: Array, missing: Any, emission: Emission) -> Features:
    if not features.width:
        return features
    tensor = emission.exact(features)
    graph = emission.graph
    by = graph.constant(
        [str(value) for value in fillers] if tensor.dtype == "string" else fillers.astype(np.float64), tensor.dtype
    )
    return Features.of(graph.node("Where", [is_gap(tensor, missing, emission), by, tensor], tensor.dtype, tensor.width))


def _is_nan(value: Any) -> bool:
    return isinstance(value, float | np.floating) and bool(np.isnan(value))
