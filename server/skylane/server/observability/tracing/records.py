"""Records of sampled calls, and of batches with such calls.

Plain data, written on the request path and read by the thread that makes spans. Instants are seconds on the
engine's clock.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

from skylane.server.observability.tracing.context import Parent


class Ids(NamedTuple):
    """The ids of a span."""

    trace_id: int
    span_id: int


class TracedHttp(NamedTuple):
    """A request over HTTP."""

    method: str
    path: str
    route: str
    """The path with its parameters in braces."""
    scheme: str


@dataclass(slots=True, eq=False)
class TracedBatch:
    """One batch with at least one sampled call."""

    ids: Ids
    model: str
    version: int
    rows: int
    calls: int
    began_at: float
    """When it left the queue."""
    gathered_at: float
    """When its arrays were assembled."""
    ran_at: float
    """When its outputs were computed."""
    encoded_at: float
    """When its replies were encoded."""
    members: list[Ids] = field(default_factory=list)
    """Sampled requests in it."""

    @property
    def spans(self) -> int:
        """How many spans are made of it."""
        return 1


@dataclass(slots=True, eq=False)
class TracedRequest:
    """One sampled call, from its arrival to its reply."""

    ids: Ids
    parent: Parent | None
    rpc: str
    """Path of its gRPC method; empty over HTTP."""
    began_at: float
    http: TracedHttp | None = None
    protocol: str = ""
    request_id: str = ""
    """As in the log; empty if the caller sent none."""
    model: str = ""
    version: int = 0
    """0 if there is none, or if none was named and the call was refused before one was chosen."""
    rows: int = 0
    bound_at: float = 0.0
    """When it was decoded and bound to the model; 0 if it was not."""
    batch: TracedBatch | None = None
    followed: Ids | None = None
    """The sampled request whose run answered this one too, if any."""
    coalesced: bool = False
    """Whether the run of an equal request answered it."""
    refused: str = ""
    """Name of the error's class, if it was refused."""
    status: int = 0
    """Status code of gRPC or, for a request over HTTP, of HTTP; 0 if there was no response."""
    ended_at: float = 0.0

    @property
    def spans(self) -> int:
        """How many spans are made of it."""
        return 1 + bool(self.bound_at) + (3 if self.batch else int(self.waited))

    @property
    def waited(self) -> bool:
        """Whether it waited in the queue without a batch of its own."""
        return bool(self.bound_at and not self.batch and (self.coalesced or self.refused))
