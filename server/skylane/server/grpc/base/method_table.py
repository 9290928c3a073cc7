"""Methods whose calls may come many at once: every transport and protocol has the same table of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from skylane.server.core.errors import MessageTooLarge, ServingError
from skylane.server.core.types import Call, Sink

Wrap = Callable[[Call, bytes | ServingError], bytes]
"""(call, its reply or error) → the message of a stream that tells of it."""

CallEnded = Callable[[str, str, str], None]
"""(path, name of the status, request id) of a call that has ended and that no model counts."""

Metadata = tuple[tuple[str, str | bytes], ...]
TraceOf = Callable[[Metadata], Any]
"""A caller's metadata → what its calls keep as their `trace`."""


class BatchedMethod(Protocol):
    """Answers calls of one method, many at once. Never raises."""

    def take(self, calls: Sequence[Call], payloads: Sequence[bytes], sink: Sink) -> None:
        """Answer these calls, now or later."""

    def too_large(self, size: int) -> MessageTooLarge:
        """What a caller hears whose message has so many bytes."""


@dataclass(frozen=True)
class StreamMethod:
    """A method whose messages are calls."""

    handler: BatchedMethod
    wrap: Wrap


@dataclass(frozen=True)
class BatchedMethods:
    """Path → who answers. Everything else is answered one call at a time, by grpcio's services."""

    unary: Mapping[str, BatchedMethod]
    streams: Mapping[str, StreamMethod]
