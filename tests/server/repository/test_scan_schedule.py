"""When the repository is scanned in full, as a table; and what a check of time stamps sees, on a real file system."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skylane.server.repository.scan_schedule import FULL_S, SETTLE_S, ScanSchedule
from skylane.server.repository.scanner import TimeStamps, time_stamps

PATHS = ("models",)


def seen(text: str) -> TimeStamps:
    """Time stamps that differ for different texts."""
    return ((len(text), *text.encode()),)


def looks(*asked: tuple[float, str]) -> list[float]:
    """When a full look was due, of these instants with what was seen."""
    decider = ScanSchedule()
    return [now for now, text in asked if decider.is_due(PATHS, seen(text), now)]


@pytest.mark.parametrize(
    ("asked", "full"),
    [
        pytest.param([(0.0, "a")], [0.0], id="the first look is full"),
        pytest.param([(0.0, "a"), (1.0, "a"), (2.0, "a")], [0.0, 1.0, 2.0], id="for a while after a change all are"),
        pytest.param([(0.0, "a"), (3.0, "a"), (9.0, "a")], [0.0], id="then none, while nothing is seen to change"),
        pytest.param([(0.0, "a"), (5.0, "b")], [0.0, 5.0], id="a change is looked into at once"),
        pytest.param([(0.0, "a"), (5.0, "b"), (6.0, "b")], [0.0, 5.0, 6.0], id="and again: it may not be the last"),
        pytest.param([(0.0, "a"), (5.0, "b"), (9.0, "a")], [0.0, 5.0, 9.0], id="a change back is one"),
        pytest.param([(0.0, "a"), (29.0, "a"), (30.0, "a")], [0.0, 30.0], id="now and then, whatever is seen"),
    ],
)
def test_is_due(asked: list[tuple[float, str]], full: list[float]) -> None:
    assert looks(*asked) == full


def test_other_paths_are_a_change() -> None:
    decider = ScanSchedule()
    assert decider.is_due(("a",), seen("x"), 0.0)
    assert not decider.is_due(("a",), seen("x"), SETTLE_S)
    assert decider.is_due(("a", "b"), seen("x"), SETTLE_S + 1)


@given(st.lists(st.tuples(st.floats(0.01, FULL_S), st.sampled_from("ab")), min_size=1, max_size=60))
def test_whatever_changes_a_full_look_follows_it_and_none_is_later_than_the_bound(
    steps: list[tuple[float, str]],
) -> None:
    decider, now, before, last = ScanSchedule(), 0.0, "", -FULL_S
    for pause, text in steps:
        now += pause
        due = decider.is_due(PATHS, seen(text), now)
        assert due or (text == before and now - last < FULL_S)
        before, last = text, now if due else last


def _write_new(root: Path) -> None:
    (root / "m" / "2").mkdir()


def _remove(root: Path) -> None:
    (root / "m" / "1").rmdir()


def _replace(root: Path) -> None:
    (root / "new").write_text("x = 2\n")
    (root / "new").replace(root / "m" / "model.toml")


def _edit_in_place(root: Path) -> None:
    (root / "m" / "model.toml").write_text("x = 22\n")


def _edit_and_hide(root: Path) -> None:
    """The same size, and the time of writing set back as tools do that copy times."""
    path = root / "m" / "model.toml"
    before = path.stat()
    path.write_text("x = 2\n")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def _lead_elsewhere(root: Path) -> None:
    (root / "m" / "model.toml").unlink()
    (root / "m" / "model.toml").symlink_to(root / "elsewhere.toml")


def _lock(root: Path) -> None:
    (root / "m").chmod(0o500)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(_write_new, id="a version comes"),
        pytest.param(_remove, id="a version goes"),
        pytest.param(_replace, id="the policy is replaced"),
        pytest.param(_edit_in_place, id="the policy is edited in place"),
        pytest.param(_edit_and_hide, id="the policy is edited and looks as old as before"),
        pytest.param(_lead_elsewhere, id="the policy becomes a link, as mounted configurations are"),
        pytest.param(_lock, id="rights change"),
    ],
)
def test_a_glance_sees(change: Callable[[Path], None], tmp_path: Path) -> None:
    (tmp_path / "m" / "1").mkdir(parents=True)
    (tmp_path / "m" / "model.toml").write_text("x = 1\n")
    (tmp_path / "elsewhere.toml").write_text("x = 1\n")
    for path in (tmp_path / "m" / "model.toml", tmp_path / "m"):
        os.utime(path, ns=(1, 1))  # long ago: what follows is not within the same tick of the clock
    paths = [str(tmp_path / place) for place in ("m", "m/model.toml", "m/1")]
    before = time_stamps(paths)
    assert time_stamps(paths) == before
    change(tmp_path)
    assert time_stamps(paths) != before
    (tmp_path / "m").chmod(0o700)
