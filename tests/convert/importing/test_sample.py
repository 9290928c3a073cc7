"""Rows for a graph: what fits its inputs, what is cast, and what is refused by name."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest

from skylane.convert.errors import BadRows
from skylane.convert.importing.sample import inputs_of_sample, random_rows
from skylane.dtypes import DTYPES, NUMPY, DType
from skylane.manifest import TensorSpec


def spec(name: str = "x", dtype: DType = "float32", shape: tuple[int | None, ...] = (None, 4)) -> TensorSpec:
    """An input."""
    return TensorSpec(name=name, dtype=dtype, shape=shape)


FOUR = np.arange(8.0).reshape(2, 4)


@pytest.mark.parametrize(
    ("sample", "inputs", "rows"),
    [
        pytest.param({"x": FOUR}, [spec()], FOUR, id="an array of the input's name"),
        pytest.param({"X": FOUR, "y": FOUR[0]}, [spec()], FOUR, id="rows beside a target"),
        pytest.param({"anything": FOUR}, [spec()], FOUR, id="the only array"),
        pytest.param(pd.DataFrame(FOUR), [spec()], FOUR, id="a data frame without names"),
        pytest.param({"x": FOUR}, [spec(shape=(None, 2, 2))], FOUR.reshape(2, 2, 2), id="rows that are written flat"),
        pytest.param({"x": FOUR[:, 0]}, [spec(shape=(None, 1))], FOUR[:, :1], id="a column without its dimension"),
        pytest.param({"x": FOUR[:, :1]}, [spec(shape=(None,))], FOUR[:, 0], id="a column with one dimension too many"),
        pytest.param({"x": FOUR.astype(str)}, [spec()], FOUR, id="numbers that are written as text"),
        pytest.param({"x": FOUR}, [spec(dtype="int8")], FOUR, id="whole floats for integers"),
        pytest.param({"x": FOUR > 3}, [spec(dtype="bool")], FOUR > 3, id="truth values"),
        pytest.param({"x": [["a", 7]]}, [spec(dtype="string", shape=(None, 2))], [["a", "7"]], id="texts"),
    ],
)
def test_what_fits(sample: Any, inputs: Sequence[TensorSpec], rows: Any) -> None:
    (array,) = inputs_of_sample(sample, inputs, "rows").arrays.values()
    assert array.dtype == NUMPY[inputs[0].dtype]
    assert array.tolist() == np.asarray(rows).astype(array.dtype).tolist()


@pytest.mark.parametrize(
    ("sample", "inputs", "message"),
    [
        pytest.param(
            {"a": FOUR, "b": FOUR}, [spec()], "expected an array for each input ('x' float32 (rows, 4)), but there are "
            "a, b", id="no array of the name",
        ),
        pytest.param({"x": FOUR[:, :3]}, [spec()], "expected the shape (rows, 4), received (2, 3)", id="another width"),
        pytest.param(
            {"x": FOUR, "z": FOUR[:1]}, [spec(), spec("z")], "the same number of rows, at least 1, for every input; "
            "'x' has 2, 'z' has 1", id="rows that differ in number",
        ),
        pytest.param({"x": FOUR + 0.5}, [spec(dtype="int64")], "values that it cannot represent", id="fractions"),
        pytest.param({"x": FOUR * 100}, [spec(dtype="int8")], "values that it cannot represent", id="out of range"),
        pytest.param({"x": FOUR * np.nan}, [spec(dtype="int64")], "it cannot represent", id="gaps in integers"),
        pytest.param(
            {"x": np.array([["a", None]], object)}, [spec(dtype="string", shape=(None, 2))], "missing values", id="text"
        ),
        pytest.param(
            pd.DataFrame(FOUR), [spec(), spec("z")], "give an .npz file with an array for each", id="several inputs"
        ),
    ],
)  # fmt: skip
def test_what_does_not_fit(sample: Mapping[str, Any], inputs: Sequence[TensorSpec], message: str) -> None:
    with pytest.raises(BadRows) as refused:
        inputs_of_sample(sample, inputs, "rows.npz")
    assert str(refused.value).startswith("rows.npz: ")
    assert message in str(refused.value)


@pytest.mark.parametrize("dtype", DTYPES)
def test_random_rows_of_every_type_are_the_same_each_time(dtype: DType) -> None:
    inputs = [spec(dtype=dtype, shape=(None, 3, None))]
    first, again = (random_rows(inputs, open_size=5, integers=10).arrays["x"] for _ in range(2))
    assert first.shape == (64, 3, 5)
    assert first.dtype == NUMPY[dtype]
    assert first.tolist() == again.tolist()
    assert len(np.unique(first.astype(str), axis=0)) > 1
