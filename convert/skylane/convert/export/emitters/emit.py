"""A fitted pipeline → a graph written by the emitters of this package. Other packages call only this module."""

from contextlib import suppress
from typing import Any, Final

import numpy as np
import onnx

from skylane.convert.errors import Unconvertible
from skylane.convert.export.emitters.emission import Emission, Outdated
from skylane.convert.export.emitters.features import Features
from skylane.convert.export.emitters.graph import Tensor
from skylane.convert.export.emitters.registry import Method, knows_family, one_node_of
from skylane.convert.export.export import check_numbers, outputs_of
from skylane.convert.export.onnx_graph import bound_shares, keep_outputs
from skylane.convert.inspection.schema import Layout, NumberType
from skylane.convert.inspection.structure import Task, column_names, final_of, parts, shares_leaves

METHOD_OF: Final[dict[str, Method]] = {
    "prediction": "predict",
    "probabilities": "predict_proba",
    "scores": "decision_function",
    "transformed": "transform",
}

UNREAD: Final = Features.of(Tensor("(a column that nobody reads)", "float32", 1))

FRAMES: Final = (
    "Pipeline", "ColumnTransformer", "FeatureUnion", "GridSearchCV", "RandomizedSearchCV", "HalvingGridSearchCV",
    "HalvingRandomSearchCV", "FrozenEstimator",
)  # fmt: skip
"""Families that only pass rows on to others."""


def emit(
    estimator: Any,
    layout: Layout,
    numbers: NumberType,
    task: Task,
    precision: NumberType | None = None,
    nodes_max: int | None = None,
    *,
    in_one_node: bool = False,
) -> onnx.ModelProto:
    """A graph that takes numbers of one type and computes in `precision`, by default in the same type.

    `nodes_max`: forests with more nodes than this are split. `in_one_node`: the label and the probabilities come from
    one node, see `answers_in_one_node`.

    Raises Unconvertible if there is no graph; in float32, also if none of our emitters would write a part of it.
    """
    check_numbers(estimator, layout, numbers)
    if in_one_node:
        try:
            return _emitted(
                estimator, layout, numbers, task, Emission(precision or numbers, 3, None, final_of(estimator))
            )
        except Outdated as why:
            raise Unconvertible(str(why)) from None
    if shares_leaves(estimator):
        with suppress(Outdated):
            return _emitted(estimator, layout, numbers, task, Emission(precision or numbers, 3, nodes_max))
    return _emitted(estimator, layout, numbers, task, Emission(precision or numbers, 5, nodes_max))


def _emitted(estimator: Any, layout: Layout, numbers: NumberType, task: Task, emission: Emission) -> onnx.ModelProto:
    inputs = [
        Tensor(spec.name, "string" if spec.dtype == "string" else numbers, spec.shape[1])
        for spec in layout.tensor_specs(numbers)
    ]
    features = _features(estimator, layout, inputs)
    outputs = [(name, _output(name, estimator, features, emission, task)) for name in outputs_of(estimator, task)]
    if numbers == "float32" and not emission.own.difference(FRAMES):
        raise Unconvertible(f"no emitter of its own for {', '.join(sorted(emission.others))}")
    model = emission.graph.model(inputs, outputs)
    keep_outputs(model, len(outputs))
    bound_shares(model, "probabilities")
    return model


def knows(estimator: Any) -> bool:
    """Whether one of our emitters would write a part of the graph. Cheap, whereas emitting a graph can take long."""
    families = {type(part) for part in parts(estimator)}
    return any(knows_family(family) for family in families if family.__name__ not in FRAMES)


def answers_in_one_node(estimator: Any) -> bool:
    """Whether the family has a node for label and probabilities; its emitter may still decline this estimator."""
    return one_node_of(type(final_of(estimator))) is not None


def _features(estimator: Any, layout: Layout, inputs: list[Tensor]) -> Features:
    """The columns that the pipeline was trained on, in its order, each as a column of one of the graph's inputs."""
    by_name = {
        layout.columns[position].name: Features.of(tensor).take([index])
        for tensor in inputs
        for index, position in enumerate(layout.order[tensor.name])
    }
    names = column_names(estimator) or tuple(column.name for column in layout.columns)
    return Features.joined([by_name.get(name, UNREAD) for name in names])


def _output(name: str, estimator: Any, features: Features, emission: Emission, task: Task) -> Tensor:
    step = "" if type(estimator).__name__ in FRAMES else None
    if name != "label":
        return emission.tensor(emission.emit(estimator, METHOD_OF[name], features, step=step))
    output = emission.emit(estimator, "predict", features, step=step)
    if emission.label is not None:
        return emission.label
    codes = emission.vector(output, "int64")
    return _labels(estimator, codes, emission) if task == "classifier" else codes


def _labels(estimator: Any, codes: Tensor, emission: Emission) -> Tensor:
    """The classes with these indices: (rows) int64 or string."""
    classes = np.asarray(estimator.classes_)
    if classes.dtype.kind in "OUS":
        if not all(isinstance(label, str) for label in classes.tolist()):
            raise Unconvertible(f"labels must be numbers or text, but the classes are {classes.tolist()[:5]}")
        return emission.graph.node(
            "Gather", [emission.graph.constant(classes, "string"), codes], "string", None, axis=0
        )
    whole = classes.astype(np.int64)
    if not np.array_equal(whole, classes):
        raise Unconvertible(f"labels must be whole numbers or text, but the classes are {classes.tolist()[:5]}")
    if np.array_equal(whole, np.arange(len(whole))):
        return codes
    return emission.graph.node("Gather", [emission.graph.constant(whole), codes], "int64", None, axis=0)
