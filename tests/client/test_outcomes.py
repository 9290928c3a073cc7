"""Outcomes as callers have them: what is sent, and what is refused before anything is sent."""

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from skylane.client.calls import Calls, Invoke
from skylane.client.errors import OutcomesRefused
from skylane.client.outcomes import REQUEST_MAX, OutcomeReceipt, OutcomeRefusal, Outcomes, receipt_of
from skylane.v1 import outcomes_pb2 as pb

ID = "9f2c1a7be04d5538-1a4"
LANDED = datetime(2013, 7, 1, 18, 3, tzinfo=UTC)


class Lock:
    """Nobody else wants it."""

    def acquire(self) -> bool:
        return True

    def release(self) -> None:
        """See Lock."""


def sent(*arguments: Any, **named: Any) -> list[pb.Outcome]:
    return [each for _, request in Outcomes("flights", *arguments, **named).requests() for each in request.outcomes]


def test_one_id_is_for_the_rows_of_its_request() -> None:
    outcomes = sent(ID, labels=["1", "0"])

    assert [(each.prediction_id, each.row, each.label) for each in outcomes] == [(ID, 0, "1"), (ID, 1, "0")]


def test_each_id_is_for_its_own_row() -> None:
    outcomes = sent([ID, ID], rows=np.array([3, 4]), labels=np.array([1, 0]), values=np.array([2.5, 1]))

    assert [(each.row, each.label, each.value) for each in outcomes] == [(3, "1", 2.5), (4, "0", 1.0)]


def test_a_single_value_stands_for_all() -> None:
    first, second = sent(entities=["N1", "N2"], event_at=LANDED, labels="1", known_at=LANDED)

    assert (first.entity, second.entity, first.label, second.label) == ("N1", "N2", "1", "1")
    assert first.event_at.ToMicroseconds() == second.known_at.ToMicroseconds() == int(LANDED.timestamp()) * 1_000_000


def test_none_is_left_out() -> None:
    first, second = sent([ID, ID], labels=["1", None], values=[None, 0.0], known_at=[None, LANDED])

    assert (first.HasField("value"), first.HasField("known_at"), first.HasField("happened_at")) == (False,) * 3
    assert (second.HasField("label"), second.HasField("value"), second.value) == (False, True, 0.0)


@pytest.mark.parametrize(
    ("arguments", "named", "error", "told"),
    [
        pytest.param((), {"labels": "1"}, ValueError,
                     "prediction_ids, entities: expected one of them, received neither", id="no key"),
        pytest.param((ID,), {"entities": "N1", "labels": "1"}, ValueError,
                     "prediction_ids, entities: expected one of them, received both", id="both keys"),
        pytest.param((ID,), {}, ValueError, "labels, values: expected one of them or both, received neither",
                     id="nothing became true"),
        pytest.param(([ID, ID],), {"labels": ["1"]}, ValueError,
                     "expected as many values of each, received prediction_ids 2, labels 1", id="different lengths"),
        pytest.param((ID,), {"labels": 1.0}, TypeError, "labels: expected text or whole numbers", id="a real label"),
        pytest.param((ID,), {"labels": [True]}, TypeError, "labels: expected text or whole", id="a truth value"),
        pytest.param((ID,), {"values": "1"}, TypeError, "values: expected numbers, received '1'", id="text as value"),
        pytest.param((ID,), {"labels": "1", "rows": -1}, ValueError, "rows: expected numbers from 0", id="a row below"),
        pytest.param((7,), {"labels": "1"}, TypeError, "prediction_ids: expected text, received 7", id="no text"),
        pytest.param((ID,), {"labels": "1", "known_at": datetime(2013, 7, 1)}, ValueError,
                     "known_at: expected a time with a zone", id="a time without a zone"),
        pytest.param((ID,), {"labels": "1", "happened_at": "2013-07-01T18:03:00Z"}, TypeError,
                     "happened_at: expected datetimes with a time zone", id="a time as text"),
    ],
)  # fmt: skip
def test_what_cannot_be_sent_is_named(
    arguments: tuple[Any, ...], named: dict[str, Any], error: type[Exception], told: str
) -> None:
    with pytest.raises(error, match=told):
        Outcomes("flights", *arguments, **named)


def test_many_are_sent_in_several_requests_and_refusals_keep_their_places() -> None:
    outcomes = Outcomes("flights", [ID] * (REQUEST_MAX + 2), labels="1")
    steps = Calls(1.0, 0, Lock).record_outcomes(outcomes)

    first = next(steps)
    assert isinstance(first, Invoke)
    assert len(first.request.outcomes) == REQUEST_MAX
    second = steps.send(pb.RecordResponse(accepted=REQUEST_MAX, corrected=1))
    assert isinstance(second, Invoke)
    assert len(second.request.outcomes) == 2
    with pytest.raises(OutcomesRefused) as refused:
        steps.send(pb.RecordResponse(accepted=1, refused=1, refusals=[pb.Refusal(index=1, reason="label: …")]))

    place = REQUEST_MAX + 1
    assert refused.value.receipt == OutcomeReceipt(
        accepted=REQUEST_MAX + 1, corrected=1, refused=1, refusals=(OutcomeRefusal(place, "label: …"),)
    )
    assert refused.value.detail == f"1 of {REQUEST_MAX + 2} outcomes are refused; number {place}: label: …"


def test_a_receipt_is_the_reply() -> None:
    reply = pb.RecordResponse(accepted=5, repeated=1, corrected=2, unknown=3)

    assert receipt_of(reply, 0) == OutcomeReceipt(accepted=5, repeated=1, corrected=2, unknown=3)
