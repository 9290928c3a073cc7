"""Calls of one hot method, gathered over a turn of the front and handed over as one list."""

from collections.abc import Sequence
from typing import Protocol

from skylane.server.core.errors import MessageTooLarge
from skylane.server.core.types import Call, Sink


class MethodHandler(Protocol):
    """Answers calls of one method, many at once. Never raises."""

    def take(self, calls: Sequence[Call], payloads: Sequence[bytes], sink: Sink) -> None:
        """Answer these calls, now or later."""

    def too_large(self, size: int) -> MessageTooLarge:
        """What a caller hears whose message has so many bytes."""


class CallBuffer:
    """Where the connections put what came for one method."""

    __slots__ = ("_sink", "calls", "method_handler", "payloads")

    def __init__(self, method_handler: MethodHandler, sink: Sink) -> None:
        """`sink` gets the replies."""
        self.method_handler, self._sink = method_handler, sink
        self.calls: list[Call] = []
        self.payloads: list[bytes] = []

    def hand_over(self) -> None:
        """Give what has come to the intake."""
        calls, payloads = self.calls, self.payloads
        self.calls, self.payloads = [], []
        self.method_handler.take(calls, payloads, self._sink)
