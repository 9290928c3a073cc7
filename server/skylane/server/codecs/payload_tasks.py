"""Batch tasks of requests that arrive as bytes, bound to a model; their replies are bytes as well."""

from collections.abc import Hashable, Sequence
from typing import Protocol, Self

import numpy as np

from skylane.server.core.array_task import ReplyForm as StackedReplyForm
from skylane.server.core.array_task import StackedTask
from skylane.server.core.batch_task import BatchTask
from skylane.server.core.types import Array, Call

Shape = tuple[int, ...]


class ReplyForm(StackedReplyForm, Protocol):
    """How a gRPC protocol writes replies with certain outputs of one model."""

    cached: bytes
    """Appended to a reply for which the model did not run."""

    def id_head(self, size: int) -> bytes | None:
        """See BatchTask."""


class NumbersPlan:
    """A form of request bound to a model: how its numbers become rows, and outputs become replies."""

    __slots__ = ("dtype", "id_head", "key", "reply", "shape")

    def __init__(self, reply: ReplyForm, shape: Shape, dtype: "np.dtype[np.generic]") -> None:
        self.reply, self.shape, self.dtype = reply, shape, dtype
        self.key = ((shape,), reply.outputs)
        self.id_head = reply.id_head


class NumbersTask(BatchTask):
    """Calls with one numeric tensor of the same shape, which are stacked only when they run."""

    __slots__ = ("_numbers", "_plan", "_stacked")

    def __init__(self, calls: list[Call], plan: NumbersPlan, numbers: list[bytes]) -> None:
        super().__init__(calls, plan.shape[0])
        self._plan, self._numbers = plan, numbers
        self._stacked: list[Array] | None = None

    def keys(self) -> list[Hashable]:
        form = self._plan.key
        return [(form, numbers) for numbers in self._numbers]

    def key_bytes(self) -> int:
        return len(self._numbers[0])

    def arrays(self) -> Sequence[Array]:
        if self._stacked is None:
            numbers = self._numbers[0] if len(self._numbers) == 1 else b"".join(self._numbers)
            self._stacked = [np.frombuffer(numbers, self._plan.dtype).reshape(self.rows, *self._plan.shape[1:])]
        return self._stacked

    def select(self, places: Sequence[int]) -> Self:
        calls, numbers = self.calls, self._numbers
        return type(self)([calls[i] for i in places], self._plan, [numbers[i] for i in places])

    def encode(self, outputs: Sequence[Array]) -> list[bytes]:
        return self._plan.reply.encode(outputs, len(self.calls), self.rows_each)

    def id_head(self, size: int) -> bytes | None:
        return self._plan.id_head(size)

    def mark_cached(self, reply: bytes) -> bytes:
        return reply + self._plan.reply.cached


class ArraysTask(StackedTask):
    """Calls with their arrays, which are stacked already."""

    __slots__ = ("_cached", "_id_head")

    def __init__(self, calls: list[Call], reply: ReplyForm, arrays: Sequence[Array], rows_each: int) -> None:
        super().__init__(calls, reply, arrays, rows_each)
        self._cached, self._id_head = reply.cached, reply.id_head

    def id_head(self, size: int) -> bytes | None:
        return self._id_head(size)

    def mark_cached(self, reply: bytes) -> bytes:
        return reply + self._cached
