"""Hot methods whose calls are traced. Where nobody traces, there are only those without."""

from collections.abc import Callable, Sequence

from server.errors import MessageTooLarge
from server.transport.h2.inbox import Intake
from server.transport.hot import HotMethods, StreamMethod
from server.types import Call, Sink

Arrive = Callable[[Sequence[Call], str, Sink], Sink]
"""(calls that came together, path of their method, who is to answer them) → who is to answer them instead."""


class TracedIntake:
    """An intake, with a look at what comes."""

    def __init__(self, intake: Intake, path: str, arrive: Arrive) -> None:
        self._intake, self._path, self._arrive = intake, path, arrive

    def take(self, calls: Sequence[Call], payloads: Sequence[bytes], sink: Sink) -> None:
        """See Intake."""
        self._intake.take(calls, payloads, self._arrive(calls, self._path, sink))

    def too_large(self, size: int) -> MessageTooLarge:
        """See Intake."""
        return self._intake.too_large(size)


def traced(hot: HotMethods, arrive: Arrive) -> HotMethods:
    """The same methods, traced."""
    return HotMethods(
        {path: TracedIntake(intake, path, arrive) for path, intake in hot.unary.items()},
        {
            path: StreamMethod(TracedIntake(method.intake, path, arrive), method.wrap)
            for path, method in hot.streams.items()
        },
    )
