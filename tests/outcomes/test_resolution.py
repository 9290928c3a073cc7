"""The log of outcomes → one outcome for each key: whatever the order and however often a record is there."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skylane.outcomes.resolution import Counts, resolve
from skylane.outcomes.schema import LOG

EPOCH = datetime(2013, 7, 1, tzinfo=UTC)
ID = "9f2c1a7be04d5538-1"


def at(minutes: float) -> datetime:
    return EPOCH + timedelta(minutes=minutes)


def record(**fields: Any) -> dict[str, Any]:
    """One record of a log; times are minutes."""
    row: dict[str, Any] = dict.fromkeys(LOG.names) | {
        "prediction_id": ID,
        "row": 0,
        "sender": "a",
        "known_at": 0,
        "recorded_at": 0,
    }
    row |= fields
    if row["entity"] is not None or row["drops_from"] is not None:
        row |= {"prediction_id": None, "row": None}
    times = ("event_at", "happened_at", "known_at", "recorded_at", "drops_from")
    return row | {name: None if row[name] is None else at(row[name]) for name in times}


def log_of(rows: Sequence[dict[str, Any]]) -> Any:
    return pa.Table.from_pylist(list(rows), LOG)


TIMES = st.integers(0, 5)
RECORDS = st.builds(
    record,
    prediction_id=st.sampled_from([ID, "9f2c1a7be04d5538-2", "ff2c1a7be04d5538-1"]),
    row=st.integers(0, 1),
    entity=st.sampled_from([None, None, "N1", "N2"]),
    event_at=st.just(3),
    label=st.sampled_from([None, "0", "1"]),
    value=st.sampled_from([None, 1.5, -2.0]),
    happened_at=st.sampled_from([None, 0]),
    known_at=TIMES,
    recorded_at=TIMES,
    sender=st.sampled_from(["a", "b"]),
)
TOMBSTONES = st.builds(record, sender=st.sampled_from(["a", "b"]), drops_from=TIMES, recorded_at=TIMES)
LOGS = st.lists(st.one_of(RECORDS, RECORDS, RECORDS, TOMBSTONES), max_size=12)


@dataclass
class _Expected:
    key: tuple[Any, ...]
    label: Any
    value: Any
    known_at: datetime
    corrections: int


def _naive(rows: Sequence[dict[str, Any]], known_by: datetime, recorded_by: datetime) -> list[_Expected]:
    """The same by the sentences of the documentation, a key at a time."""
    tombstones = [row for row in rows if row["drops_from"] is not None and row["recorded_at"] <= recorded_by]

    def holds(row: dict[str, Any]) -> bool:
        if row["drops_from"] is not None or row["recorded_at"] > recorded_by or row["known_at"] > known_by:
            return False
        return not any(
            each["sender"] == row["sender"] and each["drops_from"] <= row["recorded_at"] <= each["recorded_at"]
            for each in tombstones
        )

    keys: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in filter(holds, rows):
        key = (row["prediction_id"], row["row"], row["entity"], row["event_at"] if row["entity"] else None)
        keys.setdefault(key, []).append(row)
    found = []
    for key, records in keys.items():
        records.sort(key=lambda row: (row["known_at"], row["recorded_at"], _order(row), row["sender"]))
        runs = [records[0]]
        for row in records[1:]:
            if _order(row) != _order(runs[-1]):
                runs.append(row)
        last = runs[-1]
        found.append(_Expected(key, last["label"], last["value"], last["known_at"], len(runs) - 1))
    return found


def _order(row: dict[str, Any]) -> tuple[Any, ...]:
    label, value, happened = row["label"], row["value"], row["happened_at"]
    return (
        (label is not None, label or ""),
        (value is None, value or 0.0),
        happened or datetime.min.replace(tzinfo=UTC),
    )


def _fields(table: Any) -> list[_Expected]:
    return [
        _Expected(
            (row["prediction_id"], row["row"], row["entity"], row["event_at"] if row["entity"] else None),
            row["label"], row["value"], row["known_at"], row["corrections"],
        )
        for row in table.to_pylist()
    ]  # fmt: skip


def _by_key(expected: _Expected) -> str:
    return repr(expected.key)


@given(LOGS, TIMES, TIMES)
def test_a_key_has_the_outcome_that_the_documentation_says(
    rows: list[dict[str, Any]], known_by: int, recorded_by: int
) -> None:
    found = _fields(resolve(log_of(rows), known_by=at(known_by), recorded_by=at(recorded_by)).table)

    assert sorted(found, key=_by_key) == sorted(_naive(rows, at(known_by), at(recorded_by)), key=_by_key)


@given(st.data(), LOGS)
def test_neither_order_nor_duplication_changes_the_result(data: st.DataObject, rows: list[dict[str, Any]]) -> None:
    shuffled = data.draw(st.permutations(rows))
    doubled = shuffled + (data.draw(st.lists(st.sampled_from(rows))) if rows else [])

    assert resolve(log_of(doubled)).table.equals(resolve(log_of(rows)).table)


@given(st.data(), LOGS)
def test_the_order_of_arrival_does_not_matter_where_times_of_knowing_differ(
    data: st.DataObject, rows: list[dict[str, Any]]
) -> None:
    distinct = {(row["prediction_id"], row["row"], row["entity"], row["known_at"]): row for row in rows}
    kept = [row for row in distinct.values() if row["drops_from"] is None]
    arrivals = data.draw(st.permutations(range(len(kept))))
    rearranged = [row | {"recorded_at": at(10 + arrival)} for row, arrival in zip(kept, arrivals, strict=True)]
    columns = ["prediction_id", "row", "entity", "label", "value", "happened_at", "known_at", "corrections"]

    assert resolve(log_of(rearranged)).table.select(columns).equals(resolve(log_of(kept)).table.select(columns))


@given(LOGS, TIMES, st.lists(RECORDS, max_size=4), st.lists(TOMBSTONES, max_size=2))
def test_a_report_does_not_change_when_more_is_recorded_later(
    rows: list[dict[str, Any]], reported: int, more: list[dict[str, Any]], drops: list[dict[str, Any]]
) -> None:
    before = [row for row in rows if row["recorded_at"] <= at(reported)]
    later = [row | {"recorded_at": at(reported + 1)} for row in (*more, *drops)]  # whatever is known or dropped

    report = resolve(log_of(before), recorded_by=at(reported)).table

    assert resolve(log_of(before + later), recorded_by=at(reported)).table.equals(report)


def test_a_label_that_is_known_earlier_and_recorded_later_changes_todays_figure_and_no_earlier_report() -> None:
    first = record(label="0", known_at=10, recorded_at=10)
    backdated = record(label="1", known_at=12, recorded_at=60)
    log = log_of([first, backdated])

    today = resolve(log, known_by=at(30)).table
    report = resolve(log, known_by=at(30), recorded_by=at(30)).table

    assert (today["label"].to_pylist(), today["corrections"].to_pylist()) == (["1"], [1])
    assert (report["label"].to_pylist(), report["corrections"].to_pylist()) == (["0"], [0])


def test_without_a_time_of_happening_it_is_the_time_of_knowing() -> None:
    assert resolve(log_of([record(label="1", known_at=7)])).table["happened_at"].to_pylist() == [at(7)]


DAY = 24 * 60


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        pytest.param([], Counts(), id="an empty log has nothing to count"),
        pytest.param(
            [record(label="1"), record(label="1", known_at=3, recorded_at=3)],
            Counts(records=2, outcomes=1, repeated=1),
            id="the same outcome again is repeated, also if it is known again",
        ),
        pytest.param(
            [record(label="1"), record(label="0", known_at=3, recorded_at=3)],
            Counts(records=2, outcomes=1, corrected=1),
            id="another outcome that was known later corrects",
        ),
        pytest.param(
            [record(label="1"), record(label="0", recorded_at=3)],
            Counts(records=2, outcomes=1, corrected=1, conflicting=1),
            id="another outcome that was known at the same instant conflicts",
        ),
        pytest.param(
            [record(label="1", recorded_at=DAY), record(row=1, label="1", recorded_at=DAY + 1)],
            Counts(records=2, outcomes=2, late=1),
            id="an outcome is late if it is recorded more than a day after it was known",
        ),
        pytest.param(
            [
                record(label="1"),
                record(row=1, label="1", sender="b"),
                record(sender="b", drops_from=0, recorded_at=1),
            ],
            Counts(records=2, outcomes=1, dropped=1),
            id="dropping a sender undoes what it recorded and nothing else",
        ),
        pytest.param(
            [
                record(label="1"),
                record(sender="a", drops_from=0, recorded_at=1),
                record(label="1", known_at=2, recorded_at=2),
            ],
            Counts(records=2, outcomes=1, dropped=1),
            id="what a sender records after it was dropped counts",
        ),
        pytest.param(
            [record(label="1"), record(label="0", recorded_at=5), record(sender="a", drops_from=3, recorded_at=6)],
            Counts(records=2, outcomes=1, dropped=1),
            id="dropping from an instant on leaves what was recorded before",
        ),
    ],
)
def test_every_record_is_counted(rows: list[dict[str, Any]], expected: Counts) -> None:
    assert resolve(log_of(rows)).counts == expected


def test_what_is_beyond_the_instants_is_counted() -> None:
    rows = [
        record(label="1"),
        record(row=1, label="1", known_at=4),
        record(row=2, label="1", known_at=1, recorded_at=9),
    ]

    counts = resolve(log_of(rows), known_by=at(3), recorded_by=at(5)).counts

    assert counts == Counts(records=3, outcomes=1, not_yet_known=1, not_yet_recorded=1)


@pytest.mark.parametrize("name", ["known_by", "recorded_by"])
def test_an_instant_without_a_zone_is_refused_by_name(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name}: expected an instant with a time zone, received 2013-07-01T00:00:00"):
        resolve(log_of([]), **{name: datetime(2013, 7, 1)})
