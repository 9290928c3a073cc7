"""The whole way: what a published version promises, held against scikit-learn and the files on disk."""

import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.linear_model import Ridge
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skylane.convert import BadArgument, BadRows, OutOfTolerance, Published, Unconvertible, convert_pipeline, publish
from skylane.convert.export.candidates import RECIPES, Built, Recipe, Source
from skylane.convert.publishing import conversion
from skylane.convert.publishing.conversion import Conversion
from skylane.convert.verification.choose import choose
from skylane.manifest import MODEL_FILE, decode, verify_files
from skylane.onnx_runtime import onnxruntime as ort

Publish = Callable[..., Published]


def graph_answers(published: Published, rows: Any) -> dict[str, Any]:
    """What the published file says, through a session of our own."""
    numbers = published.manifest.tensors[0].dtype
    assert numbers in ("float32", "float64")
    inputs = published.conversion.layout.tensors(pd.DataFrame(rows), numbers)
    session = ort.InferenceSession((published.path / MODEL_FILE).read_bytes())
    return dict(zip([output.name for output in session.get_outputs()], session.run(None, inputs), strict=True))


def test_the_published_graph_answers_as_the_pipeline(publish_to: Publish, mixed: Any) -> None:
    published = publish_to(mixed, target=mixed.target, metrics={"auc": 0.9}, data_sha256="0" * 64)
    answers = graph_answers(published, mixed.rows)
    np.testing.assert_allclose(answers["probabilities"], mixed.estimator.predict_proba(mixed.rows), atol=1e-6)
    assert answers["label"].tolist() == mixed.estimator.predict(mixed.rows).tolist()


def test_the_manifest_on_disk_describes_tensors_columns_and_outputs(publish_to: Publish, mixed: Any) -> None:
    published = publish_to(mixed)
    verify_files(published.path)
    manifest = decode((published.path / "manifest.json").read_bytes())
    assert manifest == published.manifest
    assert [(tensor.name, tensor.dtype, tensor.shape) for tensor in manifest.tensors] == [
        ("numbers", "float32", (None, 2)),
        ("strings", "string", (None, 2)),
    ]
    # Columns are in the pipeline's order; within a tensor they lie as its one branch takes them.
    assert [(c.name, c.tensor, c.index, c.missing) for c in manifest.columns] == [
        ("age", "numbers", 1, "NaN"),
        ("city", "strings", 1, ""),
        ("income", "numbers", 0, "NaN"),
        ("plan", "strings", 0, ""),
    ]
    assert [(o.name, o.dtype, o.shape, o.role, o.classes) for o in manifest.outputs] == [
        ("label", "string", (None,), "label", ()),
        ("probabilities", "float32", (None, 2), "probabilities", ("leaves", "stays")),
    ]


def test_a_pipeline_of_numbers_alone_has_one_tensor(publish_to: Publish, linear: Any) -> None:
    manifest = publish_to(linear).manifest
    assert [(tensor.name, tensor.shape) for tensor in manifest.tensors] == [("features", (None, 4))]
    assert manifest.columns == ()
    assert [output.classes for output in manifest.outputs] == [(), (0, 1)]


def test_golden_rows_are_real_rows_and_one_full_of_gaps(publish_to: Publish, mixed: Any) -> None:
    published = publish_to(mixed)
    golden = published.manifest.golden
    assert [len(rows) for rows in golden.inputs.values()] == [8, 8]
    assert golden.inputs["numbers"][-1] == [None, None]
    assert golden.inputs["strings"][-1] == ["", ""]
    session = ort.InferenceSession((published.path / MODEL_FILE).read_bytes())
    numbers = np.array(golden.inputs["numbers"], dtype=np.float32)  # None becomes NaN
    strings = np.array(golden.inputs["strings"], dtype=object)
    probabilities = session.run(["probabilities"], {"numbers": numbers, "strings": strings})[0]
    assert probabilities.tolist() == golden.outputs["probabilities"]


def test_lineage_tells_where_the_version_comes_from(publish_to: Publish, linear: Any) -> None:
    lineage = publish_to(linear, metrics={"auc": np.float64(0.9)}, data_sha256="a" * 64, pipeline_sha256="b" * 64)
    found = lineage.manifest.lineage
    assert found.metrics == {"auc": 0.9}
    assert (found.data_sha256, found.pipeline_sha256) == ("a" * 64, "b" * 64)
    assert "LogisticRegression" in found.estimator
    assert {"scikit-learn", "onnxruntime", "skl2onnx"} <= found.libraries.keys()


def test_the_same_pipeline_twice_is_one_version(publish_to: Publish, linear: Any) -> None:
    first, second = publish_to(linear), publish_to(linear)
    assert (first.created, second.created) == (True, False)
    assert (second.version, second.path) == (first.version, first.path)


