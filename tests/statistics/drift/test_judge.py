"""The law of alarms in a made-up world: each fault is named within its block, the world's own changes raise none."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
import pytest

from skylane.reference import Reference
from skylane.statistics.drift import BlockStatistics, Verdict, block_statistics, judge
from skylane.statistics.drift.blocks import NumberStatistics
from skylane.statistics.drift.build import Rows, build_reference
from support.drift_world import FIRST_DAY, Array, Columns, block, day_rows, history, profile_of, reference_of

Change = Callable[[Columns, Array], Columns]
REFERENCE = reference_of(270)
SERVED = FIRST_DAY + 270


def replaced(name: str, changed: Callable[[Array, Array], Array]) -> Change:
    return lambda columns, at: {**columns, name: changed(columns[name], at)}


def swapped(one: str, other: str) -> Change:
    return lambda columns, _: {**columns, one: columns[other], other: columns[one]}


def noon(changed: Callable[[Array], Array]) -> Callable[[Array, Array], Array]:
    return lambda values, at: np.where(at >= 0.5, changed(values), values)


FAULTS: list[Any] = [
    pytest.param(replaced("wind_speed", lambda v, _: v * 1.609344), "unit", "wind_speed ×1.61: mph → km/h?", id="km/h"),
    pytest.param(
        replaced("wind_speed", noon(lambda v: v * 1.61)), "unit", "wind_speed ×1.61 since 12:00 UTC: mph → km/h?",
        id="km/h, rounded, since noon",
    ),
    pytest.param(
        replaced("temp", lambda v, _: (v - 32) / 1.8), "unit", "temp is in °C instead of °F?", id="degrees Celsius"
    ),
    pytest.param(replaced("price", lambda v, _: v * 100), "unit", "price ×100: a unit?", id="cents, continuous"),
    pytest.param(replaced("price", lambda v, _: v * 0.45359237), "unit", "price ×0.4", id="overlapping ranges"),
    pytest.param(replaced("price", lambda v, _: -v), "sign", "price has changed its sign", id="a sign"),
    pytest.param(swapped("temp", "dewp"), "swapped", "temp and dewp are swapped", id="swapped, alike"),
    pytest.param(swapped("price", "age"), "swapped", "price and age are swapped", id="swapped, of different kinds"),
    pytest.param(replaced("temp", lambda v, _: np.full_like(v, 50.0)), "constant", "temp is constant", id="fixed"),
    pytest.param(
        replaced("price", noon(lambda v: np.full_like(v, v[0]))), "stuck", "since 12:00 UTC", id="stuck since noon"
    ),
    pytest.param(
        replaced("price", lambda v, _: np.minimum(v, np.median(v))), "clipped", "price is clipped above", id="clipped"
    ),
    pytest.param(
        replaced("age", lambda v, at: np.where(at > 0.5, np.nan, v)), "missing", "age is missing", id="gaps since noon"
    ),
    pytest.param(
        replaced("city", lambda v, _: np.where(v == "Bern", "BERN ", v)), "renamed", "'Bern' → 'BERN '", id="case"
    ),
    pytest.param(
        replaced("city", lambda v, _: np.where(v == "Zug", "Luzern", v)), "renamed", "'Zug' → 'Luzern'", id="rare"
    ),
    pytest.param(
        replaced("city", lambda v, at: np.where(at * 7919 % 1 < 0.1, "Oslo", v)), "new category", "'Oslo'", id="new"
    ),
]  # fmt: skip


def verdict_on(day: int, change: Change | None, seed: int = 1, reference: Reference = REFERENCE) -> Verdict:
    return judge(history(day, reference, seed), block(day, reference, change, seed), reference)


@pytest.mark.parametrize(("change", "kind", "words"), FAULTS)
def test_a_fault_is_named_within_its_block(change: Change, kind: str, words: str) -> None:
    found = verdict_on(SERVED + 10, change)
    assert found.status == "alarm"
    assert [finding.kind for finding in found.findings] == [kind]
    assert words in found.text
    assert "Answers: mean of probabilities:late" in found.text


def test_a_rounded_conversion_is_found_by_the_values_that_are_known() -> None:
    """Distances are whole numbers, and few of all: in kilometres they are whole numbers as well."""
    miles = np.array([80.0, 94, 187, 199, 229, 266, 419, 502, 733, 944, 1089, 1400, 1598, 2475, 2586])
    random = np.random.default_rng(0)
    distance = random.choice(miles, 270 * 200)
    times_s = np.repeat(np.arange(270), 200) * 86400.0 + 15_706 * 86400 + np.tile(np.arange(200) * 400.0, 270)
    late = np.full(len(distance), 0.3)
    rows = Rows({"distance": distance}, times_s, profile_of({"distance": distance}, late))
    reference = build_reference(rows)

    def day(number: int, changed: Callable[[Array], Array]) -> BlockStatistics:
        chosen = slice(number * 200, number * 200 + 200)
        columns = {"distance": changed(distance[chosen])}
        return block_statistics(columns, {}, None, reference, times_s=times_s[chosen], start_s=times_s[chosen.start])

    before = [day(number, lambda values: values) for number in range(250, 258)]
    found = judge(before, day(258, lambda values: np.round(values * 1.609344)), reference)
    assert found.text.startswith("distance ×1.61: a unit?")


def test_visibility_in_kilometres_is_named_by_the_column() -> None:
    miles = np.array(
        [0.0, 0.06, 0.12, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0]
    )
    visib = np.random.default_rng(0).choice(miles, 270 * 200)
    times_s = np.repeat(np.arange(270), 200) * 86400.0 + 15_706 * 86400 + np.tile(np.arange(200) * 400.0, 270)
    late = np.full(len(visib), 0.3)
    guessed = build_reference(Rows({"visib": visib}, times_s, profile_of({"visib": visib}, late)))
    of_earlier_release = {"visib": msgspec.structs.replace(guessed.columns["visib"], unit=None)}

    for reference in (guessed, msgspec.structs.replace(guessed, columns=of_earlier_release)):
        days = [
            block_statistics(
                {"visib": visib[start : start + 200] * factor}, {}, None, reference,
                times_s=times_s[start : start + 200], start_s=times_s[start],
            )
            for start, factor in [*((day * 200, 1.0) for day in range(250, 258)), (258 * 200, 1.609344)]
        ]  # fmt: skip
        assert judge(days[:-1], days[-1], reference).text.startswith("visib ×1.61: mi → km?")


@pytest.mark.slow
@pytest.mark.parametrize(("change", "kind", "words"), FAULTS)
def test_a_fault_is_named_in_99_of_100_seeds(change: Change, kind: str, words: str) -> None:
    named = 0
    for seed in range(100):
        found = verdict_on(SERVED + 8 + seed % 80, change, seed)
        named += any(finding.kind == kind for finding in found.findings)
    assert named >= 99


def test_the_seasons_raise_no_alarm_and_the_note_says_why() -> None:
    """The reference ends in September; these are the days until December."""
    blocks = [block(day, REFERENCE, rows=150) for day in range(SERVED, SERVED + 92)]
    found = [judge(blocks[max(0, place - 8) : place], each, REFERENCE) for place, each in enumerate(blocks)]
    assert [verdict.text for verdict in found if verdict.status == "alarm"] == []


def test_own_days_raise_an_alarm_in_at_most_one_of_a_hundred_blocks() -> None:
    """The reference's days, with other rows than it was made of."""
    blocks = [block(day, REFERENCE, seed=5, rows=150) for day in range(FIRST_DAY + 60, FIRST_DAY + 160)]
    found = [judge(blocks[max(0, place - 8) : place], each, REFERENCE) for place, each in enumerate(blocks)]
    assert sum(verdict.status == "alarm" for verdict in found) <= 1


