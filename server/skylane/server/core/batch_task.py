"""Batch tasks: calls whose inputs have one shape, handled as one from the socket to the reply.

A transport's codec implements both classes; the engine knows only what stands here. That is how one engine serves
several protocols, and how nothing on the request path is done per request that can be done per task.
"""

from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterable, Sequence
from typing import Protocol, Self, TypeAlias

from skylane.server.core.errors import ServingError
from skylane.server.core.types import Array, Call, Interface, Route, Sink


class RequestGroup(ABC):
    """Decoded calls for one route, not yet held against the model that will answer."""

    __slots__ = ("calls", "route", "sink")

    def __init__(self, route: Route, calls: list[Call], sink: Sink) -> None:
        self.route = route
        self.calls = calls
        self.sink = sink

    @abstractmethod
    def bind(self, interface: Interface) -> "Bound":
        """Check the inputs against what the model takes, and give them its order and types.

        Raises ServingError if all calls are wrong for one reason, which their common shape can be; calls whose values
        alone are wrong are returned as rejected. The group does not change: it may be bound to another model later.
        """


class BatchTask(ABC):
    """Calls bound to a model, with the same number of rows each."""

    __slots__ = ("calls", "rows", "rows_each")

    def __init__(self, calls: list[Call], rows_each: int) -> None:
        self.calls = calls
        self.rows_each = rows_each
        self.rows = rows_each * len(calls)
        """Rows of all calls together."""

    @property
    def protocol(self) -> str:
        """By which its calls came."""
        return self.calls[0].protocol

    @abstractmethod
    def keys(self) -> list[Hashable]:
        """One for each call; two are equal if and only if inputs and wanted outputs are equal, byte for byte."""

    @abstractmethod
    def key_bytes(self) -> int:
        """How much memory one call's key takes, its bytes without Python's own overhead."""

    @abstractmethod
    def arrays(self) -> Sequence[Array]:
        """Each of the model's inputs, the rows of all calls stacked in order: (rows, …)."""

    @abstractmethod
    def select(self, places: Sequence[int]) -> Self:
        """The same task with only the calls at these places."""

    @abstractmethod
    def encode(self, outputs: Sequence[Array]) -> list[bytes]:
        """Replies, one for each call, from all the model's outputs for this task's rows; without the calls' tails."""

    @abstractmethod
    def mark_cached(self, reply: bytes) -> bytes:
        """The reply as it goes to a caller for whom the model did not run."""


Rejection: TypeAlias = tuple[Sequence[Call], ServingError]
"""Calls that fail for the same reason, and the reason."""
Bound: TypeAlias = tuple[BatchTask | None, Sequence[Rejection]]
"""The calls of a group that the model can answer, None if it can answer none; and the others, which are not answered
yet."""


class Answerer(Protocol):
    """The engine, as transports see it."""

    def submit(self, groups: Iterable[RequestGroup]) -> None:
        """Answer these calls, now or later."""
