"""Errors → HTTP: one table for every protocol spoken over it. The words are those of the gRPC status."""

import math
from collections.abc import Mapping
from typing import Final

import msgspec
from starlette.exceptions import HTTPException
from starlette.responses import Response

from skylane.server.core import errors
from skylane.server.core.errors import Overloaded, ServingError, Unauthenticated

STATUS_OF: Final[Mapping[type[ServingError], int]] = {
    errors.BadRequest: 400,  # caller: fix the request
    errors.InputMismatch: 400,
    errors.TooManyRows: 400,
    errors.Unauthenticated: 401,  # caller: send a token that is good
    errors.PermissionDenied: 403,  # caller: ask for a wider one
    errors.ModelNotFound: 404,  # caller: fix the name
    errors.MessageTooLarge: 413,  # caller: send less at once
    errors.CallCancelled: 499,  # nobody: the caller has disconnected
    errors.ModelFailed: 500,  # us: logged with its traceback
    errors.NotHere: 501,  # caller: do it another way
    errors.NotConfigured: 501,  # operator: start the server with the option
    errors.NotRecorded: 503,  # caller: again later
    errors.Overloaded: 503,  # caller: come back later; what other model servers say here, and balancers understand
    errors.ShuttingDown: 503,  # caller: another server
    errors.StillLoading: 503,  # caller: again in a moment, or another server
    errors.DeadlineExpired: 504,  # nobody: the caller has given up
}


def response_to(error: ServingError, request_id: str) -> Response:
    """What a caller of this error gets: `{"error": text}`, as the protocols agree, and the request's id."""
    headers: dict[str, str] = {}
    if isinstance(error, Overloaded):
        headers["retry-after"] = str(math.ceil(error.retry_after_ms / 1000))
        headers["retry-after-ms"] = str(error.retry_after_ms)
    elif isinstance(error, Unauthenticated):
        headers["www-authenticate"] = "Bearer"
    return _told(STATUS_OF[type(error)], str(error), request_id, headers)


def response_to_misuse(error: HTTPException, request_id: str) -> Response:
    """For what only HTTP knows: paths, methods, encodings."""
    return _told(error.status_code, error.detail, request_id, dict(error.headers or {}))


def wrong_method(received: str, allowed: str) -> HTTPException:
    """For a path that takes other methods: `allowed`, with commas."""
    allowed = ", ".join(sorted(allowed.split(", ")))
    return HTTPException(405, f"method: expected {allowed} at this path, received {received}", {"Allow": allowed})


def told(text: str, request_id: str) -> bytes:
    """The body of every refusal."""
    return msgspec.json.encode({"error": text, "request_id": request_id})


def _told(status: int, text: str, request_id: str, headers: Mapping[str, str]) -> Response:
    return Response(told(text, request_id), status, headers, media_type="application/json")