def test_a_slow_change_is_a_note_with_its_size() -> None:
    """Prices rise by half a percent a day for months."""

    def rising(day: int) -> Change:
        return replaced("price", lambda values, _: values * 1.005 ** (day - SERVED))

    last = SERVED + 120
    before = [block(day, REFERENCE, rising(day)) for day in range(last - 8, last)]
    found = judge(before, block(last, REFERENCE, rising(last)), REFERENCE)
    assert found.status == "note"
    assert "price +" in found.text
    assert "season and drift cannot be told apart" in found.text


def test_a_year_of_reference_has_seasons() -> None:
    year = reference_of(366, FIRST_DAY - 366, 120)
    assert year.covers_a_year
    assert len(year.columns["temp"].strata) == 12
    assert verdict_on(FIRST_DAY + 30, None, reference=year).status in ("ok", "note")


def test_an_abrupt_change_with_an_effect_is_one_alarm() -> None:
    """Four times as many late cities overnight: no fault of a feed, and nothing like it in the reference."""

    def moved(columns: Columns, at: Array) -> Columns:
        return {**columns, "city": np.where(at * 7919 % 1 < 0.8, "Zug", columns["city"]).astype(object)}

    current = block(SERVED + 10, REFERENCE, moved)
    assert "city changed abruptly" not in judge(history(SERVED + 10, REFERENCE), current, REFERENCE).text
    shifted = block_with_answers(SERVED + 10, moved)
    found = judge(history(SERVED + 10, REFERENCE), shifted, REFERENCE)
    assert found.status == "alarm"
    assert found.text.startswith("city changed abruptly")


