"""Steps without an emitter of ours: skl2onnx makes a graph of the one step, which is spliced into ours."""

from typing import TYPE_CHECKING, Any

import onnx

from skylane.convert.errors import Defective, Unconvertible
from skylane.convert.export.emitters.features import Features
from skylane.convert.export.emitters.graph import ELEMENT, DType, Tensor
from skylane.convert.export.emitters.registry import Method
from skylane.convert.export.export import export_step, knows_class, unknown_class
from skylane.convert.export.other_libraries import library_advice
from skylane.convert.export.session import Session
from skylane.convert.inspection.structure import has_trees

if TYPE_CHECKING:
    from skylane.convert.export.emitters.emission import Emission


def by_skl2onnx(estimator: Any, method: Method, features: Features, emission: "Emission") -> Features:
    """The step as skl2onnx converts it. Raises Unconvertible, naming the step."""
    if not knows_class(type(estimator)):
        raise Unconvertible(
            f"in the step {emission.at}: {unknown_class(type(estimator).__name__, library_advice(estimator))}"
        )
    tensor = emission.exact(features)
    failures: list[Unconvertible] = []
    for dtype in _dtypes(estimator, tensor):
        try:
            part = export_step(estimator, method, dtype, features.width)
            if part.functions:
                raise Unconvertible(
                    f"skl2onnx makes functions for {type(estimator).__name__}, which cannot be embedded"
                )
            Session(part.SerializeToString())
        except Unconvertible as error:
            failures.append(error)
            continue
        part.graph.name = "skl2onnx"
        (name,) = emission.graph.splice(part, [tensor if dtype == "string" else emission.cast(tensor, dtype)])
        return Features.of(Tensor(name, _type(part), _width(estimator, method)))
    first = failures[0]
    if isinstance(first, Defective):
        raise Defective(f"in the step {emission.at}: {first}") from first
    raise Unconvertible(f"in the step {emission.at}: {first}") from first


def _dtypes(estimator: Any, tensor: Tensor) -> tuple[DType, ...]:
    """Input types to try, in order. Trees round their input to float32, and many operators have no float64 kernel."""
    if tensor.dtype == "string":
        return ("string",)
    return ("float64", "float32") if tensor.dtype == "float64" and not has_trees(estimator) else ("float32",)


def _type(part: onnx.ModelProto) -> DType:
    declared = part.graph.output[0].type.tensor_type.elem_type
    return next(dtype for dtype, element in ELEMENT.items() if element == declared)


def _width(estimator: Any, method: Method) -> int:
    """Columns of the method's output."""
    if method == "transform":
        return int(estimator._n_features_out) if hasattr(estimator, "_n_features_out") else _output_names(estimator)
    if method == "predict_proba":
        return len(estimator.classes_)
    if method == "decision_function" and hasattr(estimator, "classes_"):
        return 1 if len(estimator.classes_) == 2 else len(estimator.classes_)
    return int(getattr(estimator, "n_outputs_", 1))


def _output_names(estimator: Any) -> int:
    return len(estimator.get_feature_names_out())
