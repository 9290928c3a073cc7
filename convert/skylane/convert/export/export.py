"""A fitted estimator → skl2onnx's graph, with our names of inputs and outputs. The only module that calls skl2onnx."""

import copy
import re
import traceback
import warnings
from collections.abc import Sequence
from typing import Any, Final, cast

import onnx
from skl2onnx import convert_sklearn
from skl2onnx._supported_operators import sklearn_operator_name_map
from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType, StringTensorType
from skl2onnx.common.exceptions import MissingConverter, MissingShapeCalculator
from sklearn.base import BaseEstimator
from sklearn.compose import ColumnTransformer
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.pipeline import Pipeline

from skylane.convert.errors import Unconvertible
from skylane.convert.export.missing_directions import restore_missing_directions
from skylane.convert.export.onnx_graph import bound_shares, keep_outputs, rename, set_locale, single_opset
from skylane.convert.export.skl2onnx_patches import Overdue, mended
from skylane.convert.inspection.schema import Layout, NumberType
from skylane.convert.inspection.structure import Task, branches, final_of, front_transformers, parts, rounds_first

OPSETS: Final = {"": 18, "ai.onnx.ml": 3}
"""The newest versions that every ONNX Runtime since 1.15 supports."""

TENSOR_TYPES: Final = {"float32": FloatTensorType, "float64": DoubleTensorType}

ADVICE: Final = {
    "add_indicator=True": "leave add_indicator out of the imputer: trees find gaps by the value that fills them",
    "VotingClassifier": "set flatten_transform=False on it",
    "KBinsDiscretizer": "set encode='onehot-dense' on it",
    "TransformedTargetRegressor": "train on the transformed target, and turn the answers back in the caller",
    "GaussianProcessClassifier": "use LogisticRegression on a kernel map, or an SVC with probability=True",
    "FunctionTransformer": "do the step before the pipeline, or with a transformer of scikit-learn's own",
    "missing values are string": "fill gaps in text columns before the pipeline, or leave them to OneHotEncoder, "
    "which takes a gap for a category of its own",
}
"""Text in the failing step's repr or in skl2onnx's message → what to do instead, if known."""


UNKNOWN: Final = re.compile(
    r"(?:Unable to find (?:alias|a shape calculator|a converter) for (?:model|type)|No registered models, .*for model) "
    r"'(?:<class ')?(?:[\w.]+\.)?(\w+)"
)
"""skl2onnx's messages about a class that it does not support."""


def outputs_of(estimator: Any, task: Task) -> tuple[str, ...]:
    """Names of the graph's outputs, in order."""
    if task == "classifier":
        return ("label", "probabilities") if hasattr(estimator, "predict_proba") else ("label",)
    return {
        "regressor": ("prediction",),
        "clusterer": ("label",),
        "outlier_detector": ("label", "scores"),
        "transformer": ("transformed",),
    }[task]


def export(
    estimator: Any, layout: Layout, numbers: NumberType, task: Task, until: float | None = None
) -> onnx.ModelProto:
    """skl2onnx's graph, with its known bugs fixed. Raises Unconvertible if it makes none.

    Raises Overdue if it is not finished by `until`, an instant of `time.monotonic`.
    """
    if any(isinstance(part, CountVectorizer) for part in parts(estimator)):
        raise Unconvertible("skl2onnx splits words at letters that are not ASCII, and joins blanks differently")
    check_numbers(estimator, layout, numbers)
    if layout.crossed:  # skl2onnx passes a tensor on unchanged if a branch takes as many columns as it has
        raise Unconvertible(
            f"skl2onnx mixes up columns where branches of a ColumnTransformer take all of the tensor "
            f"{layout.crossed[0]!r}, in different orders or twice: list them in the same order in each"
        )
    addressed = _addressed(estimator, layout) if layout.named else estimator
    inputs = [
        (spec.name, (StringTensorType if spec.dtype == "string" else TENSOR_TYPES[numbers])(list(spec.shape)))
        for spec in layout.tensor_specs(numbers)
    ]
    model = _converted(addressed, inputs, task, until)
    single_opset(model)
    set_locale(model)
    restore_missing_directions(model, addressed)
    _name_outputs(model, outputs_of(estimator, task), [name for name, _ in inputs])
    bound_shares(model, "probabilities")
    _forget_width(model)
    model.graph.name = "skylane"
    model.producer_name, model.producer_version, model.doc_string = "skylane", "", ""
    return model


def check_numbers(estimator: Any, layout: Layout, numbers: NumberType) -> None:
    """Raises Unconvertible if rounding to this type would merge numbers that the pipeline distinguishes."""
    if numbers == "float32" and layout.doubles and not rounds_first(estimator):
        raise Unconvertible(f"single precision cannot hold the numbers of {', '.join(map(repr, layout.doubles[:3]))}")


def export_step(estimator: Any, method: str, dtype: str, width: int) -> onnx.ModelProto:
    """A graph of one step with one input, (rows, width) of this type, and the method's output as its only one.

    Raises Unconvertible if skl2onnx makes none.
    """
    kind = StringTensorType if dtype == "string" else TENSOR_TYPES[cast(NumberType, dtype)]
    options: dict[Any, Any] | None = None
    if method == "predict_proba":
        options = {"zipmap": False}
    elif method == "decision_function" and hasattr(estimator, "classes_"):
        options = {id(estimator): {"raw_scores": True}}
    model = _tried(estimator, [("x", kind([None, width]))], [options])
    index = 1 if method in ("predict_proba", "decision_function") else 0
    if len(model.graph.output) <= index:
        raise Unconvertible(f"the graph that skl2onnx makes of {type(estimator).__name__} has no {method}")
    model.graph.output[0].CopyFrom(model.graph.output[index])
    keep_outputs(model, 1)
    single_opset(model)
    set_locale(model)
    restore_missing_directions(model, estimator)
    return model


