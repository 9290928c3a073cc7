"""One version scores batches of Arrow: which values it takes, what it answers, and what it says of the others."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from onnx import helper

from skylane.manifest import OutputSpec, TensorSpec
from skylane.score import ScoreError, Scorer
from skylane.score.command import ALL_SCORED, UNUSABLE, main
from support import models

TEXT = pa.array(["x", "y"])
FLOATS = pa.array([1.0, 2.0])


def batch(**columns: Any) -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict(columns)


def mixed(**changed: Any) -> pa.RecordBatch:
    return batch(**{"a": FLOATS, "s": TEXT, "b": FLOATS, "t": TEXT} | changed)


@pytest.fixture(scope="module")
def scorer(small_models: Path) -> Scorer:
    return Scorer.load("mixed", small_models)


@pytest.mark.parametrize(
    ("changed", "name", "expected"),
    [
        pytest.param({}, "numbers_out:0", [1.0, 2.0], id="floats are taken as they are"),
        pytest.param(
            {"a": pa.array([1, 2], pa.int8())}, "numbers_out:0", [1.0, 2.0], id="small integers become floats"
        ),
        pytest.param({"b": pa.array([None, 2.0])}, "numbers_out:1", [None, 2.0], id="a gap in floats is a gap"),
        pytest.param({"b": pa.array([None, 2])}, "numbers_out:1", [None, 2.0], id="a gap in integers is a gap"),
        pytest.param({"b": pa.array([None, True])}, "numbers_out:1", [None, 1.0], id="a gap in booleans is a gap"),
        pytest.param(
            {"b": pa.array([None, 2**60 + 1])}, "numbers_out:1", [None, float(2**60)], id="large integers beside a gap"
        ),
        pytest.param({"b": pa.nulls(2)}, "numbers_out:1", [None, None], id="a column of gaps alone"),
        pytest.param(
            {"t": pa.array([None, "y"])}, "strings_out:1", ["", "y"], id="a gap in texts is the model's filler"
        ),
        pytest.param(
            {"s": pa.array(["x", "y"]).dictionary_encode()}, "strings_out:0", ["x", "y"], id="categories are texts"
        ),
        pytest.param({"s": pa.array(["x", "y"], pa.large_string())}, "strings_out:0", ["x", "y"], id="large strings"),
        pytest.param({"s": pa.array(["x", "y"], pa.string_view())}, "strings_out:0", ["x", "y"], id="string views"),
        pytest.param(
            {"a": pa.array([1, 2]).cast(pa.decimal128(21, 2))}, "numbers_out:0", [1.0, 2.0], id="decimals become floats"
        ),
    ],
)
def test_values_are_bound_as_the_server_binds_them(
    scorer: Scorer, changed: dict[str, Any], name: str, expected: list[Any]
) -> None:
    scored = scorer.score(mixed(**changed))
    assert not scored.rejections
    answers = [None if value != value else value for value in scored.answers.column(name).to_pylist()]
    assert answers == expected


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        pytest.param({"a": pa.array([1.0, None])}, "column 'a': the pipeline accepts no gaps here", id="a gap"),
        pytest.param({"a": TEXT}, "column 'a': expected floats (float32), received strings", id="texts for numbers"),
        pytest.param({"s": FLOATS}, "column 's': expected strings (string), received floats", id="numbers for texts"),
        pytest.param(
            {"a": pa.array([0, 1], pa.timestamp("s"))}, "expected numbers, booleans or strings, received timestamp[s]",
            id="times",
        ),
    ],
)  # fmt: skip
def test_a_row_that_the_model_does_not_take_is_rejected_with_the_reason(
    scorer: Scorer, changed: dict[str, Any], reason: str
) -> None:
    rejections = scorer.score(mixed(**changed)).rejections
    assert rejections
    assert all(reason in each.reason for each in rejections)


def test_only_the_rows_at_fault_are_rejected_and_the_others_answered(scorer: Scorer) -> None:
    rows = 1000
    values: list[float | None] = [float(row) for row in range(rows)]
    for row in (0, 17, 500, 999):
        values[row] = None
    texts = pa.array(["x"] * rows)
    scored = scorer.score(mixed(a=pa.array(values), s=texts, b=pa.array(np.zeros(rows)), t=texts))
    assert [each.row for each in scored.rejections] == [0, 17, 500, 999]
    assert all("row" not in each.reason for each in scored.rejections)
    assert scored.answers.column("numbers_out:0").to_pylist() == [value for value in values if value is not None]


def test_a_batch_of_which_no_row_can_be_answered_has_no_answers(scorer: Scorer) -> None:
    scored = scorer.score(mixed(a=pa.array([None, None], pa.float64())))
    assert len(scored.answers) == 0
    assert scored.answers.schema == scorer.schema
    assert len(scored.rejections) == 2


def test_a_batch_without_rows_has_no_answers(scorer: Scorer) -> None:
    assert len(scorer.score(mixed().slice(0, 0)).answers) == 0


def test_rows_on_which_the_model_itself_fails_are_rejected(small_models: Path) -> None:
    scored = Scorer.load("touchy", small_models).score(
        batch(text=pa.array([["1"], ["one"], ["2"]], pa.list_(pa.string(), 1)))
    )
    assert [each.row for each in scored.rejections] == [1]
    assert scored.rejections[0].reason.startswith("the model failed on this row: ")
    assert scored.answers.column("value").to_pylist() == [1.0, 2.0]


@pytest.mark.parametrize(
    ("name", "kind", "texts", "expected"),
    [
        pytest.param("a", "float", [" 1.5", "2e3"], [1.5, 2000.0], id="numbers, with spaces and exponents"),
        pytest.param("b", "float", ["", "3"], [None, 3.0], id="an empty text is a gap"),
        pytest.param("b", "float", ["nan", "3"], [None, 3.0], id="nan is a gap"),
    ],
)
def test_texts_of_a_source_without_types_are_parsed(
    scorer: Scorer, name: str, kind: str, texts: list[str], expected: list[Any]
) -> None:
    scored = scorer.score(mixed(**{name: pa.array(texts)}), {name})
    column = scored.answers.column(f"numbers_out:{'ab'.index(name)}").to_pylist()
    assert [None if value != value else value for value in column] == expected


def test_a_text_that_is_no_number_rejects_its_row_alone(scorer: Scorer) -> None:
    scored = scorer.score(mixed(a=pa.array(["1", "1,5"])), {"a"})
    assert [(each.row, each.reason) for each in scored.rejections] == [
        (1, "column 'a': expected numbers, received '1,5'")
    ]


def test_a_missing_column_is_named_before_anything_is_read(scorer: Scorer) -> None:
    with pytest.raises(ScoreError, match=r"inputs: 't' is missing; the model takes the columns 'a', 's', 'b' and 't'"):
        scorer.check(pa.schema([("a", pa.float64()), ("s", pa.string()), ("b", pa.float64())]))


def test_columns_that_the_model_does_not_use_are_no_matter(scorer: Scorer) -> None:
    assert len(scorer.score(mixed(day=pa.array([1, 2]))).answers) == 2


class TestModelsWithoutNamedColumns:
    """They take a tensor."""

    def test_features_name_its_columns_in_order(self, small_models: Path) -> None:
        names = [f"f{i}" for i in range(20)]
        scorer = Scorer.load("linear", small_models, features=names)
        columns = {name: pa.array([float(i), 0.0]) for i, name in enumerate(names)}
        assert scorer.score(batch(**columns)).answers.column("score").to_pylist() == [190.0, 0.0]

    def test_a_column_of_lists_is_the_tensor(self, small_models: Path) -> None:
        lists = pa.FixedSizeListArray.from_arrays(pa.array(np.ones(40, np.float32)), 20)
        answers = Scorer.load("linear", small_models).score(batch(features=lists)).answers
        assert answers.column("score").to_pylist() == [20.0, 20.0]

    def test_features_of_a_model_with_named_columns_are_refused(self, small_models: Path) -> None:
        with pytest.raises(ScoreError, match="features: mixed@1 takes named inputs"):
            Scorer.load("mixed", small_models, features=["a"])

    def test_a_feature_that_is_not_there_is_named(self, small_models: Path) -> None:
        scorer = Scorer.load("linear", small_models, features=["p", "q"])
        with pytest.raises(ScoreError, match="features: the data has no column 'p', 'q'"):
            scorer.check(pa.schema([("a", pa.float64())]))


class TestExact:
    """Whether the answer to a row is the same in every batch."""

    def test_a_graph_of_matrices_or_trees_is_exact(self, scorer: Scorer) -> None:
        assert scorer.is_exact

    def test_dynamic_quantization_is_refused_where_exact_answers_are_asked_for(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        publish_quantized(tmp_path / "models")
        parquet.write_table(pa.table({"x0": [1.0], "x1": [2.0]}), tmp_path / "in.parquet")
        arguments = [str(tmp_path / "in.parquet"), str(tmp_path / "out"), "--model", "quantized", "--features", "x0,x1"]
        arguments += ["--models", str(tmp_path / "models"), "--quiet"]
        assert main([*arguments, "--exact"]) == UNUSABLE
        assert "exact: an answer of quantized@1 depends on the rows beside it" in capsys.readouterr().err
        assert main(arguments) == ALL_SCORED


def publish_quantized(root: Path) -> None:
    """x in eight bits by the range of the batch."""
    tensors = [TensorSpec(name="x", dtype="float32", shape=(None, 2))]
    outputs = [OutputSpec(name="y", dtype="float32", shape=(None, 2))]
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "scale", "zero"]),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["y"]),
    ]
    golden = {"x": np.array([[1, 2], [3, 4]], np.float32)}
    models.publish(root, "quantized", 1, models.graph(nodes, tensors, outputs), tensors, outputs, golden)
