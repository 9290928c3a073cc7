"""Requests to record outcomes, as bytes."""

import pytest

from skylane.server.codecs.skylane_v1.outcomes import decode
from skylane.server.core.errors import BadRequest
from skylane.server.core.outcome_columns import OUTCOMES_MAX
from skylane.v1.outcomes_pb2 import Outcome, RecordRequest


def test_the_largest_request_is_decoded() -> None:
    model, columns = decode(RecordRequest(model="m", outcomes=[Outcome()] * OUTCOMES_MAX).SerializeToString())
    assert (model, len(columns)) == ("m", OUTCOMES_MAX)


def test_more_outcomes_than_the_limit_are_refused_before_memory_is_taken_for_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An empty outcome takes two bytes of a message, and many more once it is decoded."""
    monkeypatch.setattr("skylane.v1.outcomes_pb2.RecordRequest", None)
    with pytest.raises(BadRequest, match="outcomes: expected at most 10000, received more"):
        decode(b"\x12\x00" * (OUTCOMES_MAX + 2))
