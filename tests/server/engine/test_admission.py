"""Admission: a table of what may wait, and what the refusal advises."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes import PlainBlock, call
from skylane.policy import Batching
from skylane.server.core.errors import Overloaded, TooManyRows
from skylane.server.core.types import NO_DEADLINE
from skylane.server.engine.admission import TARGET_RUN_SHARE, TARGET_RUNS_SHARE, Admission
from skylane.server.engine.cost import CostModel


def task(calls: int, rows_each: int) -> PlainBlock:
    return PlainBlock([call(place) for place in range(calls)], rows_each)


def admission(policy: Batching) -> Admission:
    """A run of up to 4 rows takes a second."""
    return Admission(policy, CostModel([(1, 1.0), (4, 1.0)]))


POLICY = Batching(max_batch_rows=4, max_queue_rows=10, max_request_rows=10)


@pytest.mark.parametrize(
    ("calls", "rows_each", "queued_rows", "admitted"),
    [
        pytest.param(1, 1, 0, 1, id="an empty queue takes a request"),
        pytest.param(1, 10, 0, 1, id="the largest request fits an empty queue"),
        pytest.param(1, 10, 1, 0, id="the largest request fits no other queue"),
        pytest.param(1, 1, 9, 1, id="the last place is given away"),
        pytest.param(1, 1, 10, 0, id="a full queue takes none"),
        pytest.param(5, 3, 0, 3, id="of a block as many as fit, none in part"),
        pytest.param(5, 3, 8, 0, id="none if not even one fits"),
        pytest.param(2, 1, 12, 0, id="a queue that a new policy finds over its bound takes none"),
    ],
)
def test_admit(calls: int, rows_each: int, queued_rows: int, admitted: int) -> None:
    taken, refused = admission(POLICY).admit(task(calls, rows_each), queued_rows, now=0.0)
    assert [each.handle for each in taken.calls] == list(range(admitted))
    assert [each.handle for calls, _ in refused for each in calls] == list(range(admitted, calls))


@given(calls=st.integers(1, 50), rows_each=st.integers(1, 50), queued_rows=st.integers(0, 500))
def test_the_queue_never_grows_beyond_its_bound_and_nobody_is_refused_without_need(
    calls: int, rows_each: int, queued_rows: int
) -> None:
    policy = Batching(max_queue_rows=200, max_request_rows=50)
    admitted = len(admission(policy).admit(task(calls, rows_each), queued_rows, now=0.0)[0].calls)
    assert 0 <= admitted <= calls
    assert queued_rows + admitted * rows_each <= 200 or admitted == 0
    assert queued_rows + (admitted + 1) * rows_each > 200 or admitted == calls


def test_a_request_at_the_limit_is_not_too_large() -> None:
    admission(POLICY).check_size(task(7, 10))


def test_a_request_over_the_limit_is_told_both_numbers_and_what_to_do() -> None:
    with pytest.raises(TooManyRows) as raised:
        admission(POLICY).check_size(task(1, 11))
    assert str(raised.value) == (
        "the request has 11 rows, but this model takes at most 10 (max_request_rows): send it in parts"
    )


@pytest.mark.parametrize(
    ("queued_rows", "instances", "retry_after_ms"),
    [
        pytest.param(8, 1, 2000, id="as long as two full batches take"),
        pytest.param(10, 1, 3000, id="a batch that is not full takes as long as its rows do"),
        pytest.param(8, 4, 500, id="instances share the work"),
    ],
)
def test_a_full_queue_advises_to_come_back_when_it_should_be_empty(
    queued_rows: int, instances: int, retry_after_ms: int
) -> None:
    policy = Batching(max_batch_rows=4, max_queue_rows=queued_rows, max_request_rows=4, instances=instances)
    _, ((_, error),) = admission(policy).admit(task(1, 1), queued_rows, now=0.0)
    assert error.retry_after_ms == retry_after_ms
    assert str(error) == (
        f"the model's queue is full: {queued_rows} rows wait, at most {queued_rows} may (max_queue_rows)"
    )


LATE = "the model is busy: the answer would take 3000.0 ms, beyond the deadline of the request"
BEYOND = "the model is busy: 4 rows wait, at most 4 may, or target_p99_ms (2500 ms) would not be kept"


@pytest.mark.parametrize(
    ("queued_rows", "deadline", "target_ms", "message"),
    [
        pytest.param(0, 0.5, None, None, id="where nothing waits a request runs, whatever is predicted"),
        pytest.param(4, 2.5, None, None, id="in time by a little"),
        pytest.param(8, 2.5, None, LATE, id="too late"),
        pytest.param(8, NO_DEADLINE, None, None, id="no deadline, no hurry"),
        pytest.param(3, 99.0, 2500.0, None, id="answered within the target, even if a run has just begun"),
        pytest.param(4, 99.0, 2500.0, BEYOND, id="beyond the target"),
        pytest.param(0, 99.0, 10.0, None, id="a target that cannot be held lets one run wait"),
    ],
)
def test_a_request_that_would_be_answered_too_late_is_refused_at_once(
    queued_rows: int, deadline: float, target_ms: float | None, message: str | None
) -> None:
    """A run takes a second, whatever its rows, and begins at instant 0."""
    policy = Batching(max_batch_rows=4, max_queue_rows=10, max_request_rows=4, target_p99_ms=target_ms)
    waiting = Admission(policy, CostModel([(1, 1.0), (4, 1.0)]))
    asking = PlainBlock([call(0, deadline=deadline)], rows_each=1)
    taken, refused = waiting.admit(asking, queued_rows, now=0.0)
    assert [str(error) for _, error in refused] == ([] if message is None else [message])
    assert len(taken.calls) == (message is None)


def test_a_request_of_more_rows_than_keep_the_target_is_told_to_come_in_parts() -> None:
    policy = Batching(max_batch_rows=64, target_p99_ms=20, max_request_rows=64)
    waiting = Admission(policy, CostModel([(1, 1e-3), (64, 64e-3)]))
    asking = PlainBlock([call(0)], rows_each=12)
    assert waiting.admit(asking, 0, now=0.0)[0].calls
    _, ((_, error),) = waiting.admit(asking, 1, now=0.0)
    assert str(error) == (
        "the model is busy: 1 rows wait, at most 8 may, or target_p99_ms (20 ms) would not be kept; a request of 12 "
        "rows gets in only when none wait: send it in parts"
    )


@given(
    calls=st.integers(1, 50),
    queued_rows=st.integers(0, 50),
    run_s=st.floats(0.001, 10.0),
    target_s=st.floats(0.001, 10.0),
    instances=st.integers(1, 4),
)
def test_whoever_is_admitted_has_its_answer_within_the_target(
    calls: int, queued_rows: int, run_s: float, target_s: float, instances: int
) -> None:
    """If runs take what is predicted, and the target has room for two; nobody is refused without need."""
    policy = Batching(max_batch_rows=4, target_p99_ms=target_s * 1000, instances=instances)
    waiting = Admission(policy, CostModel([(1, run_s), (4, run_s)]))
    admitted = len(waiting.admit(PlainBlock([call(place) for place in range(calls)], 1), queued_rows, 0.0)[0].calls)

    def answered_s(rows: int) -> float:
        """When the last of so many has its answer, if all instances have just begun a run."""
        return run_s * (1 + math.ceil(rows / (waiting.batch_rows * instances)))

    if run_s <= target_s * TARGET_RUN_SHARE:
        assert not admitted or answered_s(queued_rows + admitted) <= target_s
        assert admitted == calls or answered_s(queued_rows + admitted + 1) > target_s * TARGET_RUNS_SHARE


def test_only_those_who_would_be_late_are_refused() -> None:
    calls = [call(0, deadline=1.0), call(1), call(2, deadline=9.0)]
    taken, refused = admission(POLICY).admit(PlainBlock(calls, 1), queued_rows=4, now=0.0)
    assert [each.handle for each in taken.calls] == [1, 2]
    assert [(each.handle, type(error)) for calls, error in refused for each in calls] == [(0, Overloaded)]


@pytest.mark.parametrize(
    ("target_ms", "rows"),
    [
        pytest.param(None, 256, id="no target: the policy's limit"),
        pytest.param(20.0, 8, id="a run may take two fifths of the target"),
        pytest.param(0.1, 1, id="a target that cannot be held still lets a row through"),
    ],
)
def test_a_target_limits_the_rows_of_a_run(target_ms: float | None, rows: int) -> None:
    policy = Batching(max_batch_rows=256, target_p99_ms=target_ms)
    assert Admission(policy, CostModel([(1, 0.001), (1000, 1.0)])).batch_rows == rows
