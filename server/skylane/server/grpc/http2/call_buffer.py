"""Calls of one hot method, gathered over a turn of the front and handed over as one list."""

from skylane.server.core.types import Call, Sink
from skylane.server.grpc.base.method_table import BatchedMethod


class CallBuffer:
    """Where the connections put what came for one method."""

    __slots__ = ("_sink", "calls", "method", "payloads")

    def __init__(self, method: BatchedMethod, sink: Sink) -> None:
        """`sink` gets the replies."""
        self.method, self._sink = method, sink
        self.calls: list[Call] = []
        self.payloads: list[bytes] = []

    def hand_over(self) -> None:
        """Give what has come to the method."""
        calls, payloads = self.calls, self.payloads
        self.calls, self.payloads = [], []
        self.method.take(calls, payloads, self._sink)
