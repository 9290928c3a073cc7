"""skylane.v1.OutcomeService's messages ↔ columns and receipts. Pure."""

from typing import TYPE_CHECKING, Final

from google.protobuf.message import DecodeError
from google.protobuf.timestamp_pb2 import Timestamp

from skylane.server.core.errors import BadRequest
from skylane.server.core.outcome_columns import OUTCOMES_MAX, OutcomeColumns
from skylane.v1 import outcomes_pb2 as pb

if TYPE_CHECKING:
    from skylane.outcomes import Receipt

OUTCOME_SERVICE: Final[str] = pb.DESCRIPTOR.services_by_name["OutcomeService"].full_name
RECORD: Final = f"/{OUTCOME_SERVICE}/Record"

_SECONDS_MIN: Final = -62_135_596_800
_SECONDS_MAX: Final = 253_402_300_799
"""The years 1 to 9999, which google.protobuf.Timestamp is defined for."""

_TIMES: Final = ("event_at", "happened_at", "known_at")


def decode(message: bytes) -> tuple[str, OutcomeColumns]:
    """The model and the outcomes. Raises BadRequest."""
    try:
        request = pb.RecordRequest.FromString(message)
    except DecodeError as error:
        raise BadRequest(f"the message is not a skylane.v1.RecordRequest: {error}") from error
    if len(request.outcomes) > OUTCOMES_MAX:
        raise BadRequest(f"outcomes: expected at most {OUTCOMES_MAX}, received {len(request.outcomes)}")
    columns = OutcomeColumns()
    for index, outcome in enumerate(request.outcomes):
        _append(columns, index, outcome)
    return request.model, columns


def encode(receipt: "Receipt") -> bytes:
    """The reply."""
    response = pb.RecordResponse(
        accepted=receipt.accepted,
        repeated=receipt.repeated,
        corrected=receipt.corrected,
        unknown=receipt.unknown,
        refused=receipt.refused,
        refusals=[pb.Refusal(index=refusal.index, reason=refusal.reason) for refusal in receipt.refusals],
    )
    written: bytes = response.SerializeToString()
    return written


def _append(columns: OutcomeColumns, index: int, outcome: pb.Outcome) -> None:
    columns.prediction_id.append(outcome.prediction_id or None)
    columns.row.append(outcome.row if outcome.row or outcome.prediction_id else None)
    columns.entity.append(outcome.entity or None)
    columns.label.append(outcome.label if outcome.HasField("label") else None)
    columns.value.append(outcome.value if outcome.HasField("value") else None)
    for field, times in zip(_TIMES, (columns.event_at, columns.happened_at, columns.known_at), strict=True):
        times.append(_microseconds(columns, index, field, getattr(outcome, field)) if outcome.HasField(field) else None)


def _microseconds(columns: OutcomeColumns, index: int, field: str, at: Timestamp) -> int | None:
    if not (_SECONDS_MIN <= at.seconds <= _SECONDS_MAX and 0 <= at.nanos < 1_000_000_000):
        columns.problems.setdefault(
            index, f"{field}: expected a time of the years 1 to 9999, received {at.seconds} s and {at.nanos} ns"
        )
        return None
    return at.seconds * 1_000_000 + at.nanos // 1000
