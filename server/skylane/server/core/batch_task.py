"""Groups of calls whose inputs have the same shape, processed together from the socket to the reply.

Each protocol's codec implements `RequestGroup` (decoded) and `BatchTask` (checked against a model); the engine depends
only on these classes. So one engine serves several protocols, and work on the request path is done per group instead of
per request.
"""

from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterable, Sequence
from typing import Protocol, Self, TypeAlias

from skylane.server.core.errors import ServingError
from skylane.server.core.types import Array, Call, Interface, Route, Sink


class RequestGroup(ABC):
    """Decoded calls for one route, not yet checked against a model."""

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
    """Calls whose inputs match a model, with the same number of rows each."""

    __slots__ = ("calls", "rows", "rows_each")

    def __init__(self, calls: list[Call], rows_each: int) -> None:
        self.calls = calls
        self.rows_each = rows_each
        self.rows = rows_each * len(calls)
        """Rows of all calls together."""

    @property
    def protocol(self) -> str:
        """The protocol of its calls."""
        return self.calls[0].protocol

    @abstractmethod
    def keys(self) -> list[Hashable]:
        """One key per call. Two are equal if and only if inputs and requested outputs are equal, byte for byte."""

    @abstractmethod
    def key_bytes(self) -> int:
        """Memory of one call's key, without the overhead that `ENTRY_BYTES` of the cache covers."""

    @abstractmethod
    def arrays(self) -> Sequence[Array]:
        """Each of the model's inputs, the rows of all calls stacked in order: (rows, …)."""

    @abstractmethod
    def select(self, places: Sequence[int]) -> Self:
        """A task with only the calls at these indexes."""

    @abstractmethod
    def encode(self, outputs: Sequence[Array]) -> list[bytes]:
        """One reply per call, without its tail, from all of the model's outputs for this task's rows."""

    @abstractmethod
    def id_head(self, size: int) -> bytes | None:
        """What precedes a prediction id of `size` bytes that is appended to a reply; None if ids travel beside it."""

    @abstractmethod
    def mark_cached(self, reply: bytes) -> bytes:
        """The reply with the protocol's mark that it came from the cache."""


Rejection: TypeAlias = tuple[Sequence[Call], ServingError]
"""Calls that fail for the same reason, and the reason."""
Bound: TypeAlias = tuple[BatchTask | None, Sequence[Rejection]]
"""The calls of a group that the model can answer, None if it can answer none; and the others, which are not answered
yet."""


class Answerer(Protocol):
    """The engine's interface for the transports."""

    def submit(self, groups: Iterable[RequestGroup]) -> None:
        """Answer these calls, now or later."""
