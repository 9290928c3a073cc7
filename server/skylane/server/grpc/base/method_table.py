"""The table of batched methods, which all transports and protocols share."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from skylane.server.core.errors import MessageTooLarge, ServingError
from skylane.server.core.types import Call, Sink

Wrap = Callable[[Call, bytes | ServingError], bytes]
"""(call, its reply or error) → the stream's message with the result."""

CallEnded = Callable[[str, str, str], None]
"""(path, name of the status, request id) of a call that has ended and that no model counts."""

Metadata = tuple[tuple[str, str | bytes], ...]
TraceOf = Callable[[Metadata], Any]
"""A caller's metadata → the value for its calls' `trace`."""


class BatchedMethod(Protocol):
    """Answers calls of one method, many at once. Never raises."""

    def take(self, calls: Sequence[Call], payloads: Sequence[bytes], sink: Sink) -> None:
        """Answer these calls, now or later."""

    def too_large(self, size: int) -> MessageTooLarge:
        """The error for a message of so many bytes."""


@dataclass(frozen=True)
class StreamMethod:
    """A method whose messages are calls."""

    handler: BatchedMethod
    wrap: Wrap


@dataclass(frozen=True)
class BatchedMethods:
    """Path → method. All other methods are answered one call at a time by grpcio's services."""

    unary: Mapping[str, BatchedMethod]
    streams: Mapping[str, StreamMethod]
