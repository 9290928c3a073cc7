"""Stand-ins for what a decider is given: blocks without a protocol, sinks that keep what they get."""

from collections.abc import Hashable, Sequence
from typing import Self

from skylane.server.core.batch_task import BatchTask
from skylane.server.core.errors import ServingError
from skylane.server.core.types import NO_DEADLINE, Array, Call


class RecordingSink:
    """Keeps every answer and refusal."""

    def __init__(self) -> None:
        self.got: list[tuple[Call, bytes | ServingError]] = []

    def answer(self, calls: Sequence[Call], replies: Sequence[bytes], ids: Sequence[bytes] = ()) -> None:
        """See skylane.server.core.types.Sink."""
        self._keep(calls, replies)

    def refuse(self, calls: Sequence[Call], error: ServingError) -> None:
        """See skylane.server.core.types.Sink."""
        self._keep(calls, [error] * len(calls))

    def _keep(self, calls: Sequence[Call], results: Sequence[bytes | ServingError]) -> None:
        for call, result in zip(calls, results, strict=True):
            call.done = True
            self.got.append((call, result))


class Nobody:
    """For calls whose answer is no part of the test."""

    def answer(self, calls: Sequence[Call], replies: Sequence[bytes], ids: Sequence[bytes] = ()) -> None:
        """See skylane.server.core.types.Sink."""
        raise AssertionError("nobody was to be answered here")

    def refuse(self, calls: Sequence[Call], error: ServingError) -> None:
        """See skylane.server.core.types.Sink."""
        raise AssertionError("nobody was to be refused here")


def call(handle: object, deadline: float = NO_DEADLINE) -> Call:
    """A call whose answer is no part of the test."""
    return Call(handle, Nobody(), deadline)


class PlainBlock(BatchTask):
    """A block of calls that each have a key; its inputs are whatever it is given for all of them."""

    def __init__(
        self, calls: list[Call], rows_each: int = 1, keys: Sequence[Hashable] = (), inputs: Sequence[Array] = ()
    ) -> None:
        super().__init__(calls, rows_each)
        self.inputs = inputs
        self._keys = list(keys)

    def keys(self) -> list[Hashable]:
        """See Block."""
        return self._keys

    def key_bytes(self) -> int:
        """See Block."""
        return 0

    def arrays(self) -> Sequence[Array]:
        """See Block."""
        return self.inputs

    def select(self, places: Sequence[int]) -> Self:
        """See Block. Inputs cannot be selected from: no test needs it."""
        assert not self.inputs
        keys = [self._keys[place] for place in places] if self._keys else []
        return type(self)([self.calls[place] for place in places], self.rows_each, keys)

    def encode(self, outputs: Sequence[Array]) -> list[bytes]:
        """See Block."""
        raise NotImplementedError

    def id_head(self, size: int) -> bytes | None:
        """See Block."""
        return b" id "

    def mark_cached(self, reply: bytes) -> bytes:
        """See Block."""
        return reply + b" (cached)"