def test_a_retrained_pipeline_is_the_next_version(publish_to: Publish, linear: Any) -> None:
    first = publish_to(linear)
    retrained = type(linear)(
        make_pipeline(StandardScaler(), Ridge()).fit(linear.rows, linear.target), linear.rows, linear.target
    )
    second = publish_to(retrained)
    assert (first.version, second.version) == (1, 2)


def timed(faster: int) -> Callable[..., list[dict[str, float]]]:
    """Times of which one is shorter by no more than noise."""

    def latencies(candidates: list[Any], sizes: Any) -> list[dict[str, float]]:
        return [
            dict.fromkeys(("1", "64", "1024"), 10.0 if index == faster else 11.0) for index in range(len(candidates))
        ]

    return latencies


def test_a_whim_of_the_clock_makes_no_new_version(publish_to: Publish, linear: Any, monkeypatch: Any) -> None:
    """Two graphs equally fast but for noise: the one that is published already stays."""
    monkeypatch.setattr(conversion, "latencies", timed(0))
    first = publish_to(linear)
    exported = [candidate.name for candidate in first.candidates].index("float32")
    monkeypatch.setattr(conversion, "latencies", timed(exported))
    assert not publish_to(linear).created
    assert chosen(first) == "emitted float32"


def test_a_pipeline_trained_again_keeps_the_types_that_callers_know(
    publish_to: Publish, linear: Any, monkeypatch: Any
) -> None:
    """Far numbers took doubles; of near ones, for which single precision would do, the next version takes them too."""
    far = type(linear)(linear.estimator.__sklearn_clone__(), linear.rows * 1e-3 + 1e6, None)
    far.estimator.fit(far.rows, linear.target)
    assert publish_to(far).manifest.tensors[0].dtype == "float64"
    second = publish_to(linear)
    assert (second.version, second.manifest.tensors[0].dtype) == (2, "float64")


