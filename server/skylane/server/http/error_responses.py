"""Errors → HTTP status: one table for every protocol over HTTP. The texts are those of gRPC."""

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
    errors.Unauthenticated: 401,  # caller: send a valid token
    errors.PermissionDenied: 403,  # caller: get a token with a wider scope
    errors.ModelNotFound: 404,  # caller: fix the name
    errors.MessageTooLarge: 413,  # caller: send less at once
    errors.CallCancelled: 499,  # nobody: the caller has disconnected
    errors.ModelFailed: 500,  # server: logged with its traceback
    errors.NotHere: 501,  # caller: do it another way
    errors.NotConfigured: 501,  # operator: start the server with the option
    errors.NotRecorded: 503,  # caller: again later
    errors.Overloaded: 503,  # caller: retry later; other model servers and load balancers use this status too
    errors.ShuttingDown: 503,  # caller: another server
    errors.StillLoading: 503,  # caller: again in a moment, or another server
    errors.DeadlineExpired: 504,  # nobody: the caller has given up
}


def response_to(error: ServingError, request_id: str) -> Response:
    """The response to this error: `{"error": text}`, as all protocols have it, and the request's id."""
    headers: dict[str, str] = {}
    if isinstance(error, Overloaded):
        headers["retry-after"] = str(math.ceil(error.retry_after_ms / 1000))
        headers["retry-after-ms"] = str(error.retry_after_ms)
    elif isinstance(error, Unauthenticated):
        headers["www-authenticate"] = "Bearer"
    return _error(STATUS_OF[type(error)], str(error), request_id, headers)


def response_to_misuse(error: HTTPException, request_id: str) -> Response:
    """The response to errors that exist only over HTTP: of paths, methods, encodings."""
    return _error(error.status_code, error.detail, request_id, dict(error.headers or {}))


def wrong_method(received: str, allowed: str) -> HTTPException:
    """The error for a path that takes other methods. `allowed`: separated by commas."""
    allowed = ", ".join(sorted(allowed.split(", ")))
    return HTTPException(405, f"method: expected {allowed} at this path, received {received}", {"Allow": allowed})


def error_body(text: str, request_id: str) -> bytes:
    """The body of every error."""
    return msgspec.json.encode({"error": text, "request_id": request_id})


def _error(status: int, text: str, request_id: str, headers: Mapping[str, str]) -> Response:
    return Response(error_body(text, request_id), status, headers, media_type="application/json")
