"""The HTTP port: its sockets, uvicorn on them, and their end."""

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
"""What connections get to take the last bytes of their answers."""
CLOSE_LOOK_S: Final = 0.01


class Application(Protocol):
    """An ASGI application that knows how many requests are open."""

    @property
    def open(self) -> int:
        """Requests that have begun and whose answer is not yet with the connection."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""


class HttpListener:
    """Where HTTP callers connect. Bound when made, receiving from `start` on."""

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
        """Begin to receive."""
        config = self._server.config
        config.load()
        config.ssl = self._tls
        self._server.lifespan = config.lifespan_class(config)
        await self._server.startup(sockets=list(self._bound.sockets))

    @property
    def busy(self) -> bool:
        """Whether a request is open whose answer is not yet with its connection."""
        return self._application.open > 0

    @property
    def connections(self) -> int:
        """Open now."""
        return len(self._server.server_state.connections)

    def poll_certificates(self) -> None:
        """See whether there are other certificates now. Thread-safe."""
        if isinstance(self._tls, RotatingContext):
            self._tls.poll()

    def release(self) -> None:
        """Let the port go; for a server that never starts."""
        self._bound.close()

    async def close(self) -> None:
        """Close every connection; answers that are written already get a moment to leave.

        Requests still open learn that their caller has gone, and end: cancelled, uvicorn would log each as a fault.
        """
        state, loop = self._server.server_state, asyncio.get_running_loop()
        for server in self._server.servers:
            server.close()
        for connection in list(state.connections):
            connection.transport.close()
        ends_at = loop.time() + CLOSE_S_MAX
        while (state.connections or state.tasks) and loop.time() < ends_at:
            await asyncio.sleep(CLOSE_LOOK_S)
        for connection in list(state.connections):
            connection.transport.abort()


def _set_options(limits: Limits, listening: socket.socket) -> None:
    """Options of a socket that listens, which its connections inherit."""
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(limits.unread_s * 1000))