@pytest.mark.parametrize("pipeline", ["linear", "mixed"])
@given(drawn=st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
def test_law_the_interface_does_not_depend_on_the_clock(pipeline: str, drawn: st.DataObject, request: Any) -> None:
    found = converted(request.getfixturevalue(pipeline))
    times = drawn.draw(st.lists(st.floats(0.1, 1e4), min_size=len(found.verdicts), max_size=len(found.verdicts)))
    verdicts = [
        replace(verdict, latency_us=dict.fromkeys(verdict.latency_us, us))
        for verdict, us in zip(found.verdicts, times, strict=True)
    ]
    at = choose(verdicts, found.tolerance, "auto", batches=found.batches)
    assert verdicts[at].contract.interface == found.verdicts[found.chosen].contract.interface
    assert found.tried[at].built.numbers == "float32"


_converted: dict[int, Conversion] = {}


def converted(trained: Any) -> Conversion:
    """Once for all examples."""
    if id(trained) not in _converted:
        _converted[id(trained)] = convert_pipeline(trained.estimator, trained.rows).conversion
    return _converted[id(trained)]


def chosen(published: Published) -> str:
    """The candidate's name."""
    (name,) = (candidate.name for candidate in published.candidates if candidate.chosen)
    return name


def corrupted(source: Source) -> Built:
    """The graph with one weight changed: fast, small, and wrong."""
    model = source.exported("float32")
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.name == "coefficients":
                attribute.floats[0] += 0.5
    return Built(model.SerializeToString(), "float32", "one weight changed")


def failing(source: Source) -> Built:
    """A graph that loads and then fails on every row."""
    model = source.exported("float32")
    shape = onnx.helper.make_tensor("impossible", onnx.TensorProto.INT64, [1], [7919])
    model.graph.initializer.append(shape)
    node = onnx.helper.make_node("Reshape", ["features", "impossible"], ["reshaped"])
    model.graph.node.insert(0, node)
    model.graph.output.append(onnx.helper.make_tensor_value_info("reshaped", onnx.TensorProto.FLOAT, [7919]))
    return Built(model.SerializeToString(), "float32", "impossible shape")


def test_a_wrong_graph_loses_to_a_right_one(publish_to: Publish, linear: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(conversion, "RECIPES", [Recipe("wrong", corrupted, False), *RECIPES])
    candidates = {candidate.name: candidate for candidate in publish_to(linear).candidates}
    assert not candidates["wrong"].chosen
    assert candidates["wrong"].worst_difference > 0.01
    assert "outside tolerance 'close': differs by" in candidates["wrong"].note


def test_a_wrong_graph_alone_is_not_published(
    publish_to: Publish, linear: Any, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setattr(conversion, "RECIPES", [Recipe("wrong", corrupted, False)])
    with pytest.raises(OutOfTolerance, match=r"wrong: differs by 0\.\d+ \(.*\), allowed 0\.001"):
        publish_to(linear)
    assert not (tmp_path / "models").exists()


def test_a_wrong_graph_by_force_is_published_and_marked(publish_to: Publish, linear: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(conversion, "RECIPES", [Recipe("wrong", corrupted, False)])
    published = publish_to(linear, force=True)
    assert published.manifest.tolerance.forced
    assert "chosen by force although it differs by" in published.candidates[0].note


def test_a_graph_that_fails_on_rows_is_left_out(publish_to: Publish, linear: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(conversion, "RECIPES", [Recipe("failing", failing, False), *RECIPES])
    published = publish_to(linear)
    assert "fails on rows of the sample" in published.conversion.skipped["failing"]


def test_force_within_the_tolerance_is_no_force(publish_to: Publish, linear: Any) -> None:
    assert not publish_to(linear, force=True).manifest.tolerance.forced


@pytest.fixture(scope="module")
def network() -> tuple[Any, Any, Any]:
    """A network with three matrix products: there is something to quantize."""
    random = np.random.default_rng(0)
    rows = random.normal(size=(400, 8))
    target = (np.abs(rows[:, :2]).sum(axis=1) > 1.5).astype(int)
    estimator = make_pipeline(
        StandardScaler(), MLPClassifier((64, 32), solver="lbfgs", max_iter=60, tol=1e-2, random_state=0)
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it need not converge to be converted
        estimator.fit(rows, target)
    return estimator, rows, target


def test_int8_says_how_many_nodes_it_quantized(tmp_path: Path, network: Any) -> None:
    estimator, rows, target = network
    published = publish(
        estimator, rows, name="n", repository=tmp_path, target=target, tolerance="quantized", quantize="require"
    )
    candidates = {candidate.name: candidate for candidate in published.candidates}
    dynamic, static = candidates["int8 dynamic"], candidates["int8 static"]
    assert dynamic.chosen or static.chosen
    assert static.note.startswith("3 of 15 nodes quantized, scales from 200 rows")
    assert dynamic.note.startswith("3 of 15 nodes quantized")
    assert "a row's answer varies by up to" in dynamic.note, "a batch shares the scale of its activations"
    assert "varies" not in static.note
    assert published.conversion.verdicts[published.conversion.chosen].quantized
    operators = {
        item.recipe.name: [node.op_type for node in onnx.load_from_string(item.built.content).graph.node]
        for item in published.conversion.tried
    }
    assert operators["int8 dynamic"].count("MatMulInteger") == 3
    assert operators["int8 static"].count("DequantizeLinear") >= 6, "three weights and three inputs"
    assert "Scaler" in operators["int8 static"], "the scaler stays in single precision"
    assert dynamic.bytes < candidates["float32"].bytes * 0.65


def test_int8_is_not_close_enough_by_default(tmp_path: Path, network: Any) -> None:
    estimator, rows, _ = network
    published = publish(estimator, rows, name="n", repository=tmp_path)
    assert [candidate.name for candidate in published.candidates if candidate.chosen] != ["int8 dynamic"]


def test_required_quantization_without_a_matrix_product_is_refused(publish_to: Publish, linear: Any) -> None:
    with pytest.raises(Unconvertible, match="0 of 2 nodes can be quantized: the graph has no matrix product"):
        publish_to(linear, quantize="require")


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        pytest.param({"name": "../up"}, BadArgument, "is not a valid model name", id="a name that is a path"),
        pytest.param({"tolerance": "loose"}, BadArgument, "choose exact, close or quantized", id="unknown tolerance"),
        pytest.param({"quantize": "yes"}, BadArgument, "choose auto, never or require", id="unknown quantize"),
        pytest.param({"data_sha256": "abc"}, BadArgument, "expected 64 digits", id="a sum that is none"),
        pytest.param({"target": [1, 2]}, BadRows, "2 values for 200 rows", id="a target of another length"),
        pytest.param({"target": "y"}, BadRows, "no column 'y'", id="a target column of an array"),
    ],
)
def test_wrong_arguments_are_refused_before_the_work(
    publish_to: Publish, linear: Any, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        publish_to(linear, **options)


def test_equal_pipelines_trained_apart_have_equal_graphs(publish_to: Publish, linear: Any) -> None:
    """A graph depends on what was learnt, not on when: otherwise every run would make a version."""
    again = type(linear)(linear.estimator.__sklearn_clone__().fit(linear.rows, linear.target), linear.rows, None)
    first, second = publish_to(linear), publish_to(again, name="other")
    graphs = [[item.built.content for item in found.conversion.tried] for found in (first, second)]
    assert graphs[0] == graphs[1]


def test_training_rows_that_do_not_fit_are_refused_before_the_work(mixed: Any) -> None:
    said: list[str] = []
    with pytest.raises(BadRows, match="training data: the rows lack 1 of the pipeline's 4 columns: 'age'"):
        convert_pipeline(mixed.estimator, mixed.rows, training=mixed.rows.drop(columns="age"), say=said.append)
    assert said == []
