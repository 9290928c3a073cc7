"""Labels as senders write them: which of them are classes, and what is said of those that are none."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from skylane.monitor.class_labels import LABEL_SHOWN, numbers, places, words
from skylane.monitor.metrics import exposition
from skylane.monitor.monitor import Monitor
from skylane.monitor.page.render import page
from skylane.monitor.state import State
from skylane.monitor.views import Selection, view_of
from support.written_journal import WrittenJournal

from .conftest import DAY_US, HOUR_US, START_US

LATER = START_US + 60 * DAY_US


@pytest.mark.parametrize(
    ("classes", "label", "place"),
    [
        pytest.param(["0", "1"], "1", 1, id="as it is written"),
        pytest.param(["0", "1"], "1.0", 1, id="a number that pandas made of an integer"),
        pytest.param(["0", "1"], "-0.0", 0, id="a negative zero"),
        pytest.param(["0", "1"], "True", 1, id="a truth value where the classes are 0 and 1"),
        pytest.param(["false", "true"], "1.0", 1, id="a number where the classes are truth values"),
        pytest.param(["false", "true"], "False", 0, id="a truth value as Python writes it"),
        pytest.param(["0.5", "1.50"], "1.5", 1, id="numbers that are no integers"),
        pytest.param(["1", "1.0"], "1.0", 1, id="an exact class before an equal number"),
        pytest.param(["1", "1.0"], "1.00", -1, id="a number that could be two classes"),
        pytest.param(["0", "1", "2"], "True", -1, id="a truth value where there are three classes"),
        pytest.param(["0", "1", "true"], "1.0", 1, id="a number beside a class that is a truth value"),
        pytest.param(["1", "true"], "1.0", 0, id="a number never stands for a truth value without its opposite"),
        pytest.param(["0", "1"], "2.0", -1, id="a number that is no class"),
        pytest.param(["0", "1"], "1.0000000000000000001", -1, id="a number that is nearly a class"),
        pytest.param(["0", "1"], "nan", -1, id="no number"),
        pytest.param(["0", "1"], "banana", -1, id="another text"),
        pytest.param(["late", "on time"], "Late", -1, id="texts are compared exactly"),
        pytest.param(["0", "1"], None, -1, id="no label"),
    ],
)
def test_which_class_a_label_is(classes: list[str], label: str | None, place: int) -> None:
    assert places(pa.chunked_array([["0", label], [label]], pa.string()), classes).tolist()[1:] == [place, place]


def test_labels_of_a_regressor_are_numbers_or_nothing() -> None:
    assert str(numbers(pa.array(["1.5", "-2", "banana", None])).tolist()) == "[1.5, -2.0, nan, nan]"


@pytest.mark.parametrize(
    ("counts", "classes", "said"),
    [
        pytest.param({}, ["0", "1"], "", id="nothing"),
        pytest.param({"x": 1}, ["0", "1"],
                     "1 outcome has a label that is no class of the model: 'x' (1); expected 0, 1",
                     id="one"),
        pytest.param({"a": 1, "b": 6000, "c": 2, "d": 1}, ["0", "1"],
                     "6,004 outcomes have labels that are no class of the model: 'b' (6,000), 'c' (2), 'a' (1) and 1 "
                     "others; expected 0, 1", id="the most frequent first"),
        pytest.param({"a": 2}, [], "2 outcomes have labels that are no number: 'a' (2); expected a number as value",
                     id="a regressor"),
    ],
)  # fmt: skip
def test_words(counts: dict[str, int], classes: list[str], said: str) -> None:
    assert words(counts, classes) == said


def test_a_long_label_is_cut() -> None:
    assert "a" * (LABEL_SHOWN + 1) not in words({"a" * 1000: 1}, ["0", "1"])


def _judged(journal: WrittenJournal, repository: Path, state: State, labels: list[str]) -> Any:
    (repository / "flights" / "model.toml").write_text('[monitor]\nclasses = ["0", "1"]')
    outputs = {"label": ["1"] * len(labels), "probabilities": [[0.2, 0.8]] * len(labels)}
    name = journal.predict({"distance": [1.0] * len(labels)}, outputs, START_US)
    journal.record(name, labels, START_US + HOUR_US)
    done = Monitor(state, [journal.directory], repository).run(LATER)
    return done, view_of(state, repository, "flights", LATER, Selection())


def test_labels_written_as_numbers_with_a_fraction_count(
    journal: WrittenJournal, repository: Path, state: State
) -> None:
    done, view = _judged(journal, repository, state, ["1.0", "0.0", "1", "True"])
    (block,) = view.blocks
    assert (block.labelled, block.unusable, block.words, done.problems) == (4, 0, "all labels known", {})
    assert block.measures["accuracy"].will_be == 0.75


def test_labels_that_are_no_class_are_counted_and_named_wherever_figures_are_shown(
    journal: WrittenJournal, repository: Path, state: State
) -> None:
    done, view = _judged(journal, repository, state, ["1", "banana", "banana", "2.0"])
    said = "3 outcomes have labels that are no class of the model: 'banana' (2), '2.0' (1); expected 0, 1"
    (block,), (version,) = view.blocks, view.versions
    assert done.problems == {"flights": said}
    assert view.problems == (f"flights: {said}",)
    assert (block.labelled, block.unusable, block.words) == (1, 3, "3 labels cannot be used")
    assert (version.labelled, version.unusable, version.words) == (1, 3, "3 labels cannot be used")
    assert f"flights: {said}" in view.as_json()["problems"]
    assert 'skylane_monitor_unusable_labels{model="flights"} 3.0' in exposition([view])
    assert "no class of the model" in page([view])


def test_values_in_place_of_labels_are_compared_and_named_as_numbers(
    journal: WrittenJournal, repository: Path, state: State
) -> None:
    values = [1.0, 0.0, 1e30, 2.0]
    (repository / "flights" / "model.toml").write_text('[monitor]\nclasses = ["0", "1"]')
    name = journal.predict({"distance": values}, {"probabilities": [[0.2, 0.8]] * len(values)}, START_US)
    known = START_US + HOUR_US
    journal.submit(
        [
            {"prediction_id": name, "row": row, "value": value, "happened_at": known, "known_at": known}
            for row, value in enumerate(values)
        ]
    )
    Monitor(state, [journal.directory], repository).run(LATER)
    view = view_of(state, repository, "flights", LATER, Selection())
    assert (view.blocks[0].labelled, view.unusable_labels) == (2, 2)
    assert "'1e+30' (1), '2' (1)" in view.problems[0]


def test_a_correction_makes_an_outcome_usable(journal: WrittenJournal, repository: Path, state: State) -> None:
    _judged(journal, repository, state, ["banana"])
    journal.record(f"{'0' * 14}aa-1", ["0.0"], START_US + 2 * HOUR_US)
    Monitor(state, [journal.directory], repository).run(LATER)
    view = view_of(state, repository, "flights", LATER, Selection())
    assert (view.blocks[0].labelled, view.unusable_labels, view.problems) == (1, 0, ())


def test_blocks_with_nothing_but_unusable_labels_are_no_failure(
    journal: WrittenJournal, repository: Path, state: State
) -> None:
    _, view = _judged(journal, repository, state, ["banana"] * 3)
    assert (view.blocks[0].labelled, view.blocks[0].words) == (0, "3 labels cannot be used")
