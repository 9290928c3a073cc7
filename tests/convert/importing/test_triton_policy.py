"""config.pbtxt → model.toml: every field is kept, or listed with what holds instead."""

import tomllib
from typing import Any

import pytest

from skylane import policy as policies
from skylane.convert.errors import Unconvertible
from skylane.convert.importing.text_proto import parse
from skylane.convert.importing.triton_policy import differences, plan_of
from skylane.manifest import TensorSpec


@pytest.mark.parametrize(
    ("config", "toml"),
    [
        pytest.param("", {}, id="nothing"),
        pytest.param("max_batch_size: 8", {"batching": {"max_batch_rows": 8}}, id="the largest batch"),
        pytest.param("max_batch_size: 0", {}, id="no batches: rows are the first dimension"),
        pytest.param("max_batch_size: 100000", {"batching": {"max_batch_rows": 65536}}, id="beyond our bound"),
        pytest.param(
            "dynamic_batching { preferred_batch_size: [4, 16] max_queue_delay_microseconds: 500 } max_batch_size: 64",
            {"batching": {"max_batch_rows": 16, "max_queue_delay_ms": 0.5}},
            id="preferred sizes and a delay, whatever the order of the fields",
        ),
        pytest.param("dynamic_batching { }", {}, id="dynamic batching as it is by default"),
        pytest.param(
            "instance_group [{ count: 2 kind: KIND_CPU }, { kind: KIND_GPU gpus: 0 }]",
            {"batching": {"instances": 3}},
            id="instances of several groups",
        ),
        pytest.param("version_policy { latest { num_versions: 3 } }", {"versions": {"keep": 3}}, id="the newest ones"),
        pytest.param("version_policy { all { } }", {"versions": {"keep": 100}}, id="all versions"),
        pytest.param("version_policy { specific { versions: [3, 1] } }", {"versions": {"keep": 2}}, id="some versions"),
        pytest.param("response_cache { enable: true }", {"cache": {"enabled": True}}, id="a cache"),
        pytest.param("response_cache { enable: false }", {}, id="no cache"),
        pytest.param("optimization { graph { level: -1 } }", {"session": {"graph_optimization": "basic"}}, id="level"),
        pytest.param(
            "optimization { graph { level: 2 } }", {"session": {"graph_optimization": "disabled"}}, id="no optimization"
        ),
        pytest.param(
            'parameters { key: "intra_op_thread_count" value: { string_value: "4" } }',
            {"session": {"intra_op_threads": 4}},
            id="threads",
        ),
        pytest.param('parameters { key: "other" value: { string_value: "4" } }', {}, id="another parameter"),
    ],
)
def test_what_becomes_of_it(config: str, toml: dict[str, Any]) -> None:
    plan = plan_of(parse(config))
    assert tomllib.loads(plan.toml()) == toml
    policies.decode(plan.toml().encode())
    assert plan.settings or not config


@pytest.mark.parametrize(
    ("config", "message"),
    [
        pytest.param("max_batchsize: 4", {"max_batchsize": "this field is not known"}, id="a field that is not known"),
        pytest.param(
            "dynamic_batching { preserve_ordering: true priority_levels: 2 new: 1 }",
            {
                "dynamic_batching.preserve_ordering": "answers go out as they are ready; over one stream each has its "
                "request's id",
                "dynamic_batching.priority_levels": "requests have no priorities; they run in order of arrival",
                "dynamic_batching.new": "this field is not known",
            },
            id="fields inside",
        ),
        pytest.param(
            'model_warmup [{ name: "w" }]',
            {"model_warmup": "not needed: every version answers its golden rows before it serves"},
            id="warm-up",
        ),
        pytest.param(
            "optimization { execution_accelerators { gpu_execution_accelerator { name: 'tensorrt' } } }",
            {"optimization.execution_accelerators": "graphs run on the CPU here"},
            id="accelerators",
        ),
        pytest.param(
            'input { name: "x" dims: 4 optional: true reshape { shape: [2, 2] } }',
            {
                "input.optional": "every input must be sent",
                "input.reshape": "callers send the shape that the graph takes",
            },
            id="what callers would notice",
        ),
    ],
)
def test_what_is_not_kept_is_reported(config: str, message: dict[str, str]) -> None:
    settings = plan_of(parse(config)).settings
    assert {setting.original: setting.becomes for setting in settings if not setting.kept} == message


@pytest.mark.parametrize(
    ("config", "message"),
    [
        pytest.param("sequence_batching { }", "sequence_batching: the model keeps state", id="state between requests"),
        pytest.param("model_transaction_policy { decoupled: true }", "exactly one answer", id="many answers"),
    ],
)
def test_models_that_work_in_another_way_are_refused(config: str, message: str) -> None:
    with pytest.raises(Unconvertible, match=message):
        plan_of(parse(config))


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        pytest.param("max_batch_size: 4 input { name: 'x' data_type: TYPE_FP32 dims: 4 }", [], id="the same"),
        pytest.param("max_batch_size: 4 input { name: 'x' data_type: TYPE_FP32 dims: -1 }", [], id="left open"),
        pytest.param("input { name: 'x' data_type: TYPE_FP32 dims: [-1, 4] }", [], id="with the rows"),
        pytest.param("input { name: 'x' data_type: TYPE_FP32 dims: [1, 4] }", [], id="with a fixed batch"),
        pytest.param(
            "max_batch_size: 4 input { name: 'x' data_type: TYPE_FP64 dims: 4 }",
            [("input 'x': TYPE_FP64 [4]", "the graph has float32 (rows, 4)")],
            id="another type",
        ),
        pytest.param(
            "max_batch_size: 4 input { name: 'x' data_type: TYPE_FP32 dims: 5 }",
            [("input 'x': TYPE_FP32 [5]", "the graph has float32 (rows, 4)")],
            id="another size",
        ),
        pytest.param(
            "input { name: 'z' data_type: TYPE_FP32 dims: 5 }",
            [("input 'z'", "the graph has only x"), ("input 'x' is not declared", "the graph has it, so it is served")],
            id="another name",
        ),
    ],
)
def test_where_the_graph_has_another_interface(declared: str, message: list[tuple[str, str]]) -> None:
    specs = [TensorSpec(name="x", dtype="float32", shape=(None, 4))]
    assert [(each.original, each.becomes) for each in differences(parse(declared), "input", specs)] == message
