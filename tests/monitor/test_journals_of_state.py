"""A state belongs to the journals that it was made from: others are refused, with words about what to do."""

import shutil
from pathlib import Path

import pytest

from skylane.cli import main
from skylane.monitor.monitor import Monitor
from skylane.monitor.state import State, StateUnusable
from support.written_journal import WrittenJournal

from .conftest import DAY_US, START_US, Day

LATER = START_US + 60 * DAY_US


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """A journal of another server, with one row."""
    return _written(tmp_path / "other")


def _written(directory: Path) -> Path:
    written = WrittenJournal(directory, "flights", writer="00000000000000bb")
    written.predict({"distance": [1.0]}, {"label": ["late"], "probabilities": [[0.2, 0.8]]}, START_US)
    written.close()
    return directory


def test_another_journal_is_refused_and_nothing_of_it_is_read(
    day: Day, journal: WrittenJournal, other: Path, repository: Path, state_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    day(0)
    shared = ["--models", str(repository), "--state", str(state_path), "--once"]
    assert main(["monitor", "--journal", str(journal.directory), *shared]) == 0
    assert main(["monitor", "--journal", str(other), *shared]) == 2
    said = capsys.readouterr().err
    assert f"made from the journal {journal.directory}, and --journal is {other}" in said
    assert "Give --state OTHER for another journal" in said
    with State(state_path, read_only=True) as state:
        assert state.blocks("flights") == [(START_US, 60)]
        assert state.about("directories") == [str(journal.directory)]


def test_a_further_server_may_be_added_and_not_be_left_out_again(
    day: Day, journal: WrittenJournal, other: Path, repository: Path, state: State
) -> None:
    day(0)
    Monitor(state, [journal.directory], repository).run(LATER)
    assert Monitor(state, [journal.directory, other], repository).run(LATER).rows == 1
    with pytest.raises(StateUnusable, match=f"add --journal {other}"):
        Monitor(state, [journal.directory], repository)


def test_a_journal_that_was_replaced_at_its_path_is_refused(
    day: Day, journal: WrittenJournal, repository: Path, state: State
) -> None:
    day(0)
    monitor = Monitor(state, [journal.directory], repository)
    monitor.run(LATER)
    journal.close()
    shutil.rmtree(journal.directory)
    journal.directory.mkdir()
    assert monitor.run(LATER).rows == 0
    _written(journal.directory)
    with pytest.raises(StateUnusable, match="made from another journal that was in"):
        monitor.run(LATER)


def test_a_server_that_was_restarted_goes_on_in_the_same_journal(
    day: Day, journal: WrittenJournal, repository: Path, state: State
) -> None:
    day(0)
    Monitor(state, [journal.directory], repository).run(LATER)
    _written(journal.directory)
    assert Monitor(state, [journal.directory], repository).run(LATER).rows == 1
