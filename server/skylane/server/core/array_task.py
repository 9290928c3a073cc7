"""Tasks whose inputs are already NumPy arrays, for every protocol. Pure."""

import sys
from abc import abstractmethod
from collections.abc import Hashable, Sequence
from typing import Protocol, Self

import numpy as np

from skylane.server.core.batch_task import BatchTask
from skylane.server.core.types import Array, Call


class ReplyForm(Protocol):
    """Encodes a protocol's replies with certain outputs of one model."""

    @property
    def outputs(self) -> Hashable:
        """The part of the cache key for the reply: the requested outputs, and how they are encoded."""

    def encode(self, outputs: Sequence[Array], calls: int, rows_each: int) -> list[bytes]:
        """Replies for `calls` calls of `rows_each` rows, from all of the model's outputs for their rows."""


class StackedTask(BatchTask):
    """Calls with their arrays. A protocol's subclass adds how it marks a reply as cached."""

    __slots__ = ("_arrays", "_reply")

    def __init__(self, calls: list[Call], reply: ReplyForm, arrays: Sequence[Array], rows_each: int) -> None:
        super().__init__(calls, rows_each)
        self._reply, self._arrays = reply, arrays

    def keys(self) -> list[Hashable]:
        rows = self.rows_each
        form = (tuple((rows, *array.shape[1:]) for array in self._arrays), self._reply.outputs)
        starts = range(0, rows * len(self.calls), rows) if rows else [0] * len(self.calls)
        return [(form, *(_content(array[start : start + rows]) for array in self._arrays)) for start in starts]

    def key_bytes(self) -> int:
        return sum(_ARRAY_BYTES + _content_bytes(array[: self.rows_each]) for array in self._arrays)

    def arrays(self) -> Sequence[Array]:
        return self._arrays

    def select(self, places: Sequence[int]) -> Self:
        rows = (np.asarray(places, np.intp)[:, None] * self.rows_each + np.arange(self.rows_each)).ravel()
        calls = [self.calls[i] for i in places]
        return type(self)(calls, self._reply, [array[rows] for array in self._arrays], self.rows_each)

    def encode(self, outputs: Sequence[Array]) -> list[bytes]:
        return self._reply.encode(outputs, len(self.calls), self.rows_each)

    @abstractmethod
    def id_head(self, size: int) -> bytes | None:
        """See BatchTask."""

    @abstractmethod
    def mark_cached(self, reply: bytes) -> bytes:
        """See BatchTask."""


_ARRAY_BYTES = 150
"""Memory of the Python objects for one array of a key besides its elements; measured in `test_reply_cache.py`."""


def _content(array: Array) -> Hashable:
    return tuple(array.ravel().tolist()) if array.dtype == object else array.tobytes()


def _content_bytes(array: Array) -> int:
    if array.dtype == object:
        return sum(sys.getsizeof(text) + 16 for text in array.ravel().tolist())  # plus a pointer and malloc's rounding
    return int(array.nbytes)
