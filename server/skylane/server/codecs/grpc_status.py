"""Errors → gRPC status. One table for every gRPC transport and protocol."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from grpc import StatusCode

from skylane.server.core import errors
from skylane.server.core.errors import ServingError

STATUS_OF: Final[Mapping[type[ServingError], StatusCode]] = {
    errors.BadRequest: StatusCode.INVALID_ARGUMENT,  # caller: fix the request
    errors.InputMismatch: StatusCode.INVALID_ARGUMENT,
    errors.TooManyRows: StatusCode.INVALID_ARGUMENT,
    errors.ModelNotFound: StatusCode.NOT_FOUND,  # caller: fix the name
    errors.Unauthenticated: StatusCode.UNAUTHENTICATED,  # caller: send a token that is good
    errors.PermissionDenied: StatusCode.PERMISSION_DENIED,  # caller: ask for a wider one
    errors.NotHere: StatusCode.UNIMPLEMENTED,  # caller: do it another way
    errors.NotConfigured: StatusCode.FAILED_PRECONDITION,  # operator: start the server with the option
    errors.MessageTooLarge: StatusCode.RESOURCE_EXHAUSTED,  # caller: send less at once
    errors.Overloaded: StatusCode.RESOURCE_EXHAUSTED,  # caller: come back later
    errors.DeadlineExpired: StatusCode.DEADLINE_EXCEEDED,  # nobody: the caller has given up
    errors.CallCancelled: StatusCode.CANCELLED,  # nobody: the caller has disconnected
    errors.ShuttingDown: StatusCode.UNAVAILABLE,  # caller: another server
    errors.NotRecorded: StatusCode.UNAVAILABLE,  # caller: again later
    errors.StillLoading: StatusCode.UNAVAILABLE,  # caller: again in a moment, or another server
    errors.ModelFailed: StatusCode.INTERNAL,  # us: logged with its traceback
}

PUSHBACK_KEY: Final = "retry-pushback-ms"
"""Trailing metadata of Overloaded: milliseconds to wait, for callers to read."""
GRPC_PUSHBACK_KEY: Final = "grpc-retry-pushback-ms"
"""The same for gRPC's own retries, which do not pass it on to the caller."""

MESSAGE_BYTES_MAX: Final = 2000
"""Clients accept 8 KiB of metadata by default, and on the wire each byte that is not ASCII takes three."""


@dataclass(frozen=True)
class Status:
    """How a gRPC call ends."""

    code: StatusCode
    message: str
    retry_pushback_ms: int = 0

    @property
    def number(self) -> int:
        """The code on the wire."""
        number: int = self.code.value[0]
        return number

    @property
    def trailing(self) -> tuple[tuple[str, str], ...]:
        """Metadata that is sent with the status."""
        if not self.retry_pushback_ms:
            return ()
        return tuple((key, str(self.retry_pushback_ms)) for key in (PUSHBACK_KEY, GRPC_PUSHBACK_KEY))


def status_of(error: ServingError) -> Status:
    """The status for this error."""
    message = str(error)
    if len(encoded := message.encode(errors="replace")) > MESSAGE_BYTES_MAX:
        message = encoded[:MESSAGE_BYTES_MAX].decode(errors="ignore") + "…"
    return Status(STATUS_OF[type(error)], message, getattr(error, "retry_after_ms", 0))
