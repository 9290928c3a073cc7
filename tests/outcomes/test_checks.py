"""What an outcome must be to be recorded, and what its sender reads otherwise."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest

from skylane.outcomes.checks import CLOCK_TOLERANCE, REFUSALS_MAX, check
from skylane.outcomes.schema import SUBMISSION

NOW = datetime(2013, 7, 1, 18, tzinfo=UTC)
NOW_US = int(NOW.timestamp() * 1e6)
ID = "9f2c1a7be04d5538-1a4"
HOUR = timedelta(hours=1)


def submission(*rows: dict[str, Any]) -> Any:
    return pa.Table.from_pylist([dict.fromkeys(SUBMISSION.names) | row for row in rows], SUBMISSION)


def outcome(**fields: Any) -> dict[str, Any]:
    return {"prediction_id": ID, "label": "1"} | fields


def entity(**fields: Any) -> dict[str, Any]:
    return {"entity": "N14228", "event_at": NOW, "label": "1"} | fields


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        pytest.param({"label": "1"}, "prediction_id, entity: expected one of them, received neither", id="no key"),
        pytest.param(
            outcome(entity="N1", event_at=NOW),
            "prediction_id, entity: expected one of them, received both",
            id="both keys",
        ),
        pytest.param(
            outcome(prediction_id="9F2C-1"),
            "prediction_id: expected the id of a reply, such as '9f2c1a7be04d5538-1a4', received '9F2C-1'",
            id="text that is no id",
        ),
        pytest.param(
            outcome(prediction_id="x" * 1000),
            "prediction_id: expected the id of a reply, such as '9f2c1a7be04d5538-1a4', received '" + "x" * 60 + "…'",
            id="long text that is no id is shown shortened",
        ),
        pytest.param(
            outcome(event_at=NOW),
            "event_at: expected only beside an entity, received a prediction_id",
            id="an id with a time of an event",
        ),
        pytest.param(
            {"entity": "N14228", "label": "1"},
            "event_at: expected the time of the event, received none",
            id="an entity without a time",
        ),
        pytest.param(
            entity(row=1), "row: expected only beside a prediction_id, received an entity", id="an entity with a row"
        ),
        pytest.param(entity(entity=""), "entity: expected text, received an empty one", id="an empty entity"),
        pytest.param(
            entity(entity="ü" * 200), "entity: expected at most 256 bytes of UTF-8, received 400", id="a long entity"
        ),
        pytest.param(
            {"prediction_id": ID}, "label, value: expected one of them, received neither", id="nothing became true"
        ),
        pytest.param(outcome(label=""), "label: expected text, received an empty one", id="an empty label"),
        pytest.param(
            outcome(label="x" * 257), "label: expected at most 256 bytes of UTF-8, received 257", id="a long label"
        ),
        pytest.param(outcome(value=float("nan")), "value: expected a finite number, received nan", id="no number"),
        pytest.param(outcome(value=float("inf")), "value: expected a finite number, received inf", id="infinity"),
        pytest.param(
            outcome(known_at=NOW + HOUR),
            "known_at: expected no time in the future, received 2013-07-01T19:00:00+00:00 at 2013-07-01T18:00:00+00:00",
            id="known in the future",
        ),
        pytest.param(
            outcome(happened_at=NOW + HOUR),
            "happened_at: expected no time in the future, received 2013-07-01T19:00:00+00:00 at "
            "2013-07-01T18:00:00+00:00",
            id="happened in the future",
        ),
        pytest.param(
            outcome(happened_at=NOW, known_at=NOW - HOUR),
            "known_at: expected no time before happened_at (2013-07-01T18:00:00+00:00), received "
            "2013-07-01T17:00:00+00:00",
            id="known before it happened",
        ),
    ],
)
def test_a_fault_is_refused_by_the_name_of_its_field(row: dict[str, Any], reason: str) -> None:
    checked = check(submission(outcome(), row, entity()), NOW_US)

    assert [(each.index, each.reason) for each in checked.refusals] == [(1, reason)]
    assert (checked.refused, checked.places.tolist(), len(checked.table)) == (1, [0, 2], 2)


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        pytest.param(outcome(), {"row": 0, "known_at": NOW}, id="row 0, known now"),
        pytest.param(entity(), {"row": None, "known_at": NOW}, id="an entity has no row"),
        pytest.param(outcome(row=7, known_at=NOW - HOUR), {"row": 7, "known_at": NOW - HOUR}, id="as it was sent"),
        pytest.param(outcome(happened_at=NOW - HOUR), {"known_at": NOW}, id="happened before it was sent"),
        pytest.param(
            outcome(happened_at=NOW + CLOCK_TOLERANCE),
            {"known_at": NOW + CLOCK_TOLERANCE},
            id="a clock a little ahead: not known before it happened",
        ),
        pytest.param(
            outcome(known_at=NOW + CLOCK_TOLERANCE), {"known_at": NOW + CLOCK_TOLERANCE}, id="a clock a little ahead"
        ),
        pytest.param(outcome(label=None, value=-1.5), {"value": -1.5, "label": None}, id="a value alone"),
        pytest.param(outcome(value=2.0), {"value": 2.0, "label": "1"}, id="a label and a value"),
        pytest.param(outcome(happened_at=datetime(1900, 1, 1, tzinfo=UTC)), {}, id="long ago"),
    ],
)
def test_what_is_right_is_accepted(row: dict[str, Any], expected: dict[str, Any]) -> None:
    checked = check(submission(row), NOW_US)

    assert checked.refusals == ()
    (accepted,) = checked.table.to_pylist()
    assert {name: accepted[name] for name in expected} == expected


def test_what_could_not_be_read_is_refused_with_its_reason() -> None:
    checked = check(submission(outcome(), {}), NOW_US, {1: "known_at: expected a time"})

    assert [(each.index, each.reason) for each in checked.refusals] == [(1, "known_at: expected a time")]


def test_all_refusals_are_counted_and_the_first_ones_listed() -> None:
    rows = [outcome(label="") if index % 2 else outcome(prediction_id="?") for index in range(3 * REFUSALS_MAX)]

    checked = check(submission(*rows), NOW_US)

    assert checked.refused == 3 * REFUSALS_MAX
    assert [each.index for each in checked.refusals] == list(range(REFUSALS_MAX))


def test_no_outcomes_are_no_fault() -> None:
    assert check(SUBMISSION.empty_table(), NOW_US).refused == 0
