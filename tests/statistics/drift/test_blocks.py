"""Statistics of blocks merge: over workers in any division and order, with weights, and through storage."""

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skylane.reference import DAY_S
from skylane.statistics.drift import BlockStatistics, block_statistics, merged
from skylane.statistics.drift.blocks import NumberStatistics, TextStatistics
from skylane.statistics.drift.sketch import VALUES_MAX, sample_values
from support.drift_world import FIRST_DAY, answers_of, block, day_rows, reference_of

REFERENCE = reference_of(30)


def assert_same(one: Any, other: Any, at: str = "") -> None:
    """Counts exactly, sums up to their rounding."""
    if dataclasses.is_dataclass(one):
        for field in dataclasses.fields(one):
            assert_same(getattr(one, field.name), getattr(other, field.name), f"{at}.{field.name}")
    elif isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            assert_same(one[key], other[key], f"{at}[{key}]")
    elif isinstance(one, float | np.ndarray):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-6, err_msg=at)
    else:
        assert one == other, at


@settings(max_examples=15)
@given(st.integers(0, 1000), st.lists(st.integers(0, 400), max_size=4), st.randoms(use_true_random=False))
def test_any_division_into_parts_gives_the_same(seed: int, cuts: list[int], shuffle: Any) -> None:
    columns, late, times_s = day_rows(FIRST_DAY, seed)
    weights = np.random.default_rng(seed).choice([1.0, 2.0, 5.0], len(late))

    def measured(places: Any) -> BlockStatistics:
        return block_statistics(
            {name: values[places] for name, values in columns.items()},
            {name: values[places] for name, values in answers_of(late).items()},
            weights[places],
            REFERENCE,
            times_s=times_s[places],
            start_s=FIRST_DAY * DAY_S,
        )

    places = np.split(np.random.default_rng(seed).permutation(len(late)), sorted(cuts))
    parts = [measured(part) for part in places if len(part)]
    shuffle.shuffle(parts)
    assert_same(merged(parts), measured(np.arange(len(late))))


def test_weights_count_rows_as_often() -> None:
    columns, late, times_s = day_rows(FIRST_DAY)
    answers = answers_of(late)
    start_s = FIRST_DAY * DAY_S
    weighted = block_statistics(columns, answers, np.full(len(late), 2.0), REFERENCE, times_s=times_s, start_s=start_s)
    twice = {name: np.tile(values, 2) for name, values in columns.items()}
    doubled = block_statistics(twice, {}, None, REFERENCE, times_s=np.tile(times_s, 2), start_s=start_s)
    assert_same(weighted.columns, doubled.columns)
    assert (weighted.effective_rows, doubled.effective_rows) == (len(late), 2 * len(late))


def test_storage_gives_the_same_back() -> None:
    made = block(FIRST_DAY, REFERENCE)
    assert_same(BlockStatistics.decode(made.encode()), made)
    assert len(made.encode()) < 60_000


def test_each_row_is_counted_where_it_belongs() -> None:
    columns: dict[str, Any] = {
        "wind_speed": np.array([np.nan, np.inf, -5.0, 1e6, 10 * 1.15078, 14.0]),
        "city": np.array([None, "Bern", "Bern", "Oslo", "h:0123456789abcdef", float("nan")], object),
    }
    made = block_statistics(columns, {}, None, REFERENCE)
    wind, city = made.columns["wind_speed"], made.columns["city"]
    assert isinstance(wind, NumberStatistics)
    assert isinstance(city, TextStatistics)
    assert (wind.missing, wind.infinite, wind.below, wind.above) == (1, 1, 1, 1)
    assert wind.off_step >= 2
    assert (city.missing, city.unseen, city.hashed, city.texts) == (2, 1, 1, {"Oslo": 1.0})
    assert city.counts.sum() == 2
    assert made.absent == ("temp", "dewp", "price", "age")


@pytest.mark.parametrize("rows", [10, VALUES_MAX, 5000, 50_000])
def test_a_sample_of_values_is_that_of_its_parts(rows: int) -> None:
    values = np.random.default_rng(0).normal(size=rows)
    whole = sample_values(values, np.ones(rows))
    parts = [sample_values(part, np.ones(len(part))) for part in np.array_split(values, 7) if len(part)]
    total = parts[0]
    for part in parts[1:]:
        total = total.merge(part)
    assert len(whole.values) == min(rows, VALUES_MAX)
    assert_same(total, whole)
