"""What --explain prints: every node, and the step that it came from."""

from itertools import pairwise
from typing import Any

import onnx
from onnx import TensorProto, helper

from skylane.convert.export.explain import NODES_MAX, explained


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
    assert "–: nobody says" in explained(graph([node("Sub", "Sub", ["x", "w"], "y")]))


def test_nodes_of_skl2onnx_are_traced_where_one_step_alone_fits(mixed: Any) -> None:
    operators = [("Imputer", "a"), ("Scaler", "b"), ("OneHotEncoder", "c"), ("LinearClassifier", "d"), ("Concat", "y")]
    names = ["x", *(made for _, made in operators)]
    nodes = [node("", op, [taken], made) for (op, made), taken in zip(operators, names, strict=False)]
    lines = [line.split() for line in explained(graph(nodes), mixed.estimator).splitlines()]
    said = {words[0]: words[1] for words in lines if len(words) > 1}
    assert {op: said[op] for op, _ in operators} == {
        "Imputer": "columntransformer/numbers/simpleimputer",
        "Scaler": "columntransformer/numbers/standardscaler",
        "OneHotEncoder": "columntransformer/texts",
        "LinearClassifier": "logisticregression",
        "Concat": "–",
    }
    assert "nobody says" not in explained(graph(nodes), mixed.estimator), "carrying values needs no step"


def test_long_graphs_are_cut_and_counted() -> None:
    names = ["x", *(f"v{index}" for index in range(NODES_MAX + 4)), "y"]
    nodes = [node("", "Relu", [one], other) for one, other in pairwise(names)]
    assert "and 5 more: 5 Relu" in explained(graph(nodes))
