"""Hot methods whose calls are traced. Where nobody traces, there are only those without."""

from collections.abc import Callable, Sequence

from skylane.server.core.errors import MessageTooLarge
from skylane.server.core.types import Call, Sink
from skylane.server.grpc.base.method_table import BatchedMethods, StreamMethod
from skylane.server.grpc.http2.call_buffer import MethodHandler

Arrive = Callable[[Sequence[Call], str, Sink], Sink]
"""(calls that came together, path of their method, who is to answer them) → who is to answer them instead."""


class TracedIntake:
    """An intake, with a look at what comes."""

    def __init__(self, method_handler: MethodHandler, path: str, arrive: Arrive) -> None:
        self._method_handler, self._path, self._arrive = method_handler, path, arrive

    def take(self, calls: Sequence[Call], payloads: Sequence[bytes], sink: Sink) -> None:
        """See MethodHandler."""
        self._method_handler.take(calls, payloads, self._arrive(calls, self._path, sink))

    def too_large(self, size: int) -> MessageTooLarge:
        """See MethodHandler."""
        return self._method_handler.too_large(size)


def traced(hot: BatchedMethods, arrive: Arrive) -> BatchedMethods:
    """The same methods, traced."""
    return BatchedMethods(
        {path: TracedIntake(method_handler, path, arrive) for path, method_handler in hot.unary.items()},
        {
            path: StreamMethod(TracedIntake(method.method_handler, path, arrive), method.wrap)
            for path, method in hot.streams.items()
        },
    )
