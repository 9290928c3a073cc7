"""What a reactor serves, and under which conditions."""

import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from skylane.server.core.token_scope import ANYONE, Grant
from skylane.server.grpc.base.method_table import BatchedMethod, CallEnded, TraceOf
from skylane.server.grpc.http2.call_streams import Wrap
from skylane.server.grpc.http2.health import Health
from skylane.server.grpc.http2.limits import Limits
from skylane.server.grpc.http2.services import OpenStream


def _anyone(_: str | None) -> Grant:
    return ANYONE


@dataclass(frozen=True, kw_only=True)
class ReactorConfig:
    """The methods of a reactor, and what holds for their calls."""

    method_handlers: Mapping[str, BatchedMethod]
    """Path of a batched method → what answers its calls."""
    open_stream: OpenStream
    """Opens the calls of every path that is not named here."""
    limits: Limits
    streaming: Mapping[str, tuple[BatchedMethod, Wrap]] = field(default_factory=dict)
    """Path of a method whose messages are calls → what answers them, and how an answer is wrapped."""
    grant_of: Callable[[str | None], Grant] = _anyone
    """Value of an authorization field → what it allows; raises Unauthenticated."""
    clock: Callable[[], float] = time.monotonic
    tls: Callable[[], ssl.SSLContext] | None = None
    """The context for a new connection; None without TLS."""
    trace_of: TraceOf | None = None
    """None where tracing is not configured."""
    ended: CallEnded | None = None
    """Called for requests that reach no method handler."""
    is_open: Callable[[str], bool] = frozenset[str]().__contains__
    """Whether a path needs no token."""
    tokens_required: bool = False
    """Whether the other paths need one."""
    health: Health | None = None
    """What calls are shown that watch the server's health; None where they are opened like all others."""
