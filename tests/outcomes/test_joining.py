"""Predictions beside their outcomes."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skylane.outcomes.joining import ADDED, JoinCounts, join
from skylane.outcomes.schema import OUTCOMES, TIME

EPOCH = datetime(2013, 7, 1, tzinfo=UTC)
PREDICTIONS = pa.schema(
    [
        pa.field("prediction_id", pa.string()),
        pa.field("row", pa.uint32()),
        pa.field("entity", pa.string()),
        pa.field("event_at", TIME),
        pa.field("happened_at", TIME),
    ]
)


def at(minutes: float) -> datetime:
    return EPOCH + timedelta(minutes=minutes)


def call(number: int) -> str:
    return f"9f2c1a7be04d5538-{number:x}"


def prediction(
    number: int = 1, row: int = 0, entity: str | None = None, event: float | None = None, happened: float = 0
) -> Any:
    return {
        "prediction_id": call(number), "row": row, "entity": entity,
        "event_at": None if event is None else at(event), "happened_at": at(happened),
    }  # fmt: skip


def outcome(
    number: int | None = None, row: int = 0, entity: str | None = None, event: float = 0, label: str = "1"
) -> dict[str, Any]:
    key = (
        {"prediction_id": None, "row": None, "entity": entity, "event_at": at(event)}
        if number is None
        else {"prediction_id": call(number), "row": row, "entity": None, "event_at": None}
    )
    times = {"happened_at": at(5), "known_at": at(6), "recorded_at": at(7)}
    return key | times | {"label": label, "value": None, "sender": "a", "corrections": 0}


def joined(predictions: list[Any], outcomes: list[Any], minutes: float = 0) -> Any:
    tolerance = timedelta(minutes=minutes)
    there = pa.Table.from_pylist(outcomes, OUTCOMES)
    return join(pa.Table.from_pylist(predictions, PREDICTIONS), there, tolerance=tolerance)


TWICE = [prediction(1, entity="N1", happened=3), prediction(2, entity="N1", happened=3)]


@pytest.mark.parametrize(
    ("predictions", "outcomes", "minutes", "labels", "counts"),
    [
        pytest.param([], [], 0, [], {}, id="nothing beside nothing"),
        pytest.param([prediction()], [], 0, [None], {"predictions": 1}, id="predictions without outcomes"),
        pytest.param([], [outcome(1)], 0, [], {"outcomes": 1, "unknown_ids": 1}, id="outcomes without predictions"),
        pytest.param(
            [prediction(1, 0), prediction(1, 1), prediction(2, 0)],
            [outcome(2, 0, label="0"), outcome(1, 1, label="1")],
            0,
            [None, "1", "0"],
            {"predictions": 3, "labelled": 2, "outcomes": 2, "matched": 2},
            id="by id and row, in the predictions' order",
        ),
        pytest.param(
            [prediction(1, 0)],
            [outcome(1, 1), outcome(2, 0)],
            0,
            [None],
            {"predictions": 1, "outcomes": 2, "unknown_rows": 1, "unknown_ids": 1},
            id="a row and a call that are not there",
        ),
        pytest.param(
            [prediction(1, 0), prediction(1, 0)],
            [outcome(1, 0)],
            0,
            ["1", "1"],
            {"predictions": 2, "labelled": 2, "outcomes": 1, "matched": 1, "double_predictions": 2},
            id="a prediction that is there twice",
        ),
        pytest.param(
            [prediction(1, entity="N1", event=3), prediction(2, entity="N2", event=3), prediction(3)],
            [outcome(entity="N1", event=3), outcome(entity="N3", event=3)],
            0,
            ["1", None, None],
            {"predictions": 3, "labelled": 1, "outcomes": 2, "matched": 1, "unknown_entities": 1},
            id="by entity and the time of the event",
        ),
        pytest.param(
            [prediction(1, entity="N1", event=3), prediction(2, entity="N1", event=3)],
            [outcome(entity="N1", event=3)],
            0,
            ["1", "1"],
            {"predictions": 2, "labelled": 2, "outcomes": 1, "matched": 1},
            id="every prediction of the same event has its outcome",
        ),
        pytest.param(
            [prediction(1, entity="N1", happened=3)],
            [outcome(entity="N1", event=3)],
            0,
            ["1"],
            {"predictions": 1, "labelled": 1, "outcomes": 1, "matched": 1},
            id="without a time of the event it is the time of the prediction",
        ),
        pytest.param(
            [prediction(1, entity="N1", event=2)],
            [outcome(entity="N1", event=3)],
            0,
            [None],
            {"predictions": 1, "outcomes": 1, "unmatched_times": 1},
            id="another time does not match without a tolerance",
        ),
        pytest.param(
            [prediction(1, entity="N1", happened=1), prediction(2, entity="N1", happened=2)],
            [outcome(entity="N1", event=3)],
            1,
            [None, "1"],
            {"predictions": 2, "labelled": 1, "outcomes": 1, "matched": 1},
            id="within the tolerance the latest prediction before",
        ),
        pytest.param(
            [prediction(1, entity="N1", happened=4), prediction(2, entity="N2", happened=3)],
            [outcome(entity="N1", event=3)],
            60,
            [None, None],
            {"predictions": 2, "outcomes": 1, "unmatched_times": 1},
            id="never a later prediction, nor another entity's",
        ),
        pytest.param(
            TWICE,
            [outcome(entity="N1", event=4)],
            60,
            [None, None],
            {"predictions": 2, "outcomes": 1, "ambiguous": 1},
            id="two predictions at the same instant before are ambiguous",
        ),
        pytest.param(
            [prediction(1, entity="N1", happened=3)],
            [outcome(entity="N1", event=4), outcome(entity="N1", event=5, label="0")],
            60,
            [None],
            {"predictions": 1, "outcomes": 2, "ambiguous": 2},
            id="two outcomes for one prediction before are ambiguous",
        ),
        pytest.param(
            [prediction(1, entity="N1", happened=3)],
            [outcome(entity="N1", event=3), outcome(entity="N1", event=4, label="0")],
            60,
            ["1"],
            {"predictions": 1, "labelled": 1, "outcomes": 2, "matched": 1, "unmatched_times": 1},
            id="what has its outcome by exact time gets no other",
        ),
        pytest.param(
            [prediction(1, entity="N1", event=3)],
            [outcome(1, label="0"), outcome(entity="N1", event=3)],
            0,
            ["0"],
            {"predictions": 1, "labelled": 1, "outcomes": 2, "matched": 2, "disagreeing": 1},
            id="the id takes precedence over the entity",
        ),
        pytest.param(
            [prediction(1, entity="N1", event=3)],
            [outcome(1), outcome(entity="N1", event=3)],
            0,
            ["1"],
            {"predictions": 1, "labelled": 1, "outcomes": 2, "matched": 2},
            id="an id and an entity that say the same do not disagree",
        ),
    ],
)
def test_a_prediction_has_its_outcome_and_everything_is_counted(
    predictions: list[Any], outcomes: list[Any], minutes: float, labels: list[Any], counts: dict[str, int]
) -> None:
    found = joined(predictions, outcomes, minutes)

    assert found.table["label"].to_pylist() == labels
    assert found.counts == JoinCounts(**counts)


def test_the_predictions_stay_as_they_are() -> None:
    found = joined([prediction(2), prediction(1)], [outcome(1)])

    assert found.table.schema.names == [*PREDICTIONS.names, *ADDED]
    assert found.table["prediction_id"].to_pylist() == [call(2), call(1)]
    assert found.table["known_at"].to_pylist() == [None, at(6)]
    assert found.table["recorded_at"].to_pylist() == [None, at(7)]


def test_what_has_been_joined_is_not_joined_again() -> None:
    found = joined([prediction()], [])

    with pytest.raises(ValueError, match="expected no column 'label'"):
        join(found.table, OUTCOMES.empty_table())


NUMBERS = st.integers(1, 3)
ROWS = st.integers(0, 2)
ENTITIES = st.sampled_from([None, "N1", "N2"])
MINUTES = st.integers(0, 6)


@given(
    st.lists(st.builds(prediction, NUMBERS, ROWS, ENTITIES, st.one_of(st.none(), MINUTES), MINUTES), max_size=8),
    st.lists(st.builds(outcome, NUMBERS, ROWS, label=st.sampled_from("01")), max_size=6),
    st.lists(st.builds(outcome, entity=st.sampled_from(["N1", "N2", "N3"]), event=MINUTES), max_size=6),
    st.integers(0, 3),
)
def test_every_outcome_is_counted_once(
    predictions: list[Any], by_id: list[Any], by_entity: list[Any], minutes: int
) -> None:
    unique = {(row["prediction_id"], row["row"], row["entity"], row["event_at"]): row for row in (*by_id, *by_entity)}

    found = joined(predictions, list(unique.values()), minutes)

    counts = found.counts
    unmatched = counts.unknown_ids + counts.unknown_rows + counts.unknown_entities
    assert counts.matched + unmatched + counts.unmatched_times + counts.ambiguous == counts.outcomes == len(unique)
    assert counts.labelled == sum(label is not None for label in found.table["label"].to_pylist())
    for row in found.table.to_pylist():
        mine = unique.get((row["prediction_id"], row["row"], None, None))
        if mine is not None:
            assert row["label"] == mine["label"]
