"""The candidates: what each changes in a graph, and when it says that there is nothing to change."""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import Ridge
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import QuantileTransformer, StandardScaler

from skylane.convert.errors import Unconvertible
from skylane.convert.export.candidates import RECIPES, Built, NotApplicable, Source, registry, split_forest
from skylane.convert.export.onnx_graph import fuse_products, operators
from skylane.convert.export.session import Session
from skylane.convert.inspection.schema import infer
from skylane.convert.inspection.structure import task_of

X = np.random.default_rng(0).normal(size=(400, 24)) * 3 + 5
RECIPE = {recipe.name: recipe.build for recipe in RECIPES}


def source_of(estimator: Any) -> Source:
    layout, frame = infer(estimator, X)
    return Source(estimator, layout, task_of(estimator), frame)


@pytest.fixture(scope="module")
def network() -> Source:
    """Three products: of 24, 160 and 160 inputs, the middle one above 64 KiB."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it need not converge to be converted
        estimator = make_pipeline(
            StandardScaler(), MLPRegressor(hidden_layer_sizes=(160, 160), max_iter=40, random_state=0)
        )
        return source_of(estimator.fit(X, X[:, 0] - X[:, 1] * 0.3))


@pytest.fixture(scope="module")
def forest() -> Source:
    return source_of(RandomForestClassifier(3, random_state=0).fit(X, X[:, 0] > 5))


def answers(built: Built, source: Source) -> Any:
    return Session(built.content).run(source.layout.tensors(source.frame, built.numbers))[-1]


@pytest.mark.parametrize(
    ("name", "quantized", "kept"),
    [
        pytest.param("int8 dynamic", 3, 0, id="dynamic: all"),
        pytest.param("int8 dynamic, inner", 1, 2, id="dynamic: the inner ones"),
        pytest.param("int8 static", 3, 0, id="static: all"),
        pytest.param("int8 static, inner", 1, 2, id="static: the inner ones"),
    ],
)
def test_products_become_bytes_and_the_scaler_does_not(network: Source, name: str, quantized: int, kept: int) -> None:
    built = RECIPE[name](network)
    model = onnx.load_from_string(built.content)
    weights = [weight for weight in model.graph.initializer if len(weight.dims) == 2]
    assert [weight.data_type for weight in weights].count(TensorProto.INT8) == quantized == built.quantized_nodes
    assert [weight.data_type for weight in weights].count(TensorProto.FLOAT) == kept
    assert "Scaler" in operators(model)
    assert f"{quantized} of " in built.note
    expected = network.estimator.predict(X).reshape(-1, 1)
    error = np.abs(answers(built, network) - expected).max() / expected.std()
    assert 1e-6 < error < 0.1, "it is quantized, and not garbage"


def test_static_scales_leave_a_row_alone_and_dynamic_ones_do_not(network: Source) -> None:
    """A neighbour a thousand times as large takes all the steps of a shared scale."""
    rows = X[:8].astype(np.float32)
    beside = np.vstack([rows, rows[:1] * 1000])
    for name, steady in (("int8 static", True), ("int8 dynamic", False)):
        session = Session(RECIPE[name](network).content)
        alone, among = session.run({"features": rows})[0], session.run({"features": beside})[0][:8]
        assert np.array_equal(alone, among) == steady


def test_large_weights_are_stored_in_half_precision(network: Source) -> None:
    built, plain = RECIPE["float16 weights"](network), RECIPE["float32"](network)
    assert len(built.content) < 0.56 * len(plain.content)
    assert built.note == "2 of 6 weights stored in half precision, computed in single"
    expected = network.estimator.predict(X).reshape(-1, 1)
    assert np.abs(answers(built, network) - expected).max() < 2e-3 * expected.std()


def test_a_weight_that_half_precision_cannot_hold_is_left_as_it_is() -> None:
    estimator = make_pipeline(StandardScaler(), MLPRegressor(hidden_layer_sizes=(64,), max_iter=1, random_state=0))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        estimator.fit(X, X[:, 0])
    estimator[-1].coefs_[0][0, 0] = 1e7
    with pytest.raises(NotApplicable, match="half precision can hold"):
        RECIPE["float16 weights"](source_of(estimator))


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("float16 weights", "no weight of the graph has 4 KiB"),
        ("int8 dynamic", "0 of 2 nodes can be quantized: the graph has no matrix product"),
        ("int8 dynamic, inner", "the graph has no matrix product"),
        ("int8 static", "the graph has no matrix product"),
        ("int8 static, inner", "the graph has no matrix product"),
    ],
)
def test_a_forest_has_nothing_to_quantize(forest: Source, name: str, reason: str) -> None:
    with pytest.raises(NotApplicable, match=reason):
        RECIPE[name](forest)


@pytest.mark.parametrize(
    ("sizes", "reason"),
    [
        pytest.param((300,), "there is no inner layer: the graph has 2 matrix products", id="one hidden layer"),
        pytest.param((16, 16), "the weights have 3 KiB: below 64 int8 is no faster", id="small layers"),
    ],
)
def test_inner_layers_alone_are_quantized_only_where_it_can_pay(sizes: tuple[int, ...], reason: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        estimator = make_pipeline(StandardScaler(), MLPRegressor(hidden_layer_sizes=sizes, max_iter=1)).fit(X, X[:, 0])
    with pytest.raises(NotApplicable, match=reason):
        RECIPE["int8 static, inner"](source_of(estimator))


def test_equal_pipelines_have_equal_candidates(network: Source) -> None:
    again = Source(network.estimator, network.layout, network.task, network.frame)
    for recipe in RECIPES:
        try:
            assert recipe.build(network).content == recipe.build(again).content, recipe.name
        except NotApplicable:
            continue


def chain(*nodes: onnx.NodeProto, bias: Any = (1.0, 2.0), outputs: tuple[str, ...] = ("y",)) -> onnx.ModelProto:
    weights = [
        numpy_helper.from_array(np.ones((3, 2), np.float32), "w"),
        numpy_helper.from_array(np.array(bias, np.float32), "b"),
    ]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, None]) for name in outputs]
    rows = helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 3])
    return helper.make_model(helper.make_graph(list(nodes), "g", [rows], values, weights), ir_version=9)


PRODUCT = helper.make_node("MatMul", ["x", "w"], ["p"])


@pytest.mark.parametrize(
    ("model", "left"),
    [
        pytest.param(lambda: chain(PRODUCT, helper.make_node("Add", ["p", "b"], ["y"])), {"Gemm": 1}, id="fused"),
        pytest.param(
            lambda: chain(PRODUCT, helper.make_node("Add", ["b", "p"], ["y"])), {"Gemm": 1}, id="the bias first"
        ),
        pytest.param(
            lambda: chain(PRODUCT, helper.make_node("Add", ["p", "b"], ["y"]), bias=[[1.0, 2.0]]), {"Gemm": 1},
            id="a bias of one row",
        ),
        pytest.param(
            lambda: chain(PRODUCT, helper.make_node("Add", ["p", "b"], ["y"]), bias=[1.0]), {"MatMul": 1, "Add": 1},
            id="not a bias of one number",
        ),
        pytest.param(
            lambda: chain(PRODUCT, helper.make_node("Add", ["p", "b"], ["y"]), outputs=("y", "p")),
            {"MatMul": 1, "Add": 1}, id="not where the product itself is an answer",
        ),
        pytest.param(
            lambda: chain(PRODUCT, helper.make_node("Add", ["p", "p"], ["y"])), {"MatMul": 1, "Add": 1},
            id="not where nothing constant is added",
        ),
    ],
)  # fmt: skip
def test_a_product_and_its_bias_are_one_node(model: Callable[[], onnx.ModelProto], left: dict[str, int]) -> None:
    plain, fused = model(), model()
    fuse_products(fused)
    assert dict(operators(fused)) == left
    rows = {"x": np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)}
    for before, after in zip(*(Session(m.SerializeToString()).run(rows) for m in (plain, fused)), strict=True):
        np.testing.assert_allclose(after, before, rtol=1e-6)


def test_forests_that_stay_in_the_cache_are_not_split(forest: Source) -> None:
    with pytest.raises(NotApplicable, match=r"its trees have \d+ nodes, which stay in the cache: from 200000 on"):
        RECIPE["emitted, split"](forest)


def test_large_forests_are_split(forest: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(split_forest, "NODES_MIN", 1)
    monkeypatch.setattr(split_forest, "NODES_MAX", 1)
    built = RECIPE["emitted, split"](forest)
    assert operators(onnx.load_from_string(built.content))["TreeEnsemble"] == 3
    np.testing.assert_allclose(answers(built, forest), forest.estimator.predict_proba(X), atol=1e-6)


def test_of_large_forests_only_what_may_gain_something_is_made(forest: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "NODES_LARGE", 1)
    assert RECIPE["emitted float32"](forest).numbers == "float32"
    for name, reason in (
        ("emitted mixed", r"its trees have \d+ nodes, which round their input .* doubles would gain nothing"),
        ("float32", r"its trees have \d+ nodes, which skl2onnx takes long over: only graphs of our own"),
        ("int8 dynamic", r"its trees have \d+ nodes, which skl2onnx takes long over"),
    ):
        with pytest.raises(NotApplicable, match=reason):
            RECIPE[name](forest)


def test_without_a_graph_of_ours_skl2onnx_is_worth_the_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "NODES_LARGE", 1)
    fresh = source_of(RandomForestClassifier(3, random_state=0).fit(X, X[:, 0] > 5))
    monkeypatch.setattr(registry, "EXPORT_S_MAX", 0.0)
    assert RECIPE["float32"](fresh).note == "as exported"


def test_skl2onnx_is_given_up_where_it_takes_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "EXPORT_S_MAX", 0.0)
    source = source_of(make_pipeline(QuantileTransformer(n_quantiles=20), Ridge()).fit(X, X[:, 0]))
    assert RECIPE["emitted float32"](source).numbers == "float32"
    for name in ("float32", "float64"):
        with pytest.raises(NotApplicable, match="skl2onnx takes longer than 10 s over it: only graphs of our own"):
            RECIPE[name](source)


@pytest.mark.parametrize(
    ("name", "estimator", "reason"),
    [
        pytest.param("emitted, one node", Ridge(), "does not end in boosted trees or a forest", id="no trees"),
        pytest.param(
            "emitted, one node", RandomForestClassifier(3), "of two classes it would hold two numbers", id="two classes"
        ),
        pytest.param(
            "emitted mixed, one node", RandomForestClassifier(3), "round their input to single", id="nothing to gain"
        ),
    ],
)
def test_one_node_answers_all_only_where_it_can(name: str, estimator: Any, reason: str) -> None:
    with pytest.raises((NotApplicable, Unconvertible), match=reason):
        RECIPE[name](source_of(estimator.fit(X, X[:, 0] > 5)))


def test_behind_a_scaler_one_node_takes_doubles() -> None:
    boosting = GradientBoostingClassifier(n_estimators=3, random_state=0)
    source = source_of(make_pipeline(StandardScaler(), boosting).fit(X, X[:, 0] > 5))
    built = RECIPE["emitted mixed, one node"](source)
    assert built.numbers == "float64"
    assert operators(onnx.load_from_string(built.content))["TreeEnsembleClassifier"] == 1


def test_trees_that_come_first_are_split_in_single_precision(forest: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    """They would round doubles anyway; behind a scaler they would not."""
    monkeypatch.setattr(split_forest, "NODES_MIN", 1)
    behind = source_of(make_pipeline(StandardScaler(), RandomForestClassifier(3, random_state=0)).fit(X, X[:, 0] > 5))
    assert [RECIPE["emitted, split"](source).numbers for source in (forest, behind)] == ["float32", "float64"]
