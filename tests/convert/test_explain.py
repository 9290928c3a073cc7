"""What --explain prints: every node, and the step that it came from."""

from itertools import pairwise
from typing import Any

import onnx
from onnx import TensorProto, helper

from convert.explain import NODES_MAX, explained


def graph(nodes: list[onnx.NodeProto]) -> bytes:
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, 3]) for name in ("x", "y")]
    weight = helper.make_tensor("w", TensorProto.FLOAT, [3], [1.0, 2.0, 3.0])
    made = helper.make_graph(nodes, "g", values[:1], values[1:], [weight])
    content: bytes = helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)]).SerializeToString()
    return content


def node(name: str, op: str, inputs: list[str], output: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(op, inputs, [output], name=name, **attributes)


def test_each_node_names_its_step_its_inputs_and_its_weights() -> None:
    said = explained(
        graph(
            [
                node("numbers/scaler/Sub", "Sub", ["x", "w"], "numbers/scaler/Sub"),
                node("model/Softmax", "Softmax", ["numbers/scaler/Sub"], "y", axis=1),
            ]
        )
    )
    lines = [" ".join(line.split()) for line in said.splitlines()]
    assert "input float32 (rows, 3) x" in lines
    assert "Sub numbers/scaler x float32 3 Sub" in lines
    assert "Softmax model Sub axis=1 y" in lines
    assert any(line.startswith("2 nodes, 1 constants") for line in lines)


def test_a_graph_that_does_not_tell_says_so() -> None:
    assert "does not tell which step" in explained(graph([node("Sub", "Sub", ["x", "w"], "y")]))


def test_long_graphs_are_cut_and_counted() -> None:
    names = ["x", *(f"v{index}" for index in range(NODES_MAX + 4)), "y"]
    nodes = [node("", "Relu", [one], other) for one, other in pairwise(names)]
    assert "and 5 more: 5 Relu" in explained(graph(nodes))
