"""Errors as gRPC status: one row for each error, and messages that fit into metadata."""

from urllib.parse import quote

import pytest
from grpc import StatusCode
from hypothesis import given
from hypothesis import strategies as st

from skylane.server.codecs.grpc_status import STATUS_OF, status_of
from skylane.server.core import errors
from skylane.server.core.errors import ServingError


def leaves(kind: type[ServingError]) -> set[type[ServingError]]:
    found = kind.__subclasses__()
    return set().union(*map(leaves, found)) if found else {kind}


def test_every_error_has_a_status_and_every_status_an_error() -> None:
    assert set(STATUS_OF) == {kind for kind in leaves(ServingError) if kind.__module__ == "skylane.server.core.errors"}


@pytest.mark.parametrize(
    ("error", "code"),
    [
        pytest.param(errors.BadRequest("m"), StatusCode.INVALID_ARGUMENT, id="the caller must fix the request"),
        pytest.param(errors.InputMismatch("m"), StatusCode.INVALID_ARGUMENT, id="the caller must fix the inputs"),
        pytest.param(errors.TooManyRows("m"), StatusCode.INVALID_ARGUMENT, id="the caller must send it in parts"),
        pytest.param(errors.ModelNotFound("m"), StatusCode.NOT_FOUND, id="the caller must name another model"),
        pytest.param(errors.Unauthenticated("m"), StatusCode.UNAUTHENTICATED, id="the caller needs a good token"),
        pytest.param(errors.PermissionDenied("m"), StatusCode.PERMISSION_DENIED, id="the caller needs a wider token"),
        pytest.param(errors.MessageTooLarge("m"), StatusCode.RESOURCE_EXHAUSTED, id="the caller must send less"),
        pytest.param(errors.Overloaded("m", 7), StatusCode.RESOURCE_EXHAUSTED, id="the caller should come back"),
        pytest.param(errors.DeadlineExpired("m"), StatusCode.DEADLINE_EXCEEDED, id="the caller has given up"),
        pytest.param(errors.CallCancelled("m"), StatusCode.CANCELLED, id="the caller has disconnected"),
        pytest.param(errors.ShuttingDown("m"), StatusCode.UNAVAILABLE, id="another server may answer"),
        pytest.param(errors.ModelFailed("m"), StatusCode.INTERNAL, id="it is our fault"),
    ],
)
def test_status_of(error: ServingError, code: StatusCode) -> None:
    status = status_of(error)
    assert (status.code, status.number, status.message) == (code, code.value[0], "m")


def test_only_a_full_queue_says_when_to_come_back() -> None:
    both = (("retry-pushback-ms", "250"), ("grpc-retry-pushback-ms", "250"))
    assert status_of(errors.Overloaded("m", 250)).trailing == both
    assert status_of(errors.MessageTooLarge("m")).trailing == ()


@pytest.mark.parametrize(
    ("message", "told"),
    [
        pytest.param("m" * 2000, "m" * 2000, id="2000 bytes stay whole"),
        pytest.param("m" * 2001, "m" * 2000 + "…", id="more are cut, and it shows"),
        pytest.param("é" * 1001, "é" * 1000 + "…", id="bytes count, not characters"),
        pytest.param("m" + "é" * 1000, "m" + "é" * 999 + "…", id="no character is cut in two"),
    ],
)
def test_long_messages_are_cut(message: str, told: str) -> None:
    assert status_of(errors.InputMismatch(message)).message == told


@given(st.text(max_size=3000))
def test_a_message_fits_into_the_metadata_that_clients_accept(message: str) -> None:
    assert len(quote(status_of(errors.InputMismatch(message)).message)) < 8192 - 1024
