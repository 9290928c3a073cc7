"""Admission: a table of what may wait, and what the refusal advises."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes import PlainBlock, call
from server.engine.admission import admit, check_size, overloaded
from server.engine.cost import CostModel
from server.errors import TooManyRows
from skylane.policy import Batching


def block(calls: int, rows_each: int) -> PlainBlock:
    return PlainBlock([call(place) for place in range(calls)], rows_each)


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
    assert admit(block(calls, rows_each), queued_rows, POLICY) == admitted


@given(calls=st.integers(1, 50), rows_each=st.integers(1, 50), queued_rows=st.integers(0, 500))
def test_the_queue_never_grows_beyond_its_bound_and_nobody_is_refused_without_need(
    calls: int, rows_each: int, queued_rows: int
) -> None:
    policy = Batching(max_queue_rows=200, max_request_rows=50)
    admitted = admit(block(calls, rows_each), queued_rows, policy)
    assert 0 <= admitted <= calls
    assert queued_rows + admitted * rows_each <= 200 or admitted == 0
    assert queued_rows + (admitted + 1) * rows_each > 200 or admitted == calls


def test_a_request_at_the_limit_is_not_too_large() -> None:
    check_size(block(7, 10), POLICY)


def test_a_request_over_the_limit_is_told_both_numbers_and_what_to_do() -> None:
    with pytest.raises(TooManyRows) as raised:
        check_size(block(1, 11), POLICY)
    assert str(raised.value) == (
        "the request has 11 rows, but this model takes at most 10 (max_request_rows): send it in parts"
    )


@pytest.mark.parametrize(
    ("queued_rows", "instances", "retry_after_ms"),
    [
        pytest.param(8, 1, 2000, id="as long as two full batches take"),
        pytest.param(9, 1, 3000, id="a batch begun counts in full"),
        pytest.param(8, 4, 500, id="instances share the work"),
        pytest.param(0, 1, 1, id="never at once"),
    ],
)
def test_overloaded_advises_to_come_back_when_the_queue_should_be_empty(
    queued_rows: int, instances: int, retry_after_ms: int
) -> None:
    policy = Batching(max_batch_rows=4, max_queue_rows=10, max_request_rows=10, instances=instances)
    error = overloaded(queued_rows, policy, CostModel([(4, 1.0)]))
    assert error.retry_after_ms == retry_after_ms
    assert str(error) == (f"the model's queue is full: {queued_rows} rows wait, at most 10 may (max_queue_rows)")
