"""Verdicts as they are shown: alarms in a row are one, and a slow change is said with its size, and why it is none."""

import pytest

from skylane.monitor.drift_verdicts import alarms, notes, stored, update
from skylane.monitor.state import State
from skylane.monitor.view import Alarm, Cell, DriftBlock, block_text, episodes
from skylane.reference import NumberReference, Reference
from support.drift_world import FIRST_DAY, Array, Columns, block, reference_of

from .views import DAY_US

NUMBER = NumberReference(bins=None, missing=0.0)


def alarm(day: int, column: str = "wind_speed", kind: str = "unit", words: str = "") -> Alarm:
    return Alarm(day * DAY_US, 1, 0, (column,), kind, words)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param([], [], id="none"),
        pytest.param([alarm(1)], [(1, 1, 1)], id="one block"),
        pytest.param([alarm(day) for day in (3, 2, 1)], [(1, 3, 3)], id="three in a row are one"),
        pytest.param([alarm(day) for day in (9, 2, 1)], [(9, 9, 1), (1, 2, 2)], id="long after, it is another"),
        pytest.param([alarm(2, "temp"), alarm(1)], [(2, 2, 1), (1, 1, 1)], id="another column is another"),
        pytest.param([alarm(3), alarm(2, "temp"), alarm(1)], [(1, 3, 2), (2, 2, 1)], id="another one between"),
    ],
)
def test_episodes(given: list[Alarm], expected: list[tuple[int, int, int]]) -> None:
    found = episodes(given)
    assert [(each.first.block // DAY_US, each.last // DAY_US, each.blocks) for each in found] == expected


def test_a_second_fault_is_an_episode_with_its_own_words() -> None:
    both = [Alarm(day * DAY_US, 1, 0, ("pressure", "visib"), "unit", "both") for day in (3, 4)]
    alone = [alarm(day, "pressure", words="pressure") for day in (1, 2)]
    visib = alarm(5, "visib", words="visib")
    found = episodes([visib, *both[::-1], *alone[::-1]])
    assert [(each.first.words, each.blocks) for each in found] == [("both", 3), ("pressure", 2)]


def test_a_fault_keeps_its_beginning_when_that_is_older_than_the_history_of_a_verdict(state: State) -> None:
    known = reference_of(270)
    begun = FIRST_DAY + 270
    days = range(begun - 4, begun + 18)
    with state.transaction():
        for day in days:
            change = in_kilometres if day >= begun else None
            state.set_inputs("m", 1, day * DAY_US, stored(block(day, known, change), known))
        update(state, "m", 1, [day * DAY_US for day in days], known, block_us=DAY_US, now=(days[-1] + 1) * DAY_US)
    since = {(alarm.block, alarm.words.partition(")")[0].partition("since ")[2]) for alarm in alarms(state, "m")}
    date = block_text(begun * DAY_US, DAY_US)
    assert since == {(day * DAY_US, "" if day == begun else date) for day in days if day >= begun}


def in_kilometres(columns: Columns, _: Array) -> Columns:
    return {**columns, "wind_speed": columns["wind_speed"] * 1.609344}


def test_an_episode_has_the_words_of_its_first_block() -> None:
    (episode,) = episodes([alarm(2, words="since 1 July"), alarm(1, words="named")])
    assert episode.first.words == "named"


def blocks(sizes: list[float], shade: int = 3) -> list[DriftBlock]:
    return [
        DriftBlock(day * DAY_US, 1, 100, True, "ok", "", (), (Cell("temp", shade, 1.0, size, 0.0, ""),))
        for day, size in enumerate(sizes)
    ]


def reference(days: int) -> Reference:
    return Reference(rows=1, columns={"temp": NUMBER}, blocks=days, last_s=days * 86400.0)


@pytest.mark.parametrize(
    ("sizes", "shade", "days", "says"),
    [
        pytest.param([1.5] * 14, 3, 60, "temp by 1.5 standard deviations in 14 blocks", id="its size and how long"),
        pytest.param([1.5] * 14, 3, 60, "season and drift cannot be told apart", id="less than a year of reference"),
        pytest.param([1.5] * 14, 3, 366, "they moved slowly.", id="a year of reference tells them apart"),
        pytest.param([1.5] * 20 + [0.0] * 20, 2, 60, "in 20 blocks, 1970-01-01 to 1970-01-20", id="it is over"),
        pytest.param([1.5] * 13, 3, 60, None, id="too few blocks to be called slow"),
        pytest.param([0.1] * 30, 3, 60, None, id="too small to be worth a note"),
        pytest.param([1.5] * 30, 0, 60, None, id="like the reference's own blocks"),
        pytest.param([1.5] * 30, 4, 60, None, id="an alarm says it already"),
        pytest.param([1.5, 0.0] * 20, 3, 60, None, id="now and then is not a slow change"),
    ],
)
def test_slow_changes(sizes: list[float], shade: int, days: int, says: str | None) -> None:
    found = notes(blocks(sizes, shade), {1: reference(days)}, DAY_US)
    assert (says in found[0]) if says else not found
