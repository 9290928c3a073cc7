"""The record of one HTTP request from its first byte to the last of its response: its id, and how it is counted."""

import time
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any, Final, Protocol, cast

_KEY: Final = "skylane.request"
_ANSWERED: Final = ""

_CODES: Final[Mapping[int, str]] = {
    400: "INVALID_ARGUMENT",
    403: "PERMISSION_DENIED",  # a request from a page of another site
    404: "UNIMPLEMENTED",  # an unknown path, like an unknown method
    405: "UNIMPLEMENTED",
    415: "UNIMPLEMENTED",  # like an encoding that gRPC does not know
    421: "INVALID_ARGUMENT",  # a host name that is not this server's
    431: "RESOURCE_EXHAUSTED",
    501: "UNIMPLEMENTED",
    503: "UNAVAILABLE",
}
"""HTTP's status → gRPC's, for errors that exist only over HTTP; others are UNKNOWN."""

OTHERS: Final = "http"
"""The protocol under which requests are counted that are not predictions."""


@dataclass(slots=True)
class HttpRequestRecord:
    """What is known of a request that has not ended."""

    request_id: str
    began_at: float
    protocol: str = OTHERS
    """The name under which it is counted."""
    error: str = ""
    """Name of the error's class, if its caller gets a ServingError."""
    counted: bool = False
    """Whether the engine counts it."""

    def ended(self, status: int) -> str:
        """How it ended, for metrics. `status`: of HTTP."""
        return self.error or (_ANSWERED if status < 400 else _CODES.get(status, "UNKNOWN"))


class HttpRequestListener(Protocol):
    """Is notified of every request that ends."""

    def left(self, http_request: HttpRequestRecord, status: int, scope: Mapping[str, Any]) -> None:
        """`status`: of HTTP; 0 if the caller disconnected before there was one. `scope`: see ASGI."""


def enter(scope: MutableMapping[str, Any], request_id: str) -> HttpRequestRecord:
    """Create the record of a request that begins, and attach it to the scope."""
    http_request = scope[_KEY] = HttpRequestRecord(request_id, time.monotonic())
    return http_request


def of(scope: Mapping[str, Any]) -> HttpRequestRecord:
    """The record of the request with this scope."""
    return cast(HttpRequestRecord, scope[_KEY])
