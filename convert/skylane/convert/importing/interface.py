"""A graph and its answers → the outputs, columns and task of its manifest. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from skylane.convert.errors import Unconvertible
from skylane.convert.importing.graph import CLASSIFIERS, REGRESSORS, Graph
from skylane.convert.importing.sample import Rows
from skylane.convert.inspection.schema import Array
from skylane.dtypes import dtype_of
from skylane.manifest import ColumnSpec, OutputSpec, TensorSpec

Task = Literal["classifier", "regressor", "other"]


def outputs_of(graph: Graph, answers: Mapping[str, Array]) -> tuple[OutputSpec, ...]:
    """Types and shapes of the actual outputs, with roles and classes from the classifier or regressor node."""
    specs = []
    for name in graph.outputs:
        array = answers[name]
        try:
            dtype = dtype_of(array)
        except TypeError as error:
            raise Unconvertible(f"output {name!r}: {error}") from error
        specs.append(OutputSpec(name=name, dtype=dtype, shape=_output_shape(graph, name, array)))
    return tuple(_with_roles(graph, specs))


def _output_shape(graph: Graph, name: str, array: Array) -> tuple[int | None, ...]:
    """The shape of an output: that of a run; but if inputs have dynamic sizes, only declared sizes count as fixed."""
    if not any(None in spec.shape[1:] for spec in graph.inputs):
        return (None, *array.shape[1:])
    declared = graph.outputs[name]
    if declared is None or len(declared) != array.ndim:
        return (None,) * array.ndim
    pairs = zip(declared[1:], array.shape[1:], strict=True)
    return (None, *(size if size == actual else None for size, actual in pairs))


def _with_roles(graph: Graph, specs: Sequence[OutputSpec]) -> list[OutputSpec]:
    """Mark label and probabilities of a classifier node, and the prediction of a regressor node, if there is one."""
    if graph.operators & CLASSIFIERS and len(specs) == 2:
        label, scores = specs
        if label.dtype in ("int64", "string") and len(label.shape) == 1 and len(scores.shape) == 2:
            classes = graph.classes.get(scores.name, ())
            return [
                _replaced(label, role="label"),
                _replaced(scores, role="probabilities", classes=classes if len(classes) == scores.shape[1] else ()),
            ]
    if graph.operators & REGRESSORS and len(specs) == 1 and specs[0].dtype.startswith("float"):
        return [_replaced(specs[0], role="prediction")]
    return list(specs)


def _replaced(spec: OutputSpec, **fields: Any) -> OutputSpec:
    return OutputSpec(**{name: getattr(spec, name) for name in spec.__struct_fields__} | fields)


def task_of(outputs: Sequence[OutputSpec]) -> Task:
    roles = {spec.role for spec in outputs}
    if "probabilities" in roles:
        return "classifier"
    return "regressor" if "prediction" in roles else "other"


def columns_of(inputs: Sequence[TensorSpec], rows: Rows) -> tuple[ColumnSpec, ...]:
    """Columns that callers may send by name: those of the sample, or inputs that hold a single column each.

    Missing values of float columns are passed on as NaN, as in a tensor.
    """
    if len(inputs) == 1 and len(set(rows.names)) == len(rows.names) == _width(inputs[0]):
        names = [(inputs[0], index, name) for index, name in enumerate(rows.names)]
    elif all(spec.shape == (None, 1) for spec in inputs) and len(inputs) > 1:
        names = [(spec, 0, spec.name) for spec in inputs]
    else:
        return ()
    return tuple(
        ColumnSpec(
            name=name,
            dtype=spec.dtype,
            tensor=spec.name,
            index=index,
            missing="NaN" if spec.dtype.startswith("float") else None,
        )
        for spec, index, name in names
    )


def _width(spec: TensorSpec) -> int | None:
    """Number of columns of a tensor with two dimensions; None for other tensors, and if the number is dynamic."""
    return spec.shape[1] if len(spec.shape) == 2 else None
