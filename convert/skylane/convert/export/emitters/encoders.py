"""Encoders of categories: one look-up for each text; a linear model after one-hot columns looks up its weights instead.

The value of each category is computed by the encoder itself, so that dropped, infrequent and unknown categories become
what scikit-learn makes of them.
"""

import warnings
from typing import Any

import numpy as np
import pandas as pd
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, TargetEncoder

from skylane.convert.errors import Refused
from skylane.convert.export.emitters.emission import Emission
from skylane.convert.export.emitters.features import Features
from skylane.convert.export.emitters.graph import Tensor
from skylane.convert.export.emitters.imputers import text_of
from skylane.convert.export.emitters.registry import emits
from skylane.convert.inspection.schema import Array

UNKNOWN_TEXT = "\0 never seen"

CHUNK = 256
"""Categories that one call of an encoder gets: its output is a matrix with a column for each category."""


@emits("transform", OneHotEncoder)
def one_hot(encoder: Any, features: Features, emission: Emission) -> Features:
    """A column of zeros and ones for each category that is kept."""
    outputs = []
    for place in range(len(encoder.categories_)):
        codes, other, width = _kept(encoder, place, emission)
        if _is_text(features, place):
            # The code after the last column's stands for what is no category: all zeros.
            outputs.append(Features.coded(_codes(encoder, place, features, codes, other, emission), width))
            continue
        same = Features.of(emission.cast(_same(encoder, place, features, emission)))
        if other < width or not np.array_equal(codes, np.arange(width)):
            each = np.eye(width + 1)[:, :width]
            same = Features.of(emission.tensor(same.times(each[codes] - each[other], each[other])))
        outputs.append(same)
    return Features.joined(outputs)


def _kept(encoder: Any, place: int, emission: Emission) -> tuple[Array, int, int]:
    """The column of each category, that of unknown ones, and the number of columns, which stands for no column."""
    count = len(encoder.categories_[place])
    chunks = [_values_of(encoder, place, slice(start, start + CHUNK)) for start in range(0, count, CHUNK)]
    if not chunks:
        raise Refused(f"the step {emission.graph.path} met a column without categories in training: leave it out")
    width = chunks[0].shape[1]
    codes = np.concatenate([np.where(chunk.any(axis=1), chunk.argmax(axis=1), width)[:-1] for chunk in chunks])
    last = chunks[0][-1]
    return codes, int(last.argmax()) if last.any() else width, width


@emits("transform", OrdinalEncoder)
def ordinal(encoder: Any, features: Features, emission: Emission) -> Features:
    """The index of each category among those of its column."""
    return _encoded(encoder, features, emission)


@emits("transform", TargetEncoder)
def target(encoder: Any, features: Features, emission: Emission) -> Features:
    """The mean of the target for each category; for several classes, one mean for each class."""
    classes = len(encoder.classes_) if encoder.target_type_ == "multiclass" else 1
    return _encoded(encoder, features, emission, classes)


def _encoded(encoder: Any, features: Features, emission: Emission, columns: int = 1) -> Features:
    outputs, graph = [], emission.graph
    for place in range(len(encoder.categories_)):
        values = _values_of(encoder, place, slice(None))
        if _is_text(features, place):
            codes = _codes(encoder, place, features, np.arange(len(values) - 1), len(values) - 1, emission)
            rows = graph.constant(values, emission.precision)
            outputs.append(Features.of(graph.node("Gather", [rows, codes], emission.precision, columns, axis=0)))
            continue
        finite = np.nan_to_num(values)
        same = Features.of(emission.cast(_same(encoder, place, features, emission)))
        encoded = emission.tensor(same.times(finite[:-1] - finite[-1], finite[-1]))
        if np.isnan(values).any():  # the value of missing ones, which are the last category, or of unknown ones
            encoded = _with_nan(values, emission.tensor(same), encoded, emission)
        outputs.append(Features.of(encoded))
    return Features.joined(outputs)


def _with_nan(values: Array, same: Tensor, encoded: Tensor, emission: Emission) -> Tensor:
    """NaN where the category's value is NaN."""
    graph = emission.graph
    is_nan = np.asarray(np.isnan(values).any(axis=1, keepdims=True), dtype=np.float64)
    selected = emission.tensor(Features.of(same).times(is_nan[:-1] - is_nan[-1], is_nan[-1]))
    above = graph.node("Greater", [selected, graph.constant(0.5, selected.dtype)], "bool", 1)
    return graph.node("Where", [above, graph.constant(np.nan, encoded.dtype), encoded], encoded.dtype, encoded.width)


