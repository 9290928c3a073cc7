"""When a worker is taken to hang."""

import pytest

from skylane.server.process.heartbeat import LATE, MISSED_MAX, STARTING_MAX, Heartbeat


@pytest.mark.parametrize(
    ("history", "hangs"),
    [
        pytest.param([STARTING_MAX], False, id="it still imports its modules"),
        pytest.param([STARTING_MAX + 1], True, id="it never begins"),
        pytest.param([0, MISSED_MAX], False, id="a pause, as of a large model that is loaded"),
        pytest.param([0, MISSED_MAX + 1], True, id="it was stopped"),
        pytest.param([0, *[MISSED_MAX] * 5], False, id="slow, and alive"),
        pytest.param([STARTING_MAX, MISSED_MAX + 1], True, id="it began late, and was stopped"),
    ],
)
def test_whether_a_worker_hangs(history: list[int], hangs: bool) -> None:
    """`history`: ticks before each beat, and after the last one."""
    heart, ticks = Heartbeat(), list[bool]()
    for number, silence in enumerate(history):
        if number:
            heart.beat()
        ticks += [heart.tick() for _ in range(silence)]
    assert ticks[-1] is hangs
    assert not any(ticks[:-1])


def test_a_worker_that_is_late_is_told_of_once_until_it_beats_again() -> None:
    heart, late = Heartbeat(), list[int]()
    for _ in range(2 * MISSED_MAX):
        heart.tick()
        assert not heart.is_late, "it still imports its modules"
    heart.beat()
    for tick in range(1, MISSED_MAX + 1):
        heart.tick()
        late += [tick] * heart.is_late
    heart.beat()
    heart.tick()
    assert (late, heart.is_late) == ([LATE + 1], False)
