"""When requests are sent and what makes them late, on a clock that only the test moves."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skylane.bench.client.pacing import Pacer

DUE = st.lists(st.integers(0, 10_000), min_size=1, max_size=40).map(sorted)


def play(due_us: list[int], steps: list[int], room: int) -> tuple[list[int], list[int], Pacer]:
    """A generator that wakes up after each of these steps, while the server takes `room` requests at each waking.

    Gives which were sent, and when.
    """
    pacer, now_us, sent, at_us = Pacer(due_us), 0, list[int](), list[int]()
    for step in steps:
        now_us += step
        taken = 0
        while pacer.is_due(now_us):
            if taken == room:
                pacer.hold()
                break
            sent.append(pacer.take(now_us))
            at_us.append(now_us)
            taken += 1
    return sent, at_us, pacer


@given(due_us=DUE, steps=st.lists(st.integers(0, 2_000), max_size=60), room=st.integers(1, 50))
def test_each_is_sent_once_in_order_and_never_early(due_us: list[int], steps: list[int], room: int) -> None:
    sent, at_us, pacer = play(due_us, steps, room)
    assert sent == list(range(len(sent)))
    assert all(at >= due_us[place] for place, at in zip(sent, at_us, strict=True))
    late_us = pacer.late_us(np.array(at_us + [0] * (len(due_us) - len(at_us))))
    assert all(0 <= late <= at - due_us[place] for place, at, late in zip(sent, at_us, late_us, strict=True))


@given(due_us=DUE, steps=st.lists(st.integers(0, 2_000), max_size=60))
def test_with_room_all_the_delay_is_the_generators(due_us: list[int], steps: list[int]) -> None:
    sent, at_us, pacer = play(due_us, steps, room=len(due_us))
    late_us = pacer.late_us(np.array(at_us + [0] * (len(due_us) - len(at_us))))
    assert late_us.tolist() == [at - due_us[place] for place, at in zip(sent, at_us, strict=True)]


def test_a_server_without_room_makes_nobody_else_late() -> None:
    sent, at_us, pacer = play([0, 0, 0, 500], [0, 1000, 1000, 1000], room=1)
    assert (sent, at_us) == ([0, 1, 2, 3], [0, 1000, 2000, 3000])
    assert pacer.late_us(np.array(at_us)).tolist() == [0, 0, 0, 0]


def test_what_was_held_up_is_late_again_once_there_is_room() -> None:
    pacer = Pacer([0, 0])
    pacer.hold()
    pacer.take(700)
    pacer.take(700)
    assert pacer.late_us(np.array([705, 712])).tolist() == [5, 12]


@pytest.mark.parametrize(
    ("now_us", "expected"),
    [
        pytest.param(0, 100, id="nothing yet: until the next is due"),
        pytest.param(100, 0, id="due: not at all"),
        pytest.param(170, 0, id="overdue: not at all"),
    ],
)
def test_how_long_to_wait(now_us: int, expected: int) -> None:
    assert Pacer([100]).wait_us(now_us) == expected


def test_only_a_reply_helps_where_there_is_no_room_or_nothing_left() -> None:
    pacer = Pacer([100])
    pacer.hold()
    assert pacer.wait_us(200) is None
    pacer.take(200)
    assert pacer.wait_us(200) is None
