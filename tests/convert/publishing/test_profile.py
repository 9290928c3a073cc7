"""Profiles: every row is counted once, nobody is named, and what is kept stays small."""

from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skylane.convert import BadRows, Published
from skylane.convert.inspection.schema import Column, Layout
from skylane.convert.publishing.profile import BINS_TOTAL, profile, quantile_bins
from skylane.manifest import OutputSpec, decode
from skylane.profile import Bins, NumberProfile, TextProfile

NUMBERS = st.lists(st.floats(allow_nan=False, allow_infinity=False, width=64), max_size=60)


@given(NUMBERS, st.integers(1, 20))
def test_every_number_is_in_one_bin(numbers: list[float], bins: int) -> None:
    found = quantile_bins(np.array(numbers, np.float64), bins)
    if not numbers:
        assert found is None
        return
    assert found is not None
    assert sum(found.counts) == len(numbers)
    assert (found.edges[0], found.edges[-1]) == (min(numbers), max(numbers))
    assert 1 <= len(found.counts) <= bins


@given(st.integers(1, 20), st.integers(20, 300))
def test_bins_of_distinct_numbers_hold_alike(bins: int, rows: int) -> None:
    found = quantile_bins(np.random.default_rng(0).permutation(rows).astype(np.float64), bins)
    assert found is not None
    assert max(found.counts) - min(found.counts) <= 2


def profiled(frame: pd.DataFrame, *columns: Column, answers: Any = None) -> Any:
    layout = Layout(columns, named=True, order={"features": tuple(range(len(columns)))})
    outputs = (OutputSpec(name="probabilities", dtype="float32", shape=(None, 2), role="probabilities"),)

    def run(inputs: Any) -> dict[str, Any]:
        rows = len(next(iter(inputs.values())))
        return {"probabilities": np.tile([0.25, 0.75], (rows, 1))}

    return profile(layout, frame, "float64", outputs, run, "training").profile


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        pytest.param([1.0, 1.0], NumberProfile(bins=Bins(edges=(1, 1), counts=(2,)), missing=0.0), id="a constant"),
        pytest.param(
            [1, 2, 2, 7],
            NumberProfile(bins=Bins(edges=(1, 1.5, 4.5, 7), counts=(1, 2, 1)), missing=0.0),
            id="a few numbers have a bin each",
        ),
        pytest.param([np.nan] * 4, NumberProfile(bins=None, missing=1.0), id="gaps alone"),
        pytest.param(
            [0.0, np.inf, np.nan, 0.0],
            NumberProfile(bins=Bins(edges=(0, 0), counts=(2,)), missing=0.25, infinite=0.25),
            id="infinities and gaps are counted apart",
        ),
        pytest.param(
            [True, False], NumberProfile(bins=Bins(edges=(0, 0.5, 1), counts=(1, 1)), missing=0.0), id="booleans"
        ),
    ],
)
def test_numbers(values: list[Any], expected: NumberProfile) -> None:
    found = profiled(pd.DataFrame({"x": values}), Column("x", "number", missing=np.nan))
    assert found.columns == {"x": expected}


def test_texts_that_few_rows_have_are_not_named() -> None:
    frame = pd.DataFrame({"name": ["Ada"] + ["usual"] * 5 + ["x" * 200] * 6 + [None]})
    (found,) = profiled(frame, Column("name", "string", missing="")).columns.values()
    assert found == TextProfile(counts={"usual": 5}, other=7, distinct=3, missing=1 / 13)


def test_rows_that_the_server_would_refuse_are_not_asked_about() -> None:
    found = profiled(pd.DataFrame({"x": [1.0, np.nan, 3.0]}), Column("x", "number"))
    assert (found.rows, found.answered_rows) == (3, 2)
    assert sum(found.answers["probabilities:0"].counts) == 2


def test_wide_models_have_small_profiles() -> None:
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(200, 1500)), columns=[str(i) for i in range(1500)])
    found = profiled(frame, *(Column(name, "number") for name in frame.columns))
    assert found.omitted == 1500 - len(found.columns)
    assert sum(len(column.bins.counts) for column in found.columns.values()) <= BINS_TOTAL * 1.5
    assert len(msgspec.json.encode(found)) < 250_000


def test_a_published_version_carries_the_training_profile(publish_to: Callable[..., Published], mixed: Any) -> None:
    training = pd.concat([mixed.rows] * 2, ignore_index=True)
    path = publish_to(mixed, training=training).path
    manifest = decode((path / "manifest.json").read_bytes())
    found = manifest.profile
    assert found is not None
    assert (found.of, found.rows, found.answered_rows) == ("training", 2 * len(mixed.rows), 2 * len(mixed.rows))
    assert list(found.columns) == ["age", "city", "income", "plan"]
    assert found.columns["income"].missing == pytest.approx(1 / 9, abs=0.01)
    labels, counts = np.unique(mixed.estimator.predict(training), return_counts=True)
    assert found.labels == dict(zip(labels.tolist(), counts.tolist(), strict=True))
    assert set(found.answers) == {"probabilities:leaves", "probabilities:stays"}
    assert manifest.lineage.data_sha256 is not None


def test_training_data_of_another_kind_is_refused(publish_to: Callable[..., Published], mixed: Any) -> None:
    with pytest.raises(BadRows, match="training data: column 'age' holds strings, but numbers in the held-out rows"):
        publish_to(mixed, training=mixed.rows.astype({"age": str}))
