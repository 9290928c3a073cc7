"""When requests are due, and from when they are timed: laws, under a clock of the test's own."""

import random
from itertools import islice, takewhile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skylane.bench.workload.arrivals import STEP_S, Arrivals, instants, poisson_us
from skylane.bench.workload.scenarios import SCENARIOS

RATES = st.floats(0.5, 2000.0)


@given(RATES)
def test_a_constant_rate_is_evenly_spaced(rate: float) -> None:
    due = list(islice(instants(lambda _: rate), 50))
    assert due == pytest.approx([(place + 1) / rate for place in range(50)])


@given(st.floats(0.0, 300.0), st.floats(0.0, 300.0), st.sampled_from(sorted(SCENARIOS)))
def test_as_many_requests_are_due_as_the_rate_has_under_it(low: float, high: float, name: str) -> None:
    """However it moves: the count is the integral, but for the one that is not yet due."""
    curve, seconds = SCENARIOS[name].curve, 4.0

    def rate(now: float) -> float:
        return 1.0 + low + high * curve(min(now / seconds, 1.0))

    steps = round(seconds / STEP_S)
    integral = sum(rate(step * STEP_S) for step in range(steps)) * STEP_S
    due = list(takewhile(lambda instant: instant < seconds, instants(rate)))
    assert due == sorted(due)
    # A step that an instant falls into is begun anew there, with the rate of that moment.
    assert len(due) == pytest.approx(integral, abs=1 + (low + high) * STEP_S * 2 + 0.02 * integral)


@given(st.integers(0, 2**32), st.floats(20.0, 500.0))
def test_random_instants_keep_the_rate(seed: int, rate: float) -> None:
    due = list(takewhile(lambda instant: instant < 20.0, instants(lambda _: rate, random.Random(seed))))
    assert due == sorted(due)
    assert len(due) == pytest.approx(20 * rate, abs=7 * (20 * rate) ** 0.5)


def test_a_time_without_requests_is_passed_over() -> None:
    due = instants(lambda now: 0.0 if now < 5.0 else 10.0)
    assert next(due) == pytest.approx(5.1, abs=2 * STEP_S)


@given(st.floats(0.0, 3.0), st.integers(0, 200), st.floats(0.0, 5.0))
def test_at_the_end_what_is_due_is_handed_out_and_nothing_else(end_s: float, taken: int, late_s: float) -> None:
    """However many were taken before, and however late the rest is asked for."""
    arrivals = Arrivals(instants(lambda _: 50.0), began_at=10.0)
    before = [arrivals.take(10.0) for _ in range(taken)]
    arrivals.close(10.0 + end_s)
    after = list(iter(lambda: arrivals.take(10.0 + end_s + late_s), None))
    assert arrivals.take(10.0 + end_s) is None
    due = list(takewhile(lambda at: at <= 10.0 + end_s, (10.0 + instant for instant in instants(lambda _: 50.0))))
    assert [*before, *after][: len(due)] == due
    assert len(before) + len(after) == max(len(due), taken)


@given(st.floats(0.1, 3.0), st.integers(1, 8))
def test_a_server_that_stalls_shows_its_true_latency(stall_s: float, users: int) -> None:
    """100 requests a second, answered at once but for the stall: each due in it took until its end, however few users
    there were to send them."""
    arrivals = Arrivals(instants(lambda _: 100.0), began_at=1000.0)
    stall = 1001.0, 1001.0 + stall_s
    free_at, took = [1000.0] * users, list[tuple[float, float]]()
    while min(free_at) < stall[1] + 1.0:
        user = free_at.index(min(free_at))
        due_at = arrivals.take(free_at[user])
        assert due_at is not None
        sent_at = max(due_at, free_at[user])
        free_at[user] = stall[1] if stall[0] <= sent_at < stall[1] else sent_at
        took.append((due_at, free_at[user] - due_at))
    for due_at, latency_s in took:
        right = stall[1] - due_at if stall[0] <= due_at < stall[1] else 0.0
        assert latency_s == pytest.approx(right, abs=1e-6)
    assert arrivals.taken == len(took)
    assert (arrivals.late > 0) == (stall_s * 100 > users + 2) or abs(stall_s * 100 - users) <= 3


@given(rate=st.floats(1, 5000), seconds=st.floats(0.1, 2), start_s=st.floats(0, 3), seed=st.integers(0, 99))
def test_a_schedule_is_in_order_within_its_span_and_as_long_as_the_rate_says(
    rate: float, seconds: float, start_s: float, seed: int
) -> None:
    due_us = poisson_us(rate, seconds, np.random.default_rng(seed), start_s)
    assert len(due_us) == max(1, round(rate * seconds))
    assert (np.diff(due_us) >= 0).all()
    assert int(start_s * 1e6) <= due_us[0] <= due_us[-1] <= (start_s + seconds) * 1e6
