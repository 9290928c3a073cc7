"""One connection: uvicorn's HTTP/1.1 with limits that it lacks.

In uvicorn 0.54 with httptools, header sections, trailers and chunk extensions have no size limit, a connection that
never sends a whole request stays open for ever, connections are not counted before their first request, and a request
that offers an upgrade, such as the first one of Java's client, loses its body and blocks the connection.
"""

import asyncio
import time
from dataclasses import dataclass
from typing import Any, Final

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from skylane.server.core import request_ids
from skylane.server.host.connection_limit import RefusedConnections
from skylane.server.http.error_responses import error_body
from skylane.server.http.seats import Seats
from skylane.server.observability.http_request_log import HttpRequestListener, HttpRequestRecord

HEALTH: Final = frozenset({"/healthz", "/readyz", "/v2/health/live", "/v2/health/ready"})
"""Paths of probes, which are answered for every host name and beyond the connection limit."""
RESERVED: Final = "skylane.reserved"
"""Key of a scope: the connection is one of those reserved for health checks."""
RESERVED_REQUEST_S: Final = 5.0
"""Seconds within which a request on such a connection must have arrived whole."""

FRAMING_BYTES_EACH: Final = 16
"""Bytes of framing allowed per byte of a body: chunks of one byte need six."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Limits of one connection, and of all together."""

    head_bytes: int = 64 * 2**10
    """Of the request line and header fields; trailers and the framing of chunks count too. Beyond it: 431."""
    connections: int = 1000
    """Beyond it, idle connections are closed, see http/seats.py."""
    request_s: float = 60.0
    """Seconds within which a request must have arrived whole; else the connection is closed."""
    idle_s: int = 75
    """Seconds that a connection may be idle between two requests; then it is closed."""
    unread_s: float = 60.0
    """Seconds for which a peer may read nothing of a response; then it is disconnected, if the system supports that."""


class BoundedProtocol(HttpToolsProtocol):
    """One connection."""

    def __init__(
        self,
        *args: Any,
        limits: Limits,
        refused_connections: RefusedConnections,
        seats: "Seats[BoundedProtocol]",
        http_requests: HttpRequestListener | None = None,
        **kwargs: Any,
    ) -> None:
        """`refused_connections` counts connections beyond the limit. `http_requests` is notified of requests
        that do not reach the application.
        """
        super().__init__(*args, **kwargs)
        self._http_requests, self._seats = http_requests, seats
        self._reserved = False
        self._limits, self._refused_connections = limits, refused_connections
        self._begun = 0
        """Requests that have begun on this connection."""
        self._framing_bytes = 0
        """Of the request that is arriving: bytes after the read in which it began, except its body."""
        self._body_bytes = 0
        self._receiving: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a seat, possibly that of another connection."""
        super().connection_made(transport)
        seat = self._seats.enter(self)
        self._reserved = seat.reserved
        if seat.closed is not None:
            seat.closed.transport.abort()
        if seat.refused:
            self._refused_connections.refuse(time.monotonic())
        self._await_whole_request()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget_timer()
        self._seats.leave(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse, and count what is neither body nor the next request against the limit."""
        self._unset_keepalive_if_required()
        if self._receiving is None:
            self._await_whole_request()
        while data and not self.transport.is_closing():
            data = self._feed(data)

    def _feed(self, data: bytes) -> bytes:
        """Parse a part of the data. Returns what is to be parsed next."""
        begun, body_bytes = self._begun, self._body_bytes
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            return self._without_upgrade(data[upgrade.args[0] :])
        except httptools.HttpParserError:
            self._refuse(400, "this is not HTTP/1.1")
            return b""
        if self._receiving is not None and self._begun == begun:
            self._framing_bytes += len(data) - (self._body_bytes - body_bytes)
            if self._framing_bytes > self._limits.head_bytes + FRAMING_BYTES_EACH * self._body_bytes:
                self._refuse(431, f"the head of a request may have {self._limits.head_bytes} bytes")
        return b""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._seats.mark_busy(self)
        if self._reserved:
            self.scope[RESERVED] = True  # type: ignore[typeddict-unknown-key]
        if self._receiving is None:  # it arrived in one read with the end of another
            self._await_whole_request()
        self._begun += 1
        self._framing_bytes = self._body_bytes = 0

    def on_headers_complete(self) -> None:
        """See httptools. An offer to upgrade is declined here."""
        if self.parser.should_upgrade():
            return
        super().on_headers_complete()
        if self._reserved and self.scope["path"] not in HEALTH:
            self._refused_connections.refuse(time.monotonic())

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        if self.parser.should_upgrade():
            return
        super().on_message_complete()
        self._forget_timer()
        self._mark_idle_if_done()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._mark_idle_if_done()

    def _mark_idle_if_done(self) -> None:
        """Mark the connection as idle, unless the peer has not read its response."""
        if self.cycle.response_complete and self._receiving is None and not self.transport.get_write_buffer_size():
            self._seats.mark_idle(self)

    def _without_upgrade(self, rest: bytes) -> bytes:
        """Parse the request again without the offer, for which the parser would treat the body as another protocol."""
        method = self.parser.get_method()
        if method == b"CONNECT":
            self._refuse(405, "this is no proxy")
            return b""
        kept = [field for field in self.headers if field[0] not in (b"upgrade", b"http2-settings")]
        head = b"".join(b"%s: %s\r\n" % field for field in kept)
        self.parser = httptools.HttpRequestParser(self)
        return b"%s %s HTTP/1.1\r\n%s\r\n%s" % (method, self.url, head, rest)

    def _await_whole_request(self) -> None:
        limit_s = min(self._limits.request_s, RESERVED_REQUEST_S) if self._reserved else self._limits.request_s
        self._receiving = self.loop.call_later(limit_s, self.transport.abort)

    def _forget_timer(self) -> None:
        if self._receiving is not None:
            self._receiving.cancel()
            self._receiving = None

    def _refuse(self, status: int, why: str) -> None:
        """Respond as the application would, and close: what follows cannot be parsed."""
        if self.transport.is_closing():
            return
        http_request = HttpRequestRecord(request_ids.new_id(), time.monotonic())
        content, request_id = error_body(why, http_request.request_id), http_request.request_id.encode()
        self.transport.write(
            b"HTTP/1.1 %d \r\ncontent-type: application/json\r\ncontent-length: %d\r\n%s: %s\r\n"
            b"x-content-type-options: nosniff\r\nconnection: close\r\n\r\n%s"
            % (status, len(content), request_ids.FIELD.encode(), request_id, content)
        )
        self.transport.close()
        if self._http_requests is not None:
            self._http_requests.left(http_request, status, {})
