"""Laws of feature views, on random logs: equal to brute force, whatever the order; the same offline and online."""

import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skylane.features.compiled import CompiledView
from skylane.features.evaluation.rows import EXPIRED, SourceRows, Values
from skylane.features.evaluation.views import evaluator
from skylane.features.online import Store
from skylane.features.online.packing import packed
from skylane.features.training.materializing import steps_until
from support.feature_brute_force import Row, table, window
from support.feature_logs import INSTANTS, QUERIES, rows, source_rows, table_view, window_view

Queries = list[tuple[int, int]]
EXAMPLES = pytest.mark.parametrize("examples", [150, pytest.param(100_000, marks=pytest.mark.soak)])
KEYS = ["a", "b", "c"]


def _at(view: CompiledView, log: SourceRows, queries: Queries) -> Values:
    entity, instants = (np.array(column, np.int64) for column in zip(*queries, strict=True))
    return evaluator(view, log).at(entity, instants)


def _numbers(values: list[float | None]) -> list[float]:
    return [float("nan") if value is None else value for value in values]


def _events_of_their_own(log: list[Row]) -> list[Row]:
    return [replace(row, event=place) for place, row in enumerate(log)]


@EXAMPLES
def test_a_table_equals_brute_force(examples: int) -> None:
    view = table_view()

    @settings(max_examples=examples, deadline=None)
    @given(rows(ahead=True), QUERIES)
    def law(log: list[Row], queries: Queries) -> None:
        values = _at(view, source_rows(log, events=False), queries)
        np.testing.assert_array_equal(values.features["value"], _numbers([table(view, log, *each) for each in queries]))

    law()


@EXAMPLES
@pytest.mark.parametrize("events", [True, False], ids=["corrected by later versions", "each row an event"])
def test_every_aggregate_equals_brute_force(examples: int, events: bool) -> None:
    view = window_view(events=events)

    @settings(max_examples=examples, deadline=None)
    @given(rows(ahead=True), QUERIES)
    def law(log: list[Row], queries: Queries) -> None:
        values = _at(view, source_rows(log, events=events), queries)
        rows_of_events = log if events else _events_of_their_own(log)
        for feature in view.features:
            expected = _numbers([window(view, feature, rows_of_events, *each) for each in queries])
            if feature.aggregate == "std":
                np.testing.assert_allclose(values.features[feature.name], expected, rtol=1e-15)
            else:
                np.testing.assert_array_equal(values.features[feature.name], expected, feature.name)

    law()


@settings(max_examples=150, deadline=None)
@given(rows(ahead=True), QUERIES, st.randoms(use_true_random=False), st.booleans())
def test_the_order_of_the_rows_does_not_change_a_bit(
    log: list[Row], queries: Queries, chance: random.Random, events: bool
) -> None:
    shuffled = log.copy()
    chance.shuffle(shuffled)
    for view in (table_view(), window_view(events=events)):
        first = _at(view, source_rows(log, events=events), queries)
        second = _at(view, source_rows(shuffled, events=events), queries)
        for name, values in first.features.items():
            assert values.tobytes() == second.features[name].tobytes(), name


@settings(max_examples=150, deadline=None)
@given(rows(ahead=True), QUERIES, st.booleans())
def test_what_is_known_later_does_not_change_a_value(log: list[Row], queries: Queries, events: bool) -> None:
    for view in (table_view(), window_view(events=events)):
        everything = source_rows(log, events=events)
        for query in queries:
            now, later = _at(view, everything.known_by(query[1]), [query]), _at(view, everything, [query])
            for name, values in now.features.items():
                assert values.tobytes() == later.features[name].tobytes(), name


@pytest.mark.parametrize("kind", ["table", "window"])
@EXAMPLES
def test_served_equals_joined(examples: int, kind: str, tmp_path: Path) -> None:
    """Materialised with what was known at an instant, the store serves at that instant what a join gives for it; and
    at a later one, until the ttl, what a join gives that knows no more."""
    store = Store(tmp_path / "features.db", create=True)

    @settings(max_examples=examples // 3, deadline=None)
    @given(rows(ahead=True), INSTANTS, st.integers(0, 40), st.booleans())
    def law(log: list[Row], instant: int, later_s: int, events: bool) -> None:
        view = table_view() if kind == "table" else window_view(events=events)
        view = replace(view, name=f"view_{instant + 10**9}")  # the store never goes back
        everything = source_rows(log, events=events)
        known = everything.known_by(instant)
        values = evaluator(view, known)
        entity, instants = values.steps(instant, steps_until(view, instant))
        store.replace(view, instant, packed(view, KEYS, entity, instants, values.at(entity, instants)))
        for at, truth in ((instant, everything), (instant + later_s * 1_000_000, known)):
            joined = _at(view, truth, [(place, at) for place in (*range(len(KEYS)), -1)])
            served = store.get(view, [*KEYS, "unknown"], at)
            if kind == "window" and at - instant > (view.ttl_us or 0):
                assert (served.status == EXPIRED).all()
                assert np.isnan(served.numbers).all()
                continue
            np.testing.assert_array_equal(served.status, joined.status)
            np.testing.assert_array_equal(served.happened, joined.happened)
            for name, column in joined.features.items():
                assert column.tobytes() == np.ascontiguousarray(served.features[name]).tobytes(), name

    law()
    store.close()
