"""Statistics: how calls and times are counted. That every call is counted once, the simulation proves."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.engine.statistics import BOUNDS_S, FOLDED_TOGETHER, Histogram, Statistics


@pytest.mark.parametrize(
    ("seconds", "bucket"),
    [
        pytest.param(0.0, 0, id="no time at all"),
        pytest.param(BOUNDS_S[0], 0, id="a bound belongs to the bucket below it"),
        pytest.param(BOUNDS_S[0] * 1.01, 1, id="beyond it"),
        pytest.param(BOUNDS_S[-1] * 2, len(BOUNDS_S), id="longer than any bound"),
    ],
)
def test_a_histogram_counts_calls_where_prometheus_would(seconds: float, bucket: int) -> None:
    histogram = Histogram()
    histogram.add(3, seconds)
    assert [place for place, count in enumerate(histogram.buckets) if count] == [bucket]
    assert (histogram.count, histogram.seconds) == (3, 3 * seconds)


def test_a_batch_counts_for_each_of_its_calls_and_once_as_an_execution() -> None:
    statistics = Statistics()
    statistics.answered([(1.0, 2, "a"), (1.5, 3, "b")], rows=10, times=(2.0, 2.25, 3.25, 3.5))
    statistics.fold()
    assert statistics.succeeded == 5
    assert statistics.outcomes == {("a", ""): 2, ("b", ""): 3}
    assert statistics.queue.seconds == 2 * 1.0 + 3 * 0.5
    assert statistics.total.seconds == 2 * 2.5 + 3 * 2.0
    assert (statistics.gather_s, statistics.run_s, statistics.reply_s) == (5 * 0.25, 5 * 1.0, 5 * 0.25)
    assert (statistics.run.count, statistics.run.seconds) == (1, 1.0)
    assert (statistics.executions, statistics.rows, statistics.last_at) == (1, 10, 3.5)
    assert (statistics.batches[10].executions, statistics.batches[10].run_s) == (1, 1.0)


batches = st.lists(
    st.tuples(
        st.lists(st.tuples(st.integers(0, 9).map(float), st.integers(1, 5), st.sampled_from("ab")), min_size=1),
        st.integers(1, 3),
        st.tuples(*[st.integers(0, 3).map(float)] * 4),
    ),
    max_size=2 * FOLDED_TOGETHER + 1,
)


@given(batches, st.data())
def test_when_batches_are_counted_makes_no_difference(
    given: list[tuple[list[tuple[float, int, str]], int, tuple[float, float, float, float]]], data: st.DataObject
) -> None:
    """Folded after each batch, or whenever somebody asks; whole numbers, so that any order of adding gives the same."""
    at_once, late = Statistics(), Statistics()
    for calls, rows, (waited, gathering, running, replying) in given:
        began_at = 10.0 + waited
        times = (began_at, began_at + gathering, began_at + gathering + running,
                 began_at + gathering + running + replying)  # fmt: skip
        at_once.answered(calls, rows, times)
        at_once.fold()
        late.answered(calls, rows, times)
        if data.draw(st.booleans()):
            late.fold()
    late.fold()
    for name in ("outcomes", "gather_s", "run_s", "reply_s", "batches", "rows", "executions", "succeeded", "last_at"):
        assert getattr(at_once, name) == getattr(late, name)
    for name in ("total", "queue", "run"):
        one, other = getattr(at_once, name), getattr(late, name)
        assert (one.buckets, one.seconds) == (other.buckets, other.seconds)