def _values_of(encoder: Any, place: int, some: slice) -> Array:
    """The encoder's output for some of a column's categories, and last for an unknown one: (categories + 1, any)."""
    names = getattr(encoder, "feature_names_in_", None)
    others = [listed[0] if len(listed) else np.nan for listed in encoder.categories_]
    categories = encoder.categories_[place]
    rows = [[*others[:place], category, *others[place + 1 :]] for category in categories[some]]
    values = _transformed(encoder, rows, names)
    unseen = [*others[:place], _unknown(categories), *others[place + 1 :]]
    try:
        last = _transformed(encoder, [unseen], names)
    except ValueError:  # handle_unknown="error": the server refuses unknown categories before it runs the graph
        last = np.zeros((1, values.shape[1]))
    each: Array = np.concatenate([values, last])
    return np.asarray(each[:, _columns_of(encoder, place, values.shape[1])])


def _transformed(encoder: Any, rows: list[list[Any]], names: Any) -> Array:
    frame = pd.DataFrame(rows, columns=names, dtype=object)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about unknown categories, which are passed on purpose
        outputs = encoder.transform(frame if names is not None else frame.to_numpy())
    return np.asarray(outputs.toarray() if hasattr(outputs, "toarray") else outputs, dtype=np.float64)


def _columns_of(encoder: Any, place: int, width: int) -> slice:
    """Which of the encoder's output columns come from this input column."""
    widths = [width // len(encoder.categories_)] * len(encoder.categories_)
    if isinstance(encoder, OneHotEncoder):
        widths = list(encoder._n_features_outs)
    return slice(sum(widths[:place]), sum(widths[: place + 1]))


def _unknown(categories: Array) -> Any:
    """A value of the same type that is none of the categories."""
    if any(isinstance(category, str) for category in categories.tolist()):
        return UNKNOWN_TEXT
    numbers = np.asarray(categories, dtype=np.float64)
    return float(np.nanmax(np.abs(numbers), initial=0.0) + 1.5)


def _is_text(features: Features, place: int) -> bool:
    return features.take([place]).parts[0].tensor.dtype == "string"


def _codes(encoder: Any, place: int, features: Features, codes: Array, unknown: int, emission: Emission) -> Tensor:
    """(rows) int64: the code of the category in each row."""
    texts = [text_of(category) for category in encoder.categories_[place].tolist()]
    if len(set(texts)) < len(texts):
        raise Refused(
            f"in the step {emission.graph.path}, a gap and a text of a column are both written "
            f"{max(texts, key=texts.count)!r}: rename that category"
        )
    return emission.graph.node(
        "LabelEncoder", [_column(features, place, emission)], "int64", None, domain="ai.onnx.ml",
        keys_strings=texts, values_int64s=codes.tolist(), default_int64=unknown,
    )  # fmt: skip


def _column(features: Features, place: int, emission: Emission) -> Tensor:
    part = features.take([place]).parts[0]
    if part.tensor.width is None or part.steps:
        return emission.vector(features.take([place]))
    at = emission.graph.constant(part.columns[0], "int64")
    return emission.graph.node("Gather", [part.tensor, at], part.tensor.dtype, None, axis=1)


def _same(encoder: Any, place: int, features: Features, emission: Emission) -> Tensor:
    """(rows, categories) bool: whether the number is this category; if NaN is a category, it comes last."""
    tensor, graph = emission.exact(features.take([place])), emission.graph
    if any(isinstance(one, int) and int(float(one)) != one for one in np.asarray(encoder.categories_[place]).tolist()):
        names = getattr(encoder, "feature_names_in_", None)
        column = f"column {place}" if names is None else f"the column {names[place]!r}"
        raise Refused(
            f"the step {emission.at} knows whole numbers above 2^53 as categories, which a graph's numbers cannot tell "
            f"apart: read {column} as text, in training as well"
        )
    try:
        categories = np.asarray(encoder.categories_[place], dtype=np.float64)
    except ValueError as error:
        raise Refused(
            f"the step {emission.graph.path} learnt texts in a column in which the rows have numbers"
        ) from error
    same = graph.node("Equal", [tensor, graph.constant(categories, tensor.dtype)], "bool", len(categories))
    if not np.isnan(categories).any():
        return same
    gaps = graph.node("IsNaN", [tensor], "bool", 1)
    is_nan = graph.node("And", [gaps, graph.constant(np.isnan(categories))], "bool", len(categories))
    return graph.node("Or", [same, is_nan], "bool", len(categories))
