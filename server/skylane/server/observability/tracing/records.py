"""What is noted of calls that are recorded, and of batches with such calls.

Plain data, written on the way of a request and read by the thread that makes spans of it. Instants are seconds on the
engine's clock.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

from skylane.server.observability.tracing.context import Parent


class Ids(NamedTuple):
    """Which span of which trace."""

    trace_id: int
    span_id: int


class TracedHttp(NamedTuple):
    """A request over HTTP."""

    method: str
    path: str
    route: str
    """The path with names in braces for what changes."""
    scheme: str


@dataclass(slots=True, eq=False)
class TracedBatch:
    """One run, of which at least one call is recorded."""

    ids: Ids
    model: str
    version: int
    rows: int
    calls: int
    began_at: float
    """It left the queue."""
    gathered_at: float
    """Its arrays are there."""
    ran_at: float
    """Its outputs are there."""
    encoded_at: float
    """Its replies are there."""
    members: list[Ids] = field(default_factory=list)
    """Requests in it that are recorded."""

    @property
    def spans(self) -> int:
        """How many are made of it."""
        return 1


@dataclass(slots=True, eq=False)
class TracedRequest:
    """One call that is recorded, from its arrival to its answer."""

    ids: Ids
    parent: Parent | None
    rpc: str
    """Path of its gRPC method; nothing over HTTP."""
    began_at: float
    http: TracedHttp | None = None
    protocol: str = ""
    request_id: str = ""
    """As the log has it; nothing if the caller gave none."""
    model: str = ""
    version: int = 0
    """0 if none was found, or none was named and the call was refused before."""
    rows: int = 0
    bound_at: float = 0.0
    """It was decoded and fits the model; 0 if it never was."""
    batch: TracedBatch | None = None
    followed: Ids | None = None
    """The request whose run answered it as well, if that is recorded."""
    coalesced: bool = False
    """Whether the run of an equal request answered it."""
    refused: str = ""
    """Name of the error's class, if it was."""
    status: int = 0
    """gRPC's code, or of HTTP where that is how it came; 0 if there never was an answer."""
    ended_at: float = 0.0

    @property
    def spans(self) -> int:
        """How many are made of it."""
        return 1 + bool(self.bound_at) + (3 if self.batch else int(self.waited))

    @property
    def waited(self) -> bool:
        """Whether it waited for a run that never was its own."""
        return bool(self.bound_at and not self.batch and (self.coalesced or self.refused))
