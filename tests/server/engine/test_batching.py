"""BatchQueue: a table of what leaves when, and what holds for every sequence of arrivals."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes import Nobody, PlainBlock, call
from skylane.server.core.types import NO_DEADLINE, Call
from skylane.server.engine.batching import Batch, BatchQueue

CAP, WAIT_S = 4, 1.0


def names(calls: Sequence[Call]) -> str:
    return "".join(str(call.handle) for call in calls)


def ran(cut: Batch) -> str:
    return names([call for task in cut.tasks for call in task.calls])


# Blocks are written (names of the calls, rows of each, arrival); a capital letter is a call whose caller has gone.
Waiting = tuple[str, int, float]


def queue_of(waiting: Sequence[Waiting], cap: int = CAP, wait_s: float = WAIT_S) -> BatchQueue:
    queue = BatchQueue(cap, wait_s)
    for letters, rows, arrived_at in waiting:
        calls = [call(letter) for letter in letters]
        for each in calls:
            each.cancelled = str(each.handle).isupper()
        queue.add(PlainBlock(calls, rows), arrived_at)
    return queue


@pytest.mark.parametrize(
    ("waiting", "now", "taken", "gone", "left"),
    [
        pytest.param([], 9.0, "", "", 0, id="nothing waits: nothing runs"),
        pytest.param([("a", 1, 0.0)], 0.9, "", "", 1, id="alone and early: wait for company"),
        pytest.param([("a", 1, 0.0)], 1.0, "a", "", 0, id="alone and due: go, however small"),
        pytest.param([("a", 3, 0.0), ("b", 1, 0.1)], 0.1, "ab", "", 0, id="full: go at once"),
        pytest.param([("abcd", 1, 0.0)], 0.0, "abcd", "", 0, id="full by one block: go at once"),
        pytest.param([("a", 3, 0.0), ("b", 2, 0.1)], 0.1, "a", "", 2, id="never split a request, never overfill"),
        pytest.param([("abc", 2, 0.0)], 0.0, "ab", "", 2, id="a block is split between its requests"),
        pytest.param([("ab", 3, 0.0)], 0.0, "a", "", 3, id="what does not fit beside the first waits"),
        pytest.param(
            [("a", 1, 0.0), ("b", 4, 0.1), ("c", 1, 0.2)], 1.0, "a", "", 5, id="arrival order beats a better fit"
        ),
        pytest.param([("a", 9, 0.0), ("b", 1, 0.0)], 0.0, "a", "", 1, id="a request over the cap runs alone"),
        pytest.param([("ab", 9, 0.0)], 0.0, "a", "", 9, id="two requests over the cap run one by one"),
        pytest.param([("b", 1, 0.0), ("a", 9, 0.0)], 0.0, "b", "", 9, id="a request over the cap joins nobody"),
        pytest.param([("A", 1, 0.0)], 1.0, "", "A", 0, id="a gone call leaves without a run"),
        pytest.param([("A", 1, 0.0)], 0.5, "", "", 1, id="a gone call is not looked at before its time"),
        pytest.param([("A", 3, 0.0), ("b", 3, 0.1)], 1.0, "b", "A", 0, id="a gone call uses no room"),
        pytest.param([("aBcD", 1, 0.0)], 0.0, "ac", "BD", 0, id="a gone call leaves its block"),
        pytest.param([("A", 9, 0.0), ("bcde", 1, 0.1)], 0.1, "bcde", "A", 0, id="a gone giant makes way for all"),
        pytest.param([("ABCD", 1, 0.0), ("E", 1, 0.0)], 0.0, "", "ABCDE", 0, id="when all have gone nothing runs"),
        pytest.param(
            [("abcd", 1, 0.0), ("E", 1, 0.0)], 0.0, "abcd", "", 1, id="behind a full batch nobody is looked at"
        ),
    ],
)
def test_take(waiting: list[Waiting], now: float, taken: str, gone: str, left: int) -> None:
    queue = queue_of(waiting)
    cut = queue.take(now)
    assert (ran(cut), names(cut.gone), queue.rows) == (taken, gone, left)


@pytest.mark.parametrize(
    ("waiting", "due_at"),
    [
        pytest.param([], None, id="never while nothing waits"),
        pytest.param([("a", 1, 3.0)], 4.0, id="when the oldest has waited long enough"),
        pytest.param([("a", 1, 3.0), ("b", 1, 3.9)], 4.0, id="a later arrival does not put it off"),
        pytest.param([("a", 2, 3.0), ("b", 2, 3.5)], 3.0, id="full: since the oldest arrived"),
        pytest.param([("a", 9, 3.0)], 3.0, id="a request over the cap waits for nobody"),
    ],
)
def test_due_at(waiting: list[Waiting], due_at: float | None) -> None:
    assert queue_of(waiting).due_at() == due_at


def test_what_was_left_behind_keeps_its_own_arrival() -> None:
    queue = queue_of([("abc", 2, 0.25)])
    assert ran(queue.take(0.5)) == "ab"
    assert queue.due_at() == 1.25
    assert ran(queue.take(1.0)) == ""
    assert ran(queue.take(1.25)) == "c"


def test_without_a_wait_whatever_is_there_goes() -> None:
    queue = queue_of([("a", 1, 5.0)], wait_s=0.0)
    assert queue.due_at() == 5.0
    assert ran(queue.take(5.0)) == "a"


@pytest.mark.parametrize(
    ("deadline", "followers", "runs"),
    [
        pytest.param(1.0, [], False, id="a deadline at this very instant has passed"),
        pytest.param(1.1, [], True, id="a deadline still to come has not"),
        pytest.param(0.5, [NO_DEADLINE], True, id="a follower who waits makes an expired leader run"),
        pytest.param(0.5, [0.7, 0.9], False, id="followers who have all gone do not"),
    ],
)
def test_who_is_worth_a_run(deadline: float, followers: list[float], runs: bool) -> None:
    leader = call("a", deadline)
    leader.followers = [call("f", each) for each in followers] or None
    queue = BatchQueue(CAP, WAIT_S)
    queue.add(PlainBlock([leader], 1), 0.0)
    cut = queue.take(1.0)
    assert (ran(cut), names(cut.gone)) == (("a", "") if runs else ("", "a"))


class Leaving(Call):
    """Its caller goes when it has been looked at so often: the transport's thread sees that at any instant."""

    __slots__ = ("stays",)

    def __init__(self, stays: int) -> None:
        self.stays = stays
        super().__init__("b", Nobody(), NO_DEADLINE)

    @property
    def cancelled(self) -> bool:
        self.stays -= 1
        return self.stays < 0

    @cancelled.setter
    def cancelled(self, value: bool) -> None:
        """Only ever set to what it is."""


