"""The state: all or nothing, one process, and reports that never change."""

import multiprocessing
import os
import stat
from pathlib import Path

import pytest

from skylane.monitor.state import Report, State, StateUnusable


def test_a_transaction_that_fails_leaves_nothing(state: State) -> None:
    def fail() -> None:
        with state.transaction():
            state.add_part("m", 0, 3, b"x")
            state.set_position("rows", "d", "m", {"read": 3})
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert (state.blocks("m"), state.position("rows", "d", "m"), state.marked("m")) == ([], None, [])


def test_parts_of_a_block_come_back_in_their_order(state: State) -> None:
    with state.transaction():
        for content in (b"a", b"b"):
            state.add_part("m", 10, 2, content)
        state.add_part("m", 5, 1, b"c")
    assert [part.content for part in state.parts("m", 10)] == [b"a", b"b"]
    assert state.blocks("m") == [(5, 1), (10, 4)]
    assert state.marked("m") == [5, 10]
    with state.transaction():
        state.replace_parts("m", 10, 4, b"ab")
        state.remove_before("m", 10)
    assert [(part.rows, part.content) for part in state.parts("m", 10)] == [(4, b"ab")]
    assert state.blocks("m") == [(10, 4)]


def test_a_report_stays_as_it_was_written(state: State) -> None:
    first = Report("m", "drift", 1, 10, 100, {"status": "ok"})
    with state.transaction():
        assert state.write_report(first)
        assert not state.write_report(Report("m", "drift", 1, 10, 200, {"status": "alarm"}))
    assert state.reports("m", "drift") == [first]
    assert state.reports("m", "drift", recorded_by=99) == []


def test_a_second_process_is_refused_and_a_reader_is_not(state: State, state_path: Path) -> None:
    with pytest.raises(StateUnusable, match=r"another `skylane monitor` uses this file"):
        State(state_path)
    with State(state_path, read_only=True) as reader:
        assert reader.models() == []


def _hold(path: Path) -> None:
    State(path)
    os.kill(os.getpid(), 9)


def test_a_process_that_was_killed_holds_nothing(state_path: Path) -> None:
    process = multiprocessing.get_context("spawn").Process(target=_hold, args=(state_path,))
    process.start()
    process.join()
    assert process.exitcode == -9
    with State(state_path) as state:
        assert state.models() == []


def test_only_the_owner_may_read_it(state: State, state_path: Path) -> None:
    assert stat.S_IMODE(state_path.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("content", "says"),
    [
        pytest.param(b"not a database, but long enough to be none" * 30, "file is not a database", id="another file"),
        pytest.param(None, "no such file", id="none yet, for a reader"),
    ],
)
def test_what_is_no_state_is_named(state_path: Path, content: bytes | None, says: str) -> None:
    if content is not None:
        state_path.write_bytes(content)
    with pytest.raises(StateUnusable, match=says):
        State(state_path, read_only=content is None)


def test_a_later_format_is_refused_with_the_remedy(state_path: Path) -> None:
    with State(state_path) as state:
        state._run("PRAGMA user_version = 99")
    with pytest.raises(StateUnusable, match="its format is 99, this release has 1; use another file"):
        State(state_path)
