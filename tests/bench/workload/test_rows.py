"""What is sent: new rows, or a file's in its order."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skylane.bench.workload.golden import Unsuitable
from skylane.bench.workload.rows import Mixed, Recorded, bodies, examples, recorded
from skylane.client import Client, Model

RNG = np.random.default_rng(1)


@pytest.fixture(scope="module")
def mixed(small_models: Path) -> Model:
    """The model of strings and numbers, as a server describes it."""
    from support.server import serving

    with serving(small_models) as server, Client(server.address) as client:
        return client.model("mixed")


@given(st.integers(1, 8), st.integers(1, 5), st.integers(0, 40))
def test_mixed_rows_take_each_value_from_an_example_in_its_column(rows: int, width: int, count: int) -> None:
    known = np.arange(rows * width, dtype=np.float32).reshape(rows, width)
    taken = Mixed({"x": known}).take(count, RNG)["x"]
    assert taken.shape == (count, width)
    assert all(set(taken[:, place]) <= set(known[:, place]) for place in range(width))


def test_requests_of_mixed_rows_differ() -> None:
    rows = Mixed({"x": RNG.random((8, 20), np.float32), "name": np.array([["a"], ["b"]], object)})
    sent = bodies("m", rows, 500, 2, RNG) + bodies("m", rows, 500, 2, RNG)
    assert len(set(sent)) == 1000


@given(st.lists(st.floats(width=32), min_size=1, max_size=6), st.integers(1, 20))
def test_a_file_is_sent_in_its_order_and_starts_again_with_other_bits(values: list[float], count: int) -> None:
    known = np.array(values, np.float32)[:, None]
    recording = Recorded({"x": known}, "a.csv")
    taken = np.concatenate([recording.take(count, RNG)["x"] for _ in range(2)])
    right = np.resize(known, (2 * count, 1))
    np.testing.assert_allclose(taken, right, rtol=1e-5, atol=1e-40)
    np.testing.assert_array_equal(taken[: len(known)], right[: len(known)])


def test_repeats_in_a_file_are_repeats_and_a_second_reading_is_none() -> None:
    known = {"x": np.array([[1.0, 2.0], [3.0, 4.0], [1.0, 2.0]], np.float32)}
    sent = bodies("m", Recorded(known, "a.csv"), 6, 1, RNG)
    assert sent[0] == sent[2]
    assert sent[3] == sent[5]
    assert len(set(sent)) == 4


def test_the_examples_of_a_manifest_have_the_shape_of_the_tensors(mixed: Model) -> None:
    found = examples(mixed)
    assert {name: array.shape[1:] for name, array in found.items()} == {
        spec.name: spec.shape[1:] for spec in mixed.tensors
    }


def test_a_csv_file_becomes_the_tensors_that_a_client_would_send(mixed: Model, tmp_path: Path) -> None:
    names = [column.name for column in mixed.columns]
    lines = [",".join(["a" if column.dtype == "string" else "1" for column in mixed.columns])] * 3
    path = tmp_path / "rows.csv"
    path.write_text("\n".join([",".join(names), *lines]))
    taken = recorded(path, mixed).take(3, RNG)
    for column in mixed.columns:
        assert list(taken[column.tensor][:, column.index]) == ["a" if column.dtype == "string" else 1] * 3


@pytest.mark.parametrize(
    ("content", "said"),
    [
        pytest.param(None, "No such file", id="no file"),
        pytest.param("x,y\n1,2\n", "has none of the model's columns", id="other columns"),
        pytest.param("", "empty", id="nothing in it"),
    ],
)
def test_a_file_that_cannot_be_sent_is_named(content: str | None, said: str, mixed: Model, tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    if content is not None:
        path.write_text(content)
    with pytest.raises(Unsuitable, match=said):
        recorded(path, mixed)


def test_a_column_that_is_missing_is_named(mixed: Model, tmp_path: Path) -> None:
    first, *others = (column.name for column in mixed.columns)
    path = tmp_path / "rows.csv"
    path.write_text(f"{first}\n1\n")
    with pytest.raises(Unsuitable, match=f"missing: {others[0]}"):
        recorded(path, mixed)