def _addressed(estimator: Any, layout: Layout) -> Any:
    """A copy whose ColumnTransformers take their columns by position in the grouped tensors.

    skl2onnx numbers the columns of all inputs consecutively.
    """
    grouped = [layout.columns[position].name for positions in layout.order.values() for position in positions]
    place = {name: position for position, name in enumerate(grouped)}
    addressed = copy.deepcopy(estimator)
    for transformer in front_transformers(addressed):
        names = transformer.feature_names_in_
        taken = dict(branches(transformer))
        transformer.transformers_ = [
            (name, part, [place[str(names[position])] for position in taken[name]])
            for name, part, _ in transformer.transformers_
            if name in taken
        ]
    return addressed


def _converted(estimator: Any, inputs: list[tuple[str, Any]], task: Task, until: float | None) -> onnx.ModelProto:
    # By default probabilities are a list of dictionaries, which costs five times as much as the model at 1024 rows.
    options: list[dict[Any, Any] | None] = [None]
    if task == "classifier":
        options = [{"zipmap": False}, {id(final_of(estimator)): {"raw_scores": True}}]
    return _tried(estimator, inputs, options, until)


def _tried(
    estimator: Any,
    inputs: list[tuple[str, Any]],
    options: Sequence[dict[Any, Any] | None],
    until: float | None = None,
) -> onnx.ModelProto:
    failures: list[Exception] = []
    for option in options:
        try:
            with warnings.catch_warnings(), mended(until):
                warnings.simplefilter("ignore")  # skl2onnx's warnings are for its developers
                model: onnx.ModelProto = convert_sklearn(
                    estimator, initial_types=inputs, target_opset=OPSETS, options=option
                )
                return model
        except Overdue:
            raise
        except Exception as error:  # skl2onnx raises errors of any type
            failures.append(error)
    raise Unconvertible(_reason(estimator, failures[0])) from failures[0]


def _reason(estimator: Any, error: Exception) -> str:
    message = re.sub(r"\W*You may raise an is+ue at \S+", "", " ".join(str(error).split())).rstrip(".")
    # A step that fails because of its input's shape is not the cause: a step before it has an unexpected output.
    step = None if "expected shape" in message else _failing_step(error)
    text = f"{estimator if step is None else step!r} {message}"
    advice = next((advice for name, advice in ADVICE.items() if name in text), None)
    unknown = UNKNOWN.search(message)
    if unknown is not None or (step is not None and isinstance(error, MissingShapeCalculator | MissingConverter)):
        return unknown_class(unknown[1] if unknown is not None else type(step).__name__, advice)
    named = "this pipeline" if step is None else f"the step {type(step).__name__}"
    # Only skl2onnx's own errors, which are RuntimeErrors, help the author.
    why = f": {message[:200]}{'…' if len(message) > 200 else ''}" if isinstance(error, RuntimeError) else ""
    return (
        f"skl2onnx cannot make a graph of {named}{why}. "
        f"What helps: {advice or 'replace the step by another of scikit-learn that skl2onnx knows'}"
    )


def unknown_class(name: str, advice: str | None = None) -> str:
    """The message about a class that neither our emitters nor skl2onnx support."""
    return (
        f"skl2onnx knows no class {name}. "
        f"What helps: {advice or 'replace the step by another of scikit-learn, or do its work before the pipeline'}"
    )


def knows_class(family: type) -> bool:
    """Whether skl2onnx supports this class."""
    return family in sklearn_operator_name_map


def _failing_step(error: Exception) -> Any:
    """The estimator that skl2onnx was converting, from the traceback; None if it was the pipeline as a whole.

    skl2onnx's messages do not name the right step.
    """
    step = None
    for frame, _ in traceback.walk_tb(error.__traceback__):
        at = frame.f_locals
        part = getattr(at.get("operator"), "raw_operator", at.get("model"))
        if isinstance(part, BaseEstimator):
            step = part
    return None if isinstance(step, Pipeline | ColumnTransformer) else step


def _forget_width(model: onnx.ModelProto) -> None:
    """Leave the number of targets open: for partial least squares, skl2onnx declares the number of inputs."""
    for output in model.graph.output:
        dims = output.type.tensor_type.shape.dim
        if output.name == "prediction" and len(dims) == 2 and dims[1].dim_value > 1:
            dims[1].Clear()


def _name_outputs(model: onnx.ModelProto, names: tuple[str, ...], inputs: list[str]) -> None:
    """Give the outputs our names, and remove those that we do not document."""
    if len(model.graph.output) < len(names):
        raise Unconvertible(f"the graph has {len(model.graph.output)} outputs where {', '.join(names)} are expected")
    keep_outputs(model, len(names))
    taken = {name for node in model.graph.node for name in (*node.input, *node.output)} | set(inputs)
    for output, name in zip(model.graph.output, names, strict=True):
        if output.name != name:
            if name in taken:
                rename(model, name, f"{name}__inner")
            rename(model, output.name, name)
