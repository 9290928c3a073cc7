"""Tables in memory: the same kind comes back, with the answers."""

import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from skylane.score import ScoreError, Scorer, score

COLUMNS: Final[dict[str, list[Any]]] = {
    "a": [1.0, None, 3.0],
    "s": ["x", "y", "z"],
    "b": [1.0, 2.0, None],
    "t": ["p", "q", "r"],
    "day": [1, 2, 3],
}


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(pa.table, id="an Arrow table"),
        pytest.param(pa.RecordBatch.from_pydict, id="a record batch"),
        pytest.param(pd.DataFrame, id="a pandas frame"),
        pytest.param(pl.DataFrame, id="a polars frame"),
    ],
)
class TestEveryKind:
    def test_the_same_kind_comes_back_with_the_answers(self, small_models: Path, make: Any) -> None:
        data = make({name: values[::2] for name, values in COLUMNS.items()})
        answered = score(data, "mixed", small_models)
        assert type(answered) is type(data)
        assert list(answered["numbers_out:0"].to_numpy()) == [1.0, 3.0]
        assert list(np.asarray(answered["day"])) == [1, 3]

    def test_a_row_that_the_model_does_not_take_is_an_error_that_names_it(self, small_models: Path, make: Any) -> None:
        with pytest.raises(ScoreError, match="row 1: column 'a': the pipeline accepts no gaps here"):
            score(make(COLUMNS), "mixed", small_models)

    def test_or_has_no_answer(self, small_models: Path, make: Any) -> None:
        answered = score(make(COLUMNS), "mixed", small_models, rejected="null")
        column = np.asarray(answered["numbers_out:0"], np.float64)
        assert [None if np.isnan(value) else value for value in column] == [1.0, None, 3.0]

    def test_or_is_left_out(self, small_models: Path, make: Any) -> None:
        answered = score(make(COLUMNS), "mixed", small_models, rejected="drop")
        assert list(np.asarray(answered["day"])) == [1, 3]


def test_the_index_of_a_pandas_frame_is_kept(small_models: Path) -> None:
    frame = pd.DataFrame({name: values[:1] for name, values in COLUMNS.items()}, index=["row"])
    assert list(score(frame, "mixed", small_models).index) == ["row"]


def test_an_answer_that_has_the_name_of_a_column_is_refused_unless_there_is_a_prefix(small_models: Path) -> None:
    data = pa.table(
        {"features": pa.FixedSizeListArray.from_arrays(pa.array(np.ones(20)).cast("float"), 20), "label": [1]}
    )
    with pytest.raises(ScoreError, match="the data has a column 'label' already"):
        score(data, "linear", small_models)
    assert score(data, "linear", small_models, prefix="model_").column_names[1:] == [
        "label",
        "model_label",
        "model_score",
    ]


def test_other_data_is_refused_with_what_is_expected(small_models: Path) -> None:
    with pytest.raises(ScoreError, match=r"data: expected a table of pyarrow, .* received dict"):
        score({"a": [1]}, "mixed", small_models)


def test_record_batches_are_scored_as_they_are_read(small_models: Path) -> None:
    taken = 0

    def batches() -> Iterator[pa.RecordBatch]:
        nonlocal taken
        for _ in range(1000):
            taken += 1
            yield pa.RecordBatch.from_pydict({name: values[::2] for name, values in COLUMNS.items()})

    answered = score(batches(), "mixed", small_models)
    first = answered.read_next_batch()
    assert (len(first), taken) == (2, 1)
    assert sum(len(batch) for batch in answered) == 1998


def test_the_memory_of_a_long_stream_does_not_grow(small_models: Path) -> None:
    scorer = Scorer.load("linear", small_models)
    lists = pa.FixedSizeListArray.from_arrays(pa.array(np.ones(20 * 1000, np.float32)), 20)
    batch = pa.RecordBatch.from_pydict({"features": lists})
    reader = score((batch for _ in range(300)), scorer)
    reader.read_next_batch()
    before = pa.total_allocated_bytes()
    tracemalloc.start()
    rows = sum(len(each) for each in reader)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert rows == 299_000
    assert peak < 50 * batch.nbytes
    assert pa.total_allocated_bytes() - before < 50 * batch.nbytes


class TestMistakes:
    @pytest.mark.parametrize("rows", [0, 1, 100_000])
    def test_a_record_batch_of_any_length_comes_back(self, small_models: Path, rows: int) -> None:
        data = pa.RecordBatch.from_pydict(
            {"a": np.ones(rows), "s": ["x"] * rows, "b": np.ones(rows), "t": ["x"] * rows},
            schema=pa.schema({"a": pa.float64(), "s": pa.string(), "b": pa.float64(), "t": pa.string()}),
        )
        answered = score(data, "mixed", small_models)
        assert isinstance(answered, pa.RecordBatch)
        assert len(answered) == rows

    @pytest.mark.parametrize(
        ("data", "message"),
        [
            pytest.param(
                pa.Table.from_arrays([pa.array([1.0])] * 2, ["a", "a"]), "more than one column 'a'", id="a name twice"
            ),
            pytest.param(
                pd.DataFrame([[1.0, 2.0]], columns=["a", "a"]), "Duplicate column names", id="a name twice in pandas"
            ),
            pytest.param(
                pd.DataFrame({"a": [1, "x"]}), "values of different types", id="a column of numbers and texts in pandas"
            ),
            pytest.param(
                pa.table({"a": ["1"], "s": ["x"], "b": [1.0], "t": ["y"]}), "column 'a': expected numbers", id="texts"
            ),
            pytest.param(pa.table({"x": [1]}), "received none of them: the data has 'x'", id="other columns"),
        ],
    )
    def test_what_cannot_be_scored_is_explained(self, small_models: Path, data: Any, message: str) -> None:
        with pytest.raises(ScoreError, match=message):
            score(data, "mixed", small_models)
