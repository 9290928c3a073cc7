"""The HTTP port: binds its sockets, runs uvicorn on them, and closes them."""

import asyncio
import socket
import ssl
from functools import partial
from typing import Final, Protocol, cast

import uvicorn
from starlette.types import Receive, Scope, Send

from skylane.server.auth.tls import RotatingContext
from skylane.server.core.hosts import Hosts
from skylane.server.host.addresses import BACKLOG, bind
from skylane.server.host.connection_limit import RefusedConnections
from skylane.server.http.bounded_protocol import BoundedProtocol, Limits
from skylane.server.http.seats import Seats
from skylane.server.observability.http_request_log import HttpRequestListener

LIMITS: Final = Limits()
CLOSE_S_MAX: Final = 1.0
"""How long connections have to read the last bytes of their responses."""
CLOSE_POLL_S: Final = 0.01


class Application(Protocol):
    """An ASGI application that knows how many requests are open."""

    @property
    def open(self) -> int:
        """Requests that have begun and whose response has not been handed to the connection."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""


class HttpListener:
    """The HTTP port. Bound when created, receiving from `start` on."""

    def __init__(
        self,
        application: Application,
        hosts: Hosts,
        port: int,
        *,
        share_port: bool = False,
        tls: ssl.SSLContext | None = None,
        limits: Limits = LIMITS,
        http_requests: HttpRequestListener | None = None,
    ) -> None:
        """Bind. With `share_port` other processes of this user may bind the port as well. Raises OSError.

        `http_requests` hears of requests that the application never sees.
        """
        self._application = application
        self.refused_connections = RefusedConnections(
            "http", limits.connections, "--workers adds processes with as much room each"
        )
        self._bound = bind(hosts, port, share_port=share_port, prepare=partial(_set_options, limits))
        self.port = self._bound.port
        self.scheme = "http" if tls is None else "https"
        self._tls = tls
        protocol = partial(
            BoundedProtocol,
            limits=limits,
            refused_connections=self.refused_connections,
            seats=Seats(limits.connections),
            http_requests=http_requests,
        )
        self._server = uvicorn.Server(
            uvicorn.Config(
                application,
                http=cast(type[asyncio.Protocol], protocol),
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                date_header=False,
                backlog=BACKLOG,
                timeout_keep_alive=limits.idle_s,
            )
        )

    async def start(self) -> None:
        """Receive requests."""
        config = self._server.config
        config.load()
        config.ssl = self._tls
        self._server.lifespan = config.lifespan_class(config)
        await self._server.startup(sockets=list(self._bound.sockets))

    @property
    def busy(self) -> bool:
        """Whether a request is open whose response has not been handed to its connection."""
        return self._application.open > 0

    @property
    def connections(self) -> int:
        """Open now."""
        return len(self._server.server_state.connections)

    def poll_certificates(self) -> None:
        """Read the certificates again if they have changed. Thread-safe."""
        if isinstance(self._tls, RotatingContext):
            self._tls.poll()

    def release(self) -> None:
        """Release the port of a server that never starts."""
        self._bound.close()

    async def close(self) -> None:
        """Close every connection; responses that are written already have CLOSE_S_MAX to be read.

        Requests still open learn that their caller has gone, and end: cancelled, uvicorn would log each as a fault.
        """
        state, loop = self._server.server_state, asyncio.get_running_loop()
        for server in self._server.servers:
            server.close()
        for connection in list(state.connections):
            connection.transport.close()
        ends_at = loop.time() + CLOSE_S_MAX
        while (state.connections or state.tasks) and loop.time() < ends_at:
            await asyncio.sleep(CLOSE_POLL_S)
        for connection in list(state.connections):
            connection.transport.abort()


def _set_options(limits: Limits, listening: socket.socket) -> None:
    """Options of a listening socket, which its connections inherit."""
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(limits.unread_s * 1000))