@pytest.mark.parametrize("stays", range(5))
def test_a_call_whose_caller_goes_meanwhile_is_in_the_batch_or_among_those_gone(stays: int) -> None:
    queue, gone = BatchQueue(CAP, 0.0), call("a")
    gone.cancelled = True
    queue.add(PlainBlock([gone, Leaving(stays), call("c")]), 0.0)
    cut = queue.take(0.0)
    assert sorted(ran(cut) + names(cut.gone)) == ["a", "b", "c"]


def test_a_cancelled_leader_with_a_live_follower_still_runs() -> None:
    leader, follower = call("a"), call("f")
    leader.cancelled, leader.followers = True, [follower]
    queue = BatchQueue(CAP, WAIT_S)
    queue.add(PlainBlock([leader, call("b")], 2), 0.0)
    assert ran(queue.take(0.0)) == "ab"


tasks = st.tuples(
    st.lists(st.tuples(st.booleans(), st.one_of(st.none(), st.floats(0, 20))), min_size=1, max_size=5),
    st.integers(1, 7),
)
"""(whether each call is cancelled and its deadline, rows of each)."""
steps = st.lists(st.tuples(st.floats(0, 2), st.one_of(st.none(), tasks)), max_size=30)
"""Seconds that pass, and a block that arrives or a batch that is taken."""


@given(cap=st.integers(1, 9), wait_s=st.sampled_from([0.0, 0.5, 3.0]), steps=steps)
def test_each_call_leaves_exactly_once_in_order_within_the_cap(
    cap: int, wait_s: float, steps: list[tuple[float, tuple[list[tuple[bool, float | None]], int] | None]]
) -> None:
    queue, now = BatchQueue(cap, wait_s), 0.0
    rows_of: dict[Call, int] = {}
    waiting: list[Call] = []
    left: list[Call] = []
    for passed, arriving in [*steps, *[(10.0, None)] * (5 * len(steps) + 1)]:
        now += passed
        if arriving is not None:
            made = [call(len(rows_of) + i, at or NO_DEADLINE) for i, (_, at) in enumerate(arriving[0])]
            for each, (cancelled, _) in zip(made, arriving[0], strict=True):
                each.cancelled = cancelled
            rows_of |= dict.fromkeys(made, arriving[1])
            waiting += made
            queue.add(PlainBlock(made, arriving[1]), now)
        else:
            due_at = queue.due_at()
            cut = queue.take(now)
            taken = [each for task in cut.tasks for each in task.calls]
            assert bool(taken or cut.gone) == (due_at is not None and due_at <= now)
            assert all(each.is_live(now) for each in taken)
            assert not any(each.is_live(now) for each in cut.gone)
            assert sum(task.rows for task in cut.tasks) <= cap or len(taken) == 1
            live = [each for each in waiting if each.is_live(now)]
            assert taken == live[: len(taken)], "out of order, or somebody was overtaken"
            waiting = [each for each in waiting if each not in {*taken, *cut.gone}]
            left += taken + cut.gone
        assert queue.rows == sum(rows_of[each] for each in waiting)
        assert (queue.due_at() is None) == (not waiting)
    assert sorted(each.handle for each in left) == sorted(each.handle for each in rows_of)
