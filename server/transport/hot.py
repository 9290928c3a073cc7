"""Methods whose calls may come many at once: every transport and protocol has the same table of them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from server.errors import ServingError
from server.transport.h2.inbox import Intake
from server.types import Call

Wrap = Callable[[Call, bytes | ServingError], bytes]
"""(call, its reply or error) → the message of a stream that tells of it."""


@dataclass(frozen=True)
class StreamMethod:
    """A method whose messages are calls."""

    intake: Intake
    wrap: Wrap


@dataclass(frozen=True)
class HotMethods:
    """Path → who answers. Everything else is answered one call at a time, by grpcio's services."""

    unary: Mapping[str, Intake]
    streams: Mapping[str, StreamMethod]