def block_with_answers(day: int, change: Change) -> BlockStatistics:
    """A day on which the answers are as changed as the column."""
    current = block(day, REFERENCE, change)
    others = block(day, REFERENCE, lambda columns, _: columns, seed=2)
    late = others.answers["probabilities:late"]
    assert isinstance(late, NumberStatistics)
    moved = replace(late, bins=late.bins[::-1].copy(), sum=late.sum + 0.6 * late.rows)
    return replace(current, answers={**current.answers, "probabilities:late": moved})


def test_a_fault_that_lasts_is_dated_back() -> None:
    change = replaced("wind_speed", lambda values, _: values * 1.609344)
    since_noon = replaced("wind_speed", noon(lambda values: values * 1.609344))
    day = SERVED + 10
    before = [*history(day, REFERENCE), block(day, REFERENCE, since_noon), block(day + 1, REFERENCE, change)]
    found = judge(before, block(day + 2, REFERENCE, change), REFERENCE)
    assert found.findings[0].since_s == (day + 0.5) * 86400
    assert "since 2013-10-08 12:00 UTC" in found.text


def test_a_fault_that_is_older_than_the_history_keeps_its_beginning() -> None:
    change = replaced("wind_speed", lambda values, _: values * 1.609344)
    day = SERVED + 20
    before = [block(each, REFERENCE, change) for each in range(day - 14, day)]
    begun: dict[tuple[str, tuple[str, ...]], float] = {("unit", ("wind_speed",)): (day - 16) * 86400.0}
    found = judge(before, block(day, REFERENCE, change), REFERENCE, begun)
    assert found.findings[0].since_s == (day - 16) * 86400.0
    assert judge(before, block(day, REFERENCE, change), REFERENCE).findings[0].since_s == (day - 14) * 86400.0


def test_too_few_rows_have_no_verdict() -> None:
    found = judge([], block(SERVED, REFERENCE, rows=60), REFERENCE)
    assert (found.status, found.text) == ("too few rows", "60 rows: a verdict needs 100")
    weighted = block(SERVED, REFERENCE, rows=110, weights=np.array([1.0] * 109 + [5000.0]))
    assert judge([], weighted, REFERENCE).text == "110 rows (1 in effect): a verdict needs 100"


def test_a_profile_without_times_says_what_it_lacks() -> None:
    columns, late, _ = day_rows(FIRST_DAY)
    plain = Reference.from_profile(profile_of(columns, late))
    found = judge([], block(SERVED, plain), plain)
    assert found.status == "no reference"
    assert "`skylane profile` adds the times" in found.text


def test_several_faults_are_one_alarm_that_begins_with_what_matters_most() -> None:
    def both(columns: Columns, _: Array) -> Columns:
        return {**columns, "wind_speed": columns["wind_speed"] * 1.609344, "age": -columns["age"]}

    found = verdict_on(SERVED + 10, both)
    assert [finding.columns for finding in found.findings] == [("wind_speed",), ("age",)]
    assert found.text.startswith("wind_speed ×1.61: mph → km/h?; age has changed its sign. Answers")


def test_columns_that_are_not_recorded_or_hashed_are_named() -> None:
    def hidden(columns: Columns, _: Array) -> Columns:
        kept = {name: values for name, values in columns.items() if name != "price"}
        return {**kept, "city": np.full(len(columns["city"]), "h:0123456789abcdef", object)}

    found = verdict_on(SERVED + 10, hidden)
    assert found.status == "note"
    assert "not recorded, so not judged: price" in found.notes
    assert "recorded as hashes, so not compared with the reference: city" in found.notes
