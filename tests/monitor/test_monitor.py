"""Passes over a journal: each row once wherever they are interrupted, and figures as known at an instant."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from skylane.monitor import performance_figures
from skylane.monitor.monitor import Monitor
from skylane.monitor.state import State
from skylane.monitor.views import Selection, view_of
from support.written_journal import WrittenJournal

from .conftest import DAY_US, HOUR_US, START_US, Day

LATER = START_US + 60 * DAY_US


class _Interrupted(State):
    """A state whose process dies at the n-th change: what was not committed is gone."""

    def __init__(self, path: Path, changes: int) -> None:
        super().__init__(path)
        self.left: int | None = changes

    def _run(self, statement: str, *values: Any) -> None:
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                raise KeyboardInterrupt
        super()._run(statement, *values)


def _contents(path: Path) -> tuple[Any, ...]:
    with State(path, read_only=True) as state:
        blocks = state.blocks("flights")
        rows = [tuple(part.rows for part in state.parts("flights", block)) for block, _ in blocks]
        inputs = [state.inputs("flights", 1, block) for block in state.input_blocks("flights", 1)]
        derived = [state.derived("flights", kind) for kind in ("performance", "drift", "summary")]
        return blocks, rows, inputs, derived, state.excluded("flights")


def test_each_row_counts_once_wherever_a_pass_is_interrupted(
    day: Day, journal: WrittenJournal, repository: Path, tmp_path: Path
) -> None:
    for number in range(3):
        day(number)
    day(3, degraded="fallback")
    whole = tmp_path / "whole.sqlite"
    with State(whole) as state:
        Monitor(state, [journal.directory], repository).run(LATER)
    expected, interrupted = _contents(whole), tmp_path / "interrupted.sqlite"
    for changes in range(1, 60):
        with _Interrupted(interrupted, changes) as state:
            try:
                Monitor(state, [journal.directory], repository).run(LATER)
            except KeyboardInterrupt:
                continue
            break
    with State(interrupted) as state:
        Monitor(state, [journal.directory], repository).run(LATER)
    assert _contents(interrupted) == expected
    assert expected[0] == [(START_US + number * DAY_US, 60) for number in range(3)]
    assert expected[4] == {"degraded": 60}


def test_rows_that_come_between_passes_give_what_one_pass_gives(
    day: Day, journal: WrittenJournal, repository: Path, tmp_path: Path
) -> None:
    several = tmp_path / "several.sqlite"
    for number in range(4):
        day(number % 2)
        with State(several) as state:
            Monitor(state, [journal.directory], repository).run(LATER)
    with State(tmp_path / "one.sqlite") as state:
        Monitor(state, [journal.directory], repository).run(LATER)
    with State(several, read_only=True) as one, State(tmp_path / "one.sqlite", read_only=True) as other:
        assert one.derived("flights", "performance") == other.derived("flights", "performance")
        assert one.blocks("flights") == other.blocks("flights")


def test_a_pass_without_anything_new_computes_nothing(
    day: Day, journal: WrittenJournal, repository: Path, state: State
) -> None:
    day(0)
    monitor = Monitor(state, [journal.directory], repository)
    first, second = monitor.run(START_US + 300 * DAY_US), monitor.run(START_US + 301 * DAY_US)
    assert (first.rows, first.blocks, second.rows, second.blocks) == (60, 1, 0, 0)


def test_two_servers_are_one_model(
    day: Day, journal: WrittenJournal, repository: Path, state: State, tmp_path: Path
) -> None:
    day(0)
    other = WrittenJournal(tmp_path / "other", "flights", writer="00000000000000bb")
    with _writing(other):
        name = other.predict({"distance": [1.0]}, {"label": ["late"], "probabilities": [[0.2, 0.8]]}, START_US)
        other.record(name, ["late"], START_US + HOUR_US)
        monitor = Monitor(state, [journal.directory, other.directory], repository)
        monitor.run(LATER)
        view = view_of(state, repository, "flights", LATER, Selection())
    assert [(block.rows, block.labelled) for block in view.blocks] == [(61, 61)]


@contextmanager
def _writing(journal: WrittenJournal) -> Iterator[None]:
    try:
        yield
    finally:
        journal.close()


def test_a_late_outcome_changes_the_figure_of_today_and_no_report(
    day: Day, journal: WrittenJournal, repository: Path, state: State
) -> None:
    name = day(0, labelled=40)
    monitor = Monitor(state, [journal.directory], repository)
    monitor.run(START_US + DAY_US)
    (reported,) = state.reports("flights", performance_figures.KIND)
    journal.record(name, [None] * 40 + ["late"] * 20, START_US + 3 * DAY_US)
    monitor.run(START_US + 4 * DAY_US)
    (figures,) = view_of(state, repository, "flights", 0, Selection()).blocks
    assert (reported.value["labelled"], figures.labelled) == (40, 60)
    assert state.reports("flights", performance_figures.KIND) == [reported]


def test_as_known_at_an_instant(day: Day, journal: WrittenJournal, repository: Path, state: State) -> None:
    day(0), day(1)
    Monitor(state, [journal.directory], repository).run(LATER)
    seen = {
        hours: [
            (each.rows, each.labelled)
            for each in view_of(state, repository, "flights", 0, Selection(as_known=START_US + hours * HOUR_US)).blocks
        ]
        for hours in (5, 7, 12, 31, 48)
    }
    assert seen == {5: [], 7: [(60, 0)], 12: [(60, 60)], 31: [(60, 60), (60, 0)], 48: [(60, 60), (60, 60)]}


@pytest.mark.parametrize("pass_at", [pytest.param(True, id="by --at"), pytest.param(False, id="by --as-known")])
def test_a_row_counts_from_the_instant_after_its_event(
    journal: WrittenJournal, repository: Path, state: State, *, pass_at: bool
) -> None:
    for at in (START_US, START_US + DAY_US, START_US + DAY_US + 1):
        journal.predict({"distance": [1.0]}, {"label": ["late"], "probabilities": [[0.2, 0.8]]}, at)
    monitor = Monitor(state, [journal.directory], repository)
    seen = []
    for instant in (START_US + DAY_US, START_US + DAY_US + 1, START_US + DAY_US + 2):
        monitor.run(instant if pass_at else LATER)
        view = view_of(state, repository, "flights", LATER, Selection(as_known=None if pass_at else instant))
        seen.append([block.rows for block in view.blocks])
    assert seen == [[1], [1, 1], [1, 2]]


@pytest.mark.parametrize(
    ("selection", "rows"),
    [
        pytest.param(Selection(), 180, id="everything"),
        pytest.param(Selection(version=2), 60, id="one version"),
        pytest.param(Selection(since=START_US + DAY_US), 120, id="since a day"),
        pytest.param(Selection(segment="carrier=AA"), None, id="one segment"),
    ],
)
def test_selections(
    day: Day, journal: WrittenJournal, repository: Path, state: State, selection: Selection, rows: int | None
) -> None:
    day(0), day(1), day(2, version=2)
    Monitor(state, [journal.directory], repository).run(LATER)
    view = view_of(state, repository, "flights", 0, selection)
    total = sum(each.rows for each in view.blocks)
    assert 0 < total < 180 if rows is None else total == rows


def test_a_segment_by_another_column_names_those_there_are(
    day: Day, journal: WrittenJournal, repository: Path, state: State
) -> None:
    day(0)
    Monitor(state, [journal.directory], repository).run(LATER)
    with pytest.raises(ValueError, match="there are no segments by 'origin', only by carrier"):
        view_of(state, repository, "flights", 0, Selection(segment="origin"))


def test_a_sampled_row_weighs_as_many_as_it_stands_for(
    day: Day, journal: WrittenJournal, repository: Path, state: State
) -> None:
    inputs: dict[str, Any] = {"distance": [1.0, 2.0]}
    for probability, labels in ((1.0, ["late", "late"]), (0.25, ["on time", "on time"])):
        outputs = {"label": ["late"] * 2, "probabilities": [[0.2, 0.8]] * 2}
        name = journal.predict(inputs, outputs, START_US, probability=probability)
        journal.record(name, labels, START_US + HOUR_US)
    Monitor(state, [journal.directory], repository).run(LATER)
    (block,) = view_of(state, repository, "flights", 0, Selection()).blocks
    assert block.measures["positive_share"].will_be == pytest.approx(2 / 10)


def test_a_policy_that_cannot_be_used_is_a_problem_and_the_figures_go_on(
    day: Day, journal: WrittenJournal, repository: Path, state: State
) -> None:
    day(0)
    monitor = Monitor(state, [journal.directory], repository)
    monitor.run(LATER)
    (repository / "flights" / "model.toml").write_text("[monitor]\nblok = 1")
    day(1)
    done = monitor.run(LATER)
    assert "unknown key 'blok'" in done.problems["flights"]
    assert done.rows == 60


@pytest.mark.parametrize(
    ("toml", "outputs", "says"),
    [
        pytest.param("", {"label": ["1", "0"]}, "no regressor, and the classes", id="nothing says what it is"),
        pytest.param('classes = ["0", "1"]', {"label": ["1", "0"]}, "", id="labels without probabilities"),
        pytest.param(
            'classes = ["0", "1"]', {"probabilities": [[0.1, 0.2, 0.7]] * 2}, "", id="another number of classes"
        ),
        pytest.param('classes = ["0", "1"]', {"other": [1.5, 2.5]}, "", id="outputs of other names"),
    ],
)
def test_a_model_that_outcomes_cannot_judge_is_no_failure(
    journal: WrittenJournal, repository: Path, state: State, toml: str, outputs: dict[str, Any], says: str
) -> None:
    (repository / "flights" / "model.toml").write_text(f"[monitor]\n{toml}")
    name = journal.predict({"distance": [1.0, 2.0]}, outputs, START_US)
    journal.record(name, ["1", "0"], START_US + HOUR_US)
    assert Monitor(state, [journal.directory], repository).run(LATER).rows == 2
    assert says in view_of(state, repository, "flights", 0, Selection()).unjudged


def test_how_a_block_looked_when_it_ended_and_how_it_is_now(
    journal: WrittenJournal, repository: Path, state: State
) -> None:
    outputs = {"label": ["late"] * 4, "probabilities": [[0.2, 0.8]] * 4}
    name = journal.predict({"distance": [1.0] * 4}, outputs, START_US + 20 * HOUR_US)
    times = [START_US + hours * HOUR_US for hours in (22, 23, 30, 31)]
    journal.record(name, ["on time", "on time", "late", "late"], times)
    monitor = Monitor(state, [journal.directory], repository)
    monitor.run(LATER)
    (block,) = view_of(state, repository, "flights", 0, Selection()).blocks
    share = block.measures["positive_share"]
    assert (share.looks, share.will_be) == (0.0, 0.5)


def test_a_block_that_has_just_begun_leaves_the_share_to_come_known(
    day: Day, journal: WrittenJournal, repository: Path, state: State
) -> None:
    for number in range(20):
        day(number)
    journal.predict({"distance": [1.0]}, {"label": ["late"], "probabilities": [[0.2, 0.8]]}, START_US + 20 * DAY_US)
    Monitor(state, [journal.directory], repository).run(START_US + 20 * DAY_US + HOUR_US)
    view = view_of(state, repository, "flights", 0, Selection())
    assert view.blocks[-1].to_come == 1.0
    assert view.versions[0].to_come == pytest.approx(1 / 1201)
    assert view.versions[0].measures["log_loss"].low is not None
