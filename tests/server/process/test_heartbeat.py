"""When a worker is taken to hang."""

import pytest

from skylane.server.process.heartbeat import MISSED_MAX, STARTING_MAX, Heartbeat


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
