"""Errors as HTTP status: one row for each, beside the row that it has in gRPC."""

import pytest
from grpc import StatusCode

from skylane.server.codecs import grpc_status
from skylane.server.core import errors
from skylane.server.core.errors import ServingError
from skylane.server.http.error_responses import STATUS_OF, response_to

HTTP_OF_GRPC = {
    StatusCode.INVALID_ARGUMENT: {400},
    StatusCode.UNAUTHENTICATED: {401},
    StatusCode.PERMISSION_DENIED: {403},
    StatusCode.NOT_FOUND: {404},
    StatusCode.RESOURCE_EXHAUSTED: {413, 503},
    StatusCode.CANCELLED: {499},
    StatusCode.INTERNAL: {500},
    StatusCode.UNAVAILABLE: {503},
    StatusCode.DEADLINE_EXCEEDED: {504},
    StatusCode.UNIMPLEMENTED: {501},
    StatusCode.FAILED_PRECONDITION: {501},
}


def test_every_error_of_grpc_has_its_counterpart_here() -> None:
    assert set(STATUS_OF) == set(grpc_status.STATUS_OF)
    for kind, code in grpc_status.STATUS_OF.items():
        assert STATUS_OF[kind] in HTTP_OF_GRPC[code], kind


@pytest.mark.parametrize(
    ("error", "code", "headers"),
    [
        pytest.param(errors.BadRequest("é"), 400, {}, id="the caller must fix it"),
        pytest.param(errors.Overloaded("é", 1), 503, {"retry-after": "1", "retry-after-ms": "1"}, id="come back soon"),
        pytest.param(
            errors.Overloaded("é", 1001), 503, {"retry-after": "2", "retry-after-ms": "1001"}, id="come back later"
        ),
        pytest.param(errors.Unauthenticated("é"), 401, {"www-authenticate": "Bearer"}, id="what is asked for"),
    ],
)
def test_what_a_caller_gets(error: ServingError, code: int, headers: dict[str, str]) -> None:
    response = response_to(error, "a-1")
    assert (response.status_code, response.body) == (code, '{"error":"é","request_id":"a-1"}'.encode())
    expected = headers | {"content-type": "application/json", "content-length": "33"}
    assert dict(response.headers) == expected
