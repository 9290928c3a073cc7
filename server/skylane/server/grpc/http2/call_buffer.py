"""Calls of one batched method, collected during a turn of the reactor and handed over as one list."""

from typing import Final

from skylane.server.core.types import Call, Sink
from skylane.server.grpc.base.method_table import BatchedMethod
from skylane.server.grpc.http2.limits import Share

HANDED_OVER_BYTES: Final = 8 * 2**20
"""Of messages in parts: more are not kept until the end of a turn, since the decompressed messages of all peers would
be in memory at once."""


class CallBuffer:
    """Takes the calls of one method from all connections."""

    __slots__ = ("_held", "_held_bytes", "_sink", "calls", "method", "payloads")

    def __init__(self, method: BatchedMethod, sink: Sink) -> None:
        """`sink` gets the replies."""
        self.method, self._sink = method, sink
        self.calls: list[Call] = []
        self.payloads: list[bytes] = []
        self._held: list[tuple[Share, int]] = []
        """Bytes that the payloads take of their connections' shares."""
        self._held_bytes = 0

    def hold(self, share: Share, size: int) -> None:
        """Count the last payload against a share until it is handed over, which is now if there are many bytes."""
        self._held.append((share, size))
        self._held_bytes += size
        if self._held_bytes >= HANDED_OVER_BYTES:
            self.hand_over()

    def hand_over(self) -> None:
        """Give the collected calls to the method."""
        calls, payloads = self.calls, self.payloads
        self.calls, self.payloads = [], []
        try:
            self.method.take(calls, payloads, self._sink)
        finally:
            if self._held:
                self._release()

    def _release(self) -> None:
        held, self._held, self._held_bytes = self._held, [], 0
        for share, size in held:
            share.give_back(size)
