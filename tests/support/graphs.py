"""ONNX files as other people's tools write them: no manifest, no golden rows, and sometimes odd."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

Size = int | str | None
Value = tuple[str, int, Sequence[Size] | None]
Array = np.ndarray[Any, Any]

FLOAT = TensorProto.FLOAT
OPSETS = (helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3))


def model(
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[Value],
    outputs: Sequence[Value],
    constants: Mapping[str, Array] | None = None,
) -> onnx.ModelProto:
    """A model; a value is its name, its type and its sizes."""
    graph = helper.make_graph(
        list(nodes),
        "graph",
        [helper.make_tensor_value_info(*value) for value in inputs],
        [helper.make_tensor_value_info(*value) for value in outputs],
        [numpy_helper.from_array(array, name) for name, array in (constants or {}).items()],
    )
    return helper.make_model(graph, producer_name="a tool", opset_imports=OPSETS, ir_version=9)


def save(made: onnx.ModelProto, path: Path) -> Path:
    """Write a file, with the directories that it is in."""
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(made, path)
    return path


def affine(batch: Size = "N", scale: float = 2.0) -> onnx.ModelProto:
    """`y` (rows, 3) = `x` (rows, 4) times a matrix of one number, plus 1."""
    nodes = [helper.make_node("MatMul", ["x", "w"], ["p"]), helper.make_node("Add", ["p", "b"], ["y"])]
    constants = {"w": np.full((4, 3), scale, np.float32), "b": np.ones(3, np.float32)}
    return model(nodes, [("x", FLOAT, [batch, 4])], [("y", FLOAT, [batch, 3])], constants)


def reshaping(batch: int) -> onnx.ModelProto:
    """The batch size is a constant inside the graph: no other one works."""
    nodes = [helper.make_node("Reshape", ["x", "shape"], ["y"])]
    constants = {"shape": np.array([batch, 2, 2], np.int64)}
    return model(nodes, [("x", FLOAT, [batch, 4])], [("y", FLOAT, [batch, 2, 2])], constants)


def centred() -> onnx.ModelProto:
    """Takes the mean of the batch from each row: rows depend on each other."""
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["mean"], axes=[0], keepdims=1),
        helper.make_node("Sub", ["x", "mean"], ["y"]),
    ]
    return model(nodes, [("x", FLOAT, ["N", 4])], [("y", FLOAT, ["N", 4])])


def quantized() -> onnx.ModelProto:
    """Rounds to 8 bits on a scale that is taken from the whole batch, as dynamic quantization does."""
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "scale", "zero"]),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["y"]),
    ]
    return model(nodes, [("x", FLOAT, ["N", 4])], [("y", FLOAT, ["N", 4])])


def summed() -> onnx.ModelProto:
    """One number for the whole batch."""
    nodes = [helper.make_node("ReduceSum", ["x"], ["y"], keepdims=0)]
    return model(nodes, [("x", FLOAT, ["N", 4])], [("y", FLOAT, [])])


def noisy() -> onnx.ModelProto:
    """Adds random numbers, as a network does that was exported while it trained."""
    nodes = [
        helper.make_node("RandomNormalLike", ["x"], ["noise"]),
        helper.make_node("Add", ["x", "noise"], ["y"]),
    ]
    return model(nodes, [("x", FLOAT, ["N", 4])], [("y", FLOAT, ["N", 4])])


def typed(element: int, shape: Sequence[Size] = ("N", 2)) -> onnx.ModelProto:
    """`y` = `x`, of any type and shape."""
    nodes = [helper.make_node("Identity", ["x"], ["y"])]
    return model(nodes, [("x", element, shape)], [("y", element, shape)])


def pooled() -> onnx.ModelProto:
    """A sequence of any length, in steps of three numbers, to their mean."""
    nodes = [helper.make_node("ReduceMean", ["steps"], ["mean"], axes=[1], keepdims=0)]
    return model(nodes, [("steps", FLOAT, ["N", "length", 3])], [("mean", FLOAT, ["N", 3])])


def two_inputs() -> onnx.ModelProto:
    """A table of five numbers looked up by `id`, times `weight`; and a text that is passed on."""
    nodes = [
        helper.make_node("Gather", ["table", "id"], ["row"]),
        helper.make_node("Mul", ["row", "weight"], ["score"]),
        helper.make_node("Identity", ["city"], ["where"]),
    ]
    inputs: list[Value] = [
        ("id", TensorProto.INT64, ["N", 1]), ("weight", FLOAT, ["N", 1]), ("city", TensorProto.STRING, ["N", 1]),
    ]  # fmt: skip
    outputs: list[Value] = [("score", FLOAT, ["N", 1]), ("where", TensorProto.STRING, ["N", 1])]
    return model(nodes, inputs, outputs, {"table": np.arange(5, dtype=np.float32)})


def zipmapped(labels: Sequence[str] | Sequence[int] = ("no", "yes")) -> onnx.ModelProto:
    """A linear classifier as skl2onnx and onnxmltools export it: probabilities are a list of dictionaries."""
    kind: dict[str, Any] = (
        {"classlabels_strings": list(labels)} if isinstance(labels[0], str) else {"classlabels_ints": list(labels)}
    )
    zipped = {key.replace("_ints", "_int64s"): value for key, value in kind.items()}
    nodes = [
        helper.make_node(
            "LinearClassifier", ["x"], ["label", "scores"], domain="ai.onnx.ml", coefficients=[1.0, 1.0, -1.0, -1.0],
            intercepts=[0.0, 0.0], post_transform="SOFTMAX", **kind,
        ),
        helper.make_node("ZipMap", ["scores"], ["probabilities"], domain="ai.onnx.ml", **zipped),
    ]  # fmt: skip
    element = TensorProto.STRING if isinstance(labels[0], str) else TensorProto.INT64
    made = model(nodes, [("x", FLOAT, ["N", 2])], [("label", element, ["N"]), ("probabilities", FLOAT, None)])
    key = helper.make_map_type_proto(element, helper.make_tensor_type_proto(FLOAT, []))
    made.graph.output[1].type.CopyFrom(helper.make_sequence_type_proto(key))
    return made


def optional_input() -> onnx.ModelProto:
    """An input of the type optional."""
    made = typed(FLOAT)
    inner = helper.make_tensor_type_proto(FLOAT, ["N", 2])
    made.graph.input[0].type.CopyFrom(helper.make_optional_type_proto(inner))
    return made


def with_weights_beside(path: Path, size: int = 4) -> Path:
    """A file whose weights lie in another one."""
    made = affine()
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save_model(made, path, save_as_external_data=True, location="weights.bin", size_threshold=size)
    return path
