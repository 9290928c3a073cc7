"""Statistics: how calls and times are counted. That every call is counted once, the simulation proves."""

from bisect import bisect_left
from collections import Counter
from itertools import accumulate

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skylane.server.engine.statistics import BOUNDS_S, FOLD_TASKS, Histogram, Statistics


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
    histogram.add(np.array([3.0]), np.array([seconds]))
    assert [place for place, count in enumerate(histogram.buckets) if count] == [bucket]
    assert (histogram.count, histogram.seconds) == (3, 3 * seconds)


BatchTask = tuple[float, int, str]
"""When it came, its calls, and by which protocol."""
Times = tuple[float, float, float, float]
"""When its batch left the queue, had its arrays, had its outputs, and had answered everybody."""


def count(statistics: Statistics, tasks: list[BatchTask], rows: int, times: Times) -> None:
    """As the engine does for a batch."""
    for place, task in enumerate(tasks):
        statistics.answered(*task, 0 if place else rows, *times)


def test_a_batch_counts_for_each_of_its_calls_and_once_as_an_execution() -> None:
    statistics = Statistics()
    count(statistics, [(1.0, 2, "a"), (1.5, 3, "b")], rows=10, times=(2.0, 2.25, 3.25, 3.5))
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
        st.tuples(st.just(10.0), *[st.integers(0, 3).map(float)] * 3).map(lambda steps: tuple(accumulate(steps))),
    ),
    max_size=20,
)


@given(batches, st.sampled_from([1, FOLD_TASKS // 8]), st.sets(st.integers(0, 20)))
def test_together_they_are_counted_as_one_by_one(
    batches: list[tuple[list[BatchTask], int, Times]], times_over: int, asked: set[int]
) -> None:
    """Whenever somebody asks in between. Whole numbers, so that any order of adding gives the same."""
    statistics = Statistics()
    queue, total, run = ([0] * (len(BOUNDS_S) + 1) for _ in range(3))
    outcomes, executions = Counter[tuple[str, str]](), Counter[int]()
    gather_s = run_s = reply_s = 0.0
    for place, (tasks, rows, times) in enumerate(batches * times_over):
        count(statistics, tasks, rows, times)
        if place in asked:
            statistics.fold()
        began_at, gathered_at, ran_at, ended_at = times
        for arrived_at, calls, protocol in tasks:
            queue[bisect_left(BOUNDS_S, began_at - arrived_at)] += calls
            total[bisect_left(BOUNDS_S, ended_at - arrived_at)] += calls
            outcomes[protocol, ""] += calls
            gather_s += calls * (gathered_at - began_at)
            run_s += calls * (ran_at - gathered_at)
            reply_s += calls * (ended_at - ran_at)
        run[bisect_left(BOUNDS_S, ran_at - gathered_at)] += 1
        executions[rows] += 1
    statistics.fold()
    assert (statistics.queue.buckets, statistics.total.buckets, statistics.run.buckets) == (queue, total, run)
    assert (statistics.gather_s, statistics.run_s, statistics.reply_s) == (gather_s, run_s, reply_s)
    assert (statistics.outcomes, statistics.succeeded) == (outcomes, sum(outcomes.values()))
    assert {rows: size.executions for rows, size in statistics.batches.items()} == executions
    assert statistics.last_at == max((times[-1] for _, _, times in batches), default=0.0)
