"""What all connections of a reactor share."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from skylane.server.core.token_scope import Grant
from skylane.server.core.types import Sink
from skylane.server.grpc.base.method_table import CallEnded, TraceOf
from skylane.server.grpc.http2.call_buffer import CallBuffer
from skylane.server.grpc.http2.limits import Budget, Limits, Places
from skylane.server.grpc.http2.receiving_stream import StreamHandler
from skylane.server.grpc.http2.request_headers import RequestHeaders

if TYPE_CHECKING:
    from skylane.server.grpc.http2.connection import Connection

OpenStream = Callable[["Connection", int, RequestHeaders], StreamHandler]
"""(connection, stream, headers) → the handler of its messages."""


@dataclass(frozen=True)
class Services:
    """What all connections of a reactor share."""

    call_buffers: dict[str, CallBuffer]
    """Path of a batched method → its call buffer."""
    open_stream: OpenStream
    is_ours: Callable[[str], bool]
    """Whether the native transport itself answers this path."""
    grant_of: Callable[[str | None], Grant]
    """Value of an authorization field → what it allows; raises Unauthenticated."""
    sink: Sink
    limits: Limits
    budget: Budget
    trace_of: TraceOf | None = None
    ended: CallEnded | None = None
    """Called for requests that end without reaching a method handler or a stream."""
    is_open: Callable[[str], bool] = frozenset[str]().__contains__
    """Whether this path needs no token."""
    place_of: Callable[[str], Places | None] = dict[str, Places]().get
    """Path of a method that is not batched → where its calls take places; None if only `streams` limits them."""
