"""Prediction ids in blocks: what ids of a block have in common is made once, and their ends lie in a table.

See skylane.prediction_ids for what an id is. Numbers are not dense: what is left of a block is skipped when a batch
does not fit it.
"""

from collections.abc import Sequence
from functools import cache
from threading import Lock
from typing import Final

DIGITS: Final = 2
"""Hexadecimal digits of a call's number within its block. A table of 256 ends stays in the processor's first cache."""
FIRST: Final = 16**7
"""The first number: ids of a process have one length, and replies as well, up to the 4 294 967 295th."""


@cache
def _ends(digits: int) -> Sequence[bytes]:
    """The ends of all numbers of a block."""
    return [b"%0*x" % (digits, number) for number in range(16**digits)]


class Blocks:
    """Gives out blocks of numbers of one writer, to all recorders of a process. Thread-safe."""

    def __init__(self, writer: str) -> None:
        self.writer: Final = writer
        self._lock, self._next = Lock(), FIRST

    def take(self, digits: int) -> tuple[bytes, int]:
        """A block whose numbers end in so many digits of their own: the beginning of its ids, and its first number."""
        size = 16**digits
        with self._lock:
            block = -(-self._next // size)
            self._next = (block + 1) * size
        return b"%s-%x" % (self.writer.encode(), block), block * size


class IdTaker:
    """The ids of one recorder. Not thread-safe."""

    def __init__(self, blocks: Blocks) -> None:
        self._blocks = blocks
        self._ends = _ends(DIGITS)
        self._stem, self._first, self._used = b"", 0, len(self._ends)

    def take(self, count: int) -> tuple[bytes, Sequence[bytes], int]:
        """Ids for so many calls, at least one: their beginning, the end of each, and the number of the first; those of
        the others follow it."""
        start = self._used
        stop = start + count
        if stop > len(self._ends):
            if count > len(self._ends):
                return self._take_many(count)
            self._stem, self._first = self._blocks.take(DIGITS)
            start, stop = 0, count
        self._used = stop
        return self._stem, self._ends[start:stop], self._first + start

    def _take_many(self, count: int) -> tuple[bytes, Sequence[bytes], int]:
        digits = len(f"{count - 1:x}")
        stem, first = self._blocks.take(digits)
        return stem, _ends(digits)[:count], first
