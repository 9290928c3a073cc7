"""The OpenAPI operation that records outcomes. Pure."""

from collections.abc import Mapping
from typing import Any, Final

from skylane.server.core.outcome_columns import OUTCOMES_MAX

_ERRORS: Final = {
    "400": "The request is invalid as a whole; the text names the field. Nothing is recorded.",
    "401": "A valid token is required.",
    "403": "The token does not have the action `outcome` for this model.",
    "404": "There is no such model.",
    "413": "The body exceeds a limit of the server.",
    "503": "The outcomes could not be written; send them again.",
}

_TIME: Final = {"type": "string", "format": "date-time", "description": "ISO 8601 with a time zone."}

_OUTCOME: Final[Mapping[str, Any]] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "prediction_id": {"type": "string", "description": "As the reply to the prediction had it."},
        "row": {"type": "integer", "minimum": 0, "default": 0, "description": "The row of the request."},
        "entity": {"type": "string", "maxLength": 256, "description": "Instead of an id: whom or what it was about."},
        "event_at": _TIME | {"description": "With an entity: the time of the event that was predicted."},
        "label": {"type": ["string", "integer"], "description": "The true class."},
        "value": {"type": "number", "description": "The true number."},
        "happened_at": _TIME | {"description": "When it became true; at `known_at` if omitted."},
        "known_at": _TIME | {"description": "When the sender knew it; now if omitted."},
    },
}
_COUNTS: Final = {
    "accepted": "Outcomes that are recorded.",
    "repeated": "Of these, those that say what was recorded before.",
    "corrected": "Of these, those that replace what was recorded before.",
    "unknown": "Of these, those with an id that no server of this journal has given.",
    "refused": "Outcomes that are not recorded.",
}
_REFUSAL: Final = {"type": "object", "properties": {"index": {"type": "integer"}, "reason": {"type": "string"}}}


def operation(model: str) -> dict[str, Any]:
    """What a POST to the model's `:outcomes` is."""
    outcomes = {"type": "array", "maxItems": OUTCOMES_MAX, "items": _OUTCOME}
    body = {"type": "object", "required": ["outcomes"], "properties": {"outcomes": outcomes}}
    example = {"outcomes": [{"prediction_id": "9f2c1a7be04d5538-1a4", "row": 0, "label": "1"}]}
    counts = {name: {"type": "integer", "description": text} for name, text in _COUNTS.items()}
    receipt = {"type": "object", "properties": counts | {"refusals": {"type": "array", "items": _REFUSAL}}}
    return {
        "summary": f"Record outcomes of {model}",
        "description": "Says what became true after predictions. Sending the same outcomes again changes nothing.",
        "tags": ["outcomes"],
        "requestBody": {"required": True, "content": {"application/json": {"schema": body, "example": example}}},
        "responses": {
            "200": {
                "description": "The accepted outcomes are on the disk.",
                "content": {"application/json": {"schema": receipt}},
            },
            **{code: refusal(text) for code, text in _ERRORS.items()},
        },
    }


def refusal(text: str) -> dict[str, Any]:
    """The description of a response that refuses."""
    return {
        "description": text,
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
    }
