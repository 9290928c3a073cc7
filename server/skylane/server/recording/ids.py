"""Prediction ids in blocks: what ids of a block have in common is made once, and their ends lie in a table.

See skylane.prediction_ids for what an id is. Numbers are not dense: what is left of a block is skipped when a batch
does not fit it.
"""

from threading import Lock
from typing import Final

from skylane.server.engine.recorder import Ids

DIGITS: Final = 3
"""Hexadecimal digits of a call's number within its block."""
_ENDS: Final = [b"%0*x" % (DIGITS, number) for number in range(16**DIGITS)]


class Blocks:
    """Gives out blocks of numbers of one writer, to all recorders of a process. Thread-safe."""

    def __init__(self, writer: str) -> None:
        self.writer: Final = writer
        self._lock, self._next = Lock(), 1

    def take(self, digits: int) -> tuple[bytes, int]:
        """A block whose numbers end in so many digits of their own: the beginning of its ids, and its first number."""
        size = 16**digits
        with self._lock:
            block = -(-self._next // size)  # from 1 on, so no number begins with a zero
            self._next = (block + 1) * size
        return b"%s-%x" % (self.writer.encode(), block), block * size


class TakenIds(Ids):
    """Ids of calls that are answered together, with the number of the first; those of the others follow it."""

    __slots__ = ("first",)

    def __init__(self, stem: bytes, ends: list[bytes], first: int) -> None:
        super().__init__(stem, ends)
        self.first = first


class IdTaker:
    """The ids of one recorder. Not thread-safe."""

    def __init__(self, blocks: Blocks) -> None:
        self._blocks = blocks
        self._stem, self._first, self._used = b"", 0, len(_ENDS)

    def take(self, count: int) -> TakenIds:
        """Ids for so many calls, at least one."""
        if self._used + count > len(_ENDS):
            if count > len(_ENDS):
                return self._take_many(count)
            self._stem, self._first = self._blocks.take(DIGITS)
            self._used = 0
        start = self._used
        self._used = stop = start + count
        return TakenIds(self._stem, _ENDS[start:stop], self._first + start)

    def _take_many(self, count: int) -> TakenIds:
        digits = len(f"{count - 1:x}")
        stem, first = self._blocks.take(digits)
        return TakenIds(stem, [b"%0*x" % (digits, number) for number in range(count)], first)
