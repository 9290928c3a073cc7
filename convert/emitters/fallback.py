"""Steps that nobody here emits: skl2onnx makes a graph of the one step, which is put into ours."""

from typing import TYPE_CHECKING, Any

from convert.emitters.features import Features
from convert.emitters.graph import Tensor
from convert.emitters.registry import Method
from convert.errors import Unconvertible
from convert.export import export_step
from convert.schema import NumberType
from convert.structure import has_trees

if TYPE_CHECKING:
    from convert.emitters.emission import Emission


def by_skl2onnx(estimator: Any, method: Method, features: Features, emission: "Emission") -> Features:
    """What skl2onnx makes of the step. Raises Unconvertible, naming the step."""
    single = emission.precision == "float32" or has_trees(estimator)
    numbers: NumberType = "float32" if single else "float64"
    tensor = emission.tensor(features)
    if tensor.dtype != "string":
        tensor = emission.cast(tensor, numbers)
    kind = "string" if tensor.dtype == "string" else numbers
    try:
        part = export_step(estimator, method, kind, features.width)
    except Unconvertible as error:
        raise Unconvertible(f"in the step {emission.graph.path}: {error}") from error
    part.graph.name = "skl2onnx"
    (name,) = emission.graph.splice(part, [tensor])
    return Features.of(Tensor(name, numbers, _width(estimator, method)))


def _width(estimator: Any, method: Method) -> int:
    """Columns of what the method answers."""
    if method == "transform":
        return int(estimator._n_features_out) if hasattr(estimator, "_n_features_out") else _named_out(estimator)
    if method == "predict_proba":
        return len(estimator.classes_)
    if method == "decision_function" and hasattr(estimator, "classes_"):
        return 1 if len(estimator.classes_) == 2 else len(estimator.classes_)
    return int(getattr(estimator, "n_outputs_", 1))


def _named_out(estimator: Any) -> int:
    return len(estimator.get_feature_names_out())
