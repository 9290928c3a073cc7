"""Hot methods whose calls are traced. Where nobody traces, there are only those without."""

from collections.abc import Callable, Sequence

from skylane.server.core.errors import MessageTooLarge
from skylane.server.core.types import Call, Sink
from skylane.server.grpc.base.method_table import BatchedMethod, BatchedMethods, StreamMethod

Arrive = Callable[[Sequence[Call], str, Sink], Sink]
"""(calls that came together, path of their method, who is to answer them) → who is to answer them instead."""


class TracedMethod:
    """A method whose calls are reported to a tracer or an access log as they arrive."""

    def __init__(self, method: BatchedMethod, path: str, arrive: Arrive) -> None:
        self._method, self._path, self._arrive = method, path, arrive

    def take(self, calls: Sequence[Call], payloads: Sequence[bytes], sink: Sink) -> None:
        self._method.take(calls, payloads, self._arrive(calls, self._path, sink))

    def too_large(self, size: int) -> MessageTooLarge:
        return self._method.too_large(size)


def traced(hot: BatchedMethods, arrive: Arrive) -> BatchedMethods:
    """The same methods, traced."""
    return BatchedMethods(
        {path: TracedMethod(method, path, arrive) for path, method in hot.unary.items()},
        {
            path: StreamMethod(TracedMethod(method.handler, path, arrive), method.wrap)
            for path, method in hot.streams.items()
        },
    )
