"""One request over HTTP from its first byte to the last of its answer: its id, and how it is counted and logged."""

import time
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any, Final, Protocol, cast

_KEY: Final = "skylane.visit"
_ANSWERED: Final = ""

_CODES: Final[Mapping[int, str]] = {
    400: "INVALID_ARGUMENT",
    403: "PERMISSION_DENIED",  # of a page from elsewhere
    404: "UNIMPLEMENTED",  # of a path: as a method that is not there
    405: "UNIMPLEMENTED",
    415: "UNIMPLEMENTED",  # as an encoding that gRPC does not know
    421: "INVALID_ARGUMENT",  # of a name that is not ours
    431: "RESOURCE_EXHAUSTED",
    501: "UNIMPLEMENTED",
    503: "UNAVAILABLE",
}
"""HTTP's status → gRPC's, for what only HTTP knows; others are UNKNOWN."""

OTHERS: Final = "http"
"""The protocol of all requests that ask for no prediction."""


@dataclass(slots=True)
class HttpRequestRecord:
    """What is known of a request while it is here."""

    request_id: str
    began_at: float
    protocol: str = OTHERS
    """Under which it is counted."""
    error: str = ""
    """Name of the error's class that its caller hears, if it is one of ours."""
    counted: bool = False
    """Whether the engine has it, and counts it."""

    def ended(self, status: int) -> str:
        """How it ended, for metrics. `status`: HTTP's."""
        return self.error or (_ANSWERED if status < 400 else _CODES.get(status, "UNKNOWN"))


class HttpRequestListener(Protocol):
    """Hears of every request that ends."""

    def left(self, http_request: HttpRequestRecord, status: int, scope: Mapping[str, Any]) -> None:
        """`status`: HTTP's; 0 if the caller left before there was one. `scope`: see ASGI."""


def enter(scope: MutableMapping[str, Any], request_id: str) -> HttpRequestRecord:
    """A request begins."""
    http_request = scope[_KEY] = HttpRequestRecord(request_id, time.monotonic())
    return http_request


def of(scope: Mapping[str, Any]) -> HttpRequestRecord:
    """The request at hand."""
    return cast(HttpRequestRecord, scope[_KEY])
