"""The gate: faults that a few friendly rows would not show."""

import warnings
from typing import Any

import numpy as np
import onnx
import pandas as pd
import pytest
from onnx import helper
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from skylane.convert.errors import Unconvertible
from skylane.convert.export.candidates import Built
from skylane.convert.export.export import export
from skylane.convert.export.session import Session
from skylane.convert.inspection.schema import infer
from skylane.convert.inspection.structure import task_of
from skylane.convert.verification.gate import Gate, expected_of, scale_of
from skylane.convert.verification.parity import Parity
from skylane.convert.verification.probes import probes

X = np.random.default_rng(0).normal(size=(120, 3))
CLASSES = (X[:, 0] + X[:, 1] > 0).astype(int)


def judged(estimator: Any, rows: Any, change: Any = None) -> Parity:
    """What the gate says about the estimator's own graph, after a change to it."""
    layout, frame = infer(estimator, rows)
    task = task_of(estimator)
    model = export(estimator, layout, "float32", task)
    if change is not None:
        change(model)
    content = model.SerializeToString()
    expected = expected_of(estimator, layout, frame, task)
    gate = Gate(estimator, layout, frame, task, expected, scale_of(expected, task))
    return gate.judge(Built(content, "float32", ""), Session(content), None, 1e-3)


def forest() -> Any:
    return RandomForestClassifier(8, random_state=0).fit(X.astype(np.float32), CLASSES)


def test_a_right_graph_is_right_in_every_case() -> None:
    found = judged(forest(), X.astype(np.float32))
    assert found.worst_difference < 1e-6
    assert found.decided_flips == 0
    assert [case.name for case in found.cases[:3]] == [
        "held-out rows", "held-out rows, one at a time", "held-out rows, 7 at a time"
    ]  # fmt: skip
    assert "thresholds and their neighbours" in [case.name for case in found.cases]


def strictly_less(model: onnx.ModelProto) -> None:
    """`<` instead of `<=`: no row of a sample lies exactly on a threshold, so none would show it."""
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.name == "nodes_modes":
                attribute.strings[:] = [mode.replace(b"BRANCH_LEQ", b"BRANCH_LT") for mode in attribute.strings]


def one_ulp_off(model: onnx.ModelProto) -> None:
    """Thresholds rounded up where they should be rounded down."""
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.name == "nodes_values":
                up = np.nextafter(np.array(attribute.floats, np.float32), np.float32(np.inf))
                attribute.floats[:] = up.tolist()


@pytest.mark.parametrize("fault", [strictly_less, one_ulp_off])
def test_faults_at_thresholds_show_only_at_thresholds(fault: Any) -> None:
    found = judged(forest(), X.astype(np.float32), fault)
    assert found.held_out_difference < 1e-6, "the sample does not show it"
    assert found.worst_case == "thresholds and their neighbours"
    assert found.worst_difference > 0.05


def answers_of_the_first_row(model: onnx.ModelProto) -> None:
    """Every row of a batch is answered as its first one is."""
    graph = model.graph
    graph.initializer.extend([
        helper.make_tensor("zero", onnx.TensorProto.INT64, [1], [0]),
        helper.make_tensor("one", onnx.TensorProto.INT64, [1], [1]),
    ])  # fmt: skip
    name = graph.input[0].name
    for node in graph.node:
        node.input[:] = ["blended" if value == name else value for value in node.input]
    graph.node.insert(0, helper.make_node("Slice", [name, "zero", "one", "zero"], ["first"]))
    graph.node.insert(1, helper.make_node("Shape", [name], ["shape"]))
    graph.node.insert(2, helper.make_node("Expand", ["first", "shape"], ["blended"]))


def test_answers_that_depend_on_the_batch_are_found() -> None:
    found = judged(forest(), X.astype(np.float32), answers_of_the_first_row)
    assert found.batch_effect > 0.1


def a_row_too_many(model: onnx.ModelProto) -> None:
    """Where there are no rows, one is made up."""
    graph = model.graph
    name = graph.input[0].name
    width = graph.input[0].type.tensor_type.shape.dim[1].dim_value
    graph.initializer.extend([
        helper.make_tensor("made up", onnx.TensorProto.FLOAT, [1, width], [0.0] * width),
        helper.make_tensor("zero", onnx.TensorProto.INT64, [1], [0]),
        helper.make_tensor("minus one", onnx.TensorProto.INT64, [1], [-1]),
        helper.make_tensor("end", onnx.TensorProto.INT64, [1], [2**31]),
    ])  # fmt: skip
    for node in graph.node:
        node.input[:] = ["joined" if value == name else value for value in node.input]
    graph.node.insert(0, helper.make_node("Concat", ["made up", name], ["joined"], axis=0))


def test_answers_to_no_rows_are_refused() -> None:
    with pytest.raises(Unconvertible, match="answers where there are no rows"):
        judged(forest(), X.astype(np.float32), a_row_too_many)


FRAME = pd.DataFrame(X, columns=list("abc")).assign(
    id=np.arange(120) * 7, code=np.arange(120) % 5, city=["Bern", "Oslo", "Köln"] * 40
)


def mixed(final: Any) -> Any:
    columns = ColumnTransformer(
        [
            ("texts", OneHotEncoder(handle_unknown="ignore"), ["city"]),
            ("codes", OneHotEncoder(), ["code"]),  # refuses codes that it does not know
            ("numbers", StandardScaler(), ["a", "b", "c", "id"]),
        ]
    )
    return make_pipeline(columns, final).fit(FRAME, X[:, 0] > 0)


def test_every_kind_of_probe_leaves_out_what_the_pipeline_refuses() -> None:
    estimator = mixed(LogisticRegression())
    layout, frame = infer(estimator, FRAME)

    def accepts(rows: pd.DataFrame) -> bool:
        try:
            estimator.predict(rows)
        except ValueError:
            return False
        return True

    made = {probe.name: probe.frame for probe in probes(estimator, layout, frame, accepts)}
    assert set(made) == {
        "texts never seen", "texts almost seen", "texts in capitals", "lowest values", "highest values", "zeros",
        "integers never seen", "integers above 2^24",
    }  # fmt: skip
    assert set(made["texts almost seen"]["city"]) <= {"Bern ", "Oslo ", "Köln ", "Bern", "Oslo", "Köln"}
    assert made["integers above 2^24"]["id"].max() == 2**24 + 1
    assert made["integers never seen"]["id"].max() == 120 * 7 - 6
    assert set(made["integers never seen"]["code"]) <= set(range(5))


def test_integers_that_single_precision_cannot_hold_are_judged_by_how_far_they_are() -> None:
    """The prediction is some hundred thousand standard deviations out: its sixth digit may differ, no more."""
    rows = pd.DataFrame({"id": np.arange(200), "x": np.random.default_rng(0).normal(size=200)})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = judged(LinearRegression().fit(rows, rows["id"] * 3.0 + rows["x"]), rows)
    far = next(case for case in found.cases if case.name == "integers above 2^24")
    assert 0 < far.worst_difference < 1e-3
