"""Statistics: how calls and times are counted. That every call is counted once, the simulation proves."""

import pytest

from server.engine.statistics import BOUNDS_S, Histogram, Statistics, Times


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
    statistics.answered([(1.0, 2, "a"), (1.5, 3, "b")], rows=10, times=Times(2.0, 2.25, 3.25, 3.5))
    assert statistics.succeeded == 5
    assert statistics.outcomes == {("a", ""): 2, ("b", ""): 3}
    assert statistics.queue.seconds == 2 * 1.0 + 3 * 0.5
    assert statistics.total.seconds == 2 * 2.5 + 3 * 2.0
    assert (statistics.gather_s, statistics.run_s, statistics.reply_s) == (5 * 0.25, 5 * 1.0, 5 * 0.25)
    assert (statistics.run.count, statistics.run.seconds) == (1, 1.0)
    assert (statistics.executions, statistics.rows, statistics.last_at) == (1, 10, 3.5)
    assert (statistics.batches[10].executions, statistics.batches[10].run_s) == (1, 1.0)
