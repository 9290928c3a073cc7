"""Batched methods whose calls are reported to a tracer or an access log. Without them, methods are not wrapped."""

from collections.abc import Callable, Sequence

from skylane.server.core.errors import MessageTooLarge
from skylane.server.core.types import Call, Sink
from skylane.server.grpc.base.method_table import BatchedMethod, BatchedMethods, StreamMethod

Arrive = Callable[[Sequence[Call], str, Sink], Sink]
"""(calls that arrived together, path of their method, sink of their replies) → the sink to use instead."""


class TracedMethod:
    """A method whose calls are reported to a tracer or an access log as they arrive."""

    def __init__(self, method: BatchedMethod, path: str, arrive: Arrive) -> None:
        self._method, self._path, self._arrive = method, path, arrive

    def take(self, calls: Sequence[Call], payloads: Sequence[bytes], sink: Sink) -> None:
        self._method.take(calls, payloads, self._arrive(calls, self._path, sink))

    def too_large(self, size: int) -> MessageTooLarge:
        return self._method.too_large(size)


def traced(methods: BatchedMethods, arrive: Arrive) -> BatchedMethods:
    """The same methods, reported."""
    return BatchedMethods(
        {path: TracedMethod(method, path, arrive) for path, method in methods.unary.items()},
        {
            path: StreamMethod(TracedMethod(method.handler, path, arrive), method.wrap)
            for path, method in methods.streams.items()
        },
    )
