"""Methods whose calls may come many at once: every transport and protocol has the same table of them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from skylane.server.core.errors import ServingError
from skylane.server.core.types import Call
from skylane.server.grpc.http2.call_buffer import MethodHandler

Wrap = Callable[[Call, bytes | ServingError], bytes]
"""(call, its reply or error) → the message of a stream that tells of it."""


@dataclass(frozen=True)
class StreamMethod:
    """A method whose messages are calls."""

    method_handler: MethodHandler
    wrap: Wrap


@dataclass(frozen=True)
class BatchedMethods:
    """Path → who answers. Everything else is answered one call at a time, by grpcio's services."""

    unary: Mapping[str, MethodHandler]
    streams: Mapping[str, StreamMethod]
