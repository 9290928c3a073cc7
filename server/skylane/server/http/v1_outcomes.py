"""`POST /v1/models/<name>:outcomes`: what became true after predictions, as JSON."""

from functools import partial
from typing import Annotated, Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route as HttpRoute

from skylane.server.core.errors import BadRequest
from skylane.server.core.outcome_columns import OUTCOMES_MAX, OutcomeColumns
from skylane.server.http import json_text
from skylane.server.http.body_limits import BodyLimits
from skylane.server.http.error_responses import wrong_method
from skylane.server.http.handler_context import Context, json_response, with_errors
from skylane.server.observability.http_request_log import OTHERS
from skylane.times import read_time

PATH: Final = "/v1/models/{model}:outcomes"
_OTHER_METHODS: Final = ("GET", "PUT", "PATCH", "DELETE")

_VALUES_EACH: Final = 16
"""Values of JSON of one outcome: its fields, and the object itself."""
_LIMITS: Final = BodyLimits(
    8 * 2**20, 64 + 2 * _VALUES_EACH * OUTCOMES_MAX, f"a request has at most {OUTCOMES_MAX} outcomes"
)


class _Outcome(msgspec.Struct, forbid_unknown_fields=True):
    prediction_id: str | None = None
    row: Annotated[int, msgspec.Meta(ge=0, lt=2**32)] | None = None
    entity: str | None = None
    event_at: str | None = None
    label: str | int | None = None
    value: float | None = None
    happened_at: str | None = None
    known_at: str | None = None


class _Body(msgspec.Struct, forbid_unknown_fields=True):
    outcomes: list[_Outcome]


_decoder: Final = msgspec.json.Decoder(_Body)


def routes(context: Context) -> list[HttpRoute]:
    """The path for outcomes."""
    return [
        HttpRoute(PATH, with_errors(partial(_record, context), OTHERS), methods=["POST"]),
        *(HttpRoute(PATH, with_errors(_post_alone, OTHERS), methods=[method]) for method in _OTHER_METHODS),
    ]


async def _post_alone(request: Request) -> Response:
    raise wrong_method(request.method, "POST")


async def _record(context: Context, request: Request) -> Response:
    grant, model = context.grant(request), request.path_params["model"]
    context.outcomes.check(grant, model)  # before the body is read
    with context.bodies.room() as room:
        columns = decode(await context.bodies.read(request, room, _LIMITS))
        receipt = await context.outcomes.record(grant, model, columns)
    return json_response(
        {
            "accepted": receipt.accepted,
            "repeated": receipt.repeated,
            "corrected": receipt.corrected,
            "unknown": receipt.unknown,
            "refused": receipt.refused,
            "refusals": [{"index": each.index, "reason": each.reason} for each in receipt.refusals],
        }
    )


def decode(body: bytes) -> OutcomeColumns:
    """The outcomes of a body. Raises BadRequest."""
    outcomes = json_text.decode(body, _decoder, 'outcomes as JSON, {"outcomes": [{…}, …]}').outcomes
    if len(outcomes) > OUTCOMES_MAX:
        raise BadRequest(f"outcomes: expected at most {OUTCOMES_MAX}, received {len(outcomes)}")
    columns = OutcomeColumns(
        prediction_id=[each.prediction_id for each in outcomes],
        row=[each.row for each in outcomes],
        entity=[each.entity for each in outcomes],
        label=[str(each.label) if isinstance(each.label, int) else each.label for each in outcomes],
        value=[each.value for each in outcomes],
    )
    columns.event_at = _times(columns, "event_at", outcomes)
    columns.happened_at = _times(columns, "happened_at", outcomes)
    columns.known_at = _times(columns, "known_at", outcomes)
    return columns


def _times(columns: OutcomeColumns, field: str, outcomes: list[_Outcome]) -> list[int | None]:
    times: list[int | None] = []
    for index, outcome in enumerate(outcomes):
        text: Any = getattr(outcome, field)
        try:
            times.append(None if text is None else read_time(field, text))
        except ValueError as error:
            columns.problems.setdefault(index, str(error))
            times.append(None)
    return times
