"""The two ways to listen: our own front with grpcio behind it, or grpcio alone. Same services, same behaviour."""

import math
import os
import socket
import tempfile
from pathlib import Path
from typing import Protocol

import grpc

from skylane.server.auth.authenticator import Authenticator
from skylane.server.auth.tls import TlsFiles, files_of
from skylane.server.core.settings import Settings
from skylane.server.grpc.base.method_table import BatchedMethods, CallEnded, TraceOf
from skylane.server.grpc.http2.limits import Limits
from skylane.server.grpc.native.acceptor import BACKLOG
from skylane.server.grpc.native.grpcio_proxy import GrpcioProxy
from skylane.server.grpc.native.reactor import Reactor
from skylane.server.host.connection_limit import RefusedConnections
from skylane.server.host.ports import cannot_bind


class CannotListen(Exception):
    """The port or the transport is not to be had; the message says why and what to do."""


class Listener(Protocol):
    """Where callers connect. Bound when made, receiving from `start` on."""

    name: str
    port: int

    async def start(self) -> None:
        """Begin to receive."""

    @property
    def busy(self) -> bool:
        """Whether a reply is still on its way to a connection, as far as the transport can tell."""

    @property
    def connections(self) -> int | None:
        """Open now; None where the transport does not tell, nor bounds them."""

    @property
    def refused_connections(self) -> RefusedConnections | None:
        """Those that there was no room for; None where they are not bounded."""

    def drain(self) -> None:
        """Let nobody in any more, and streams answer what they have read, and end; ask clients to go elsewhere."""

    @property
    def heard(self) -> bool:
        """Whether all clients have heard that they should, as far as the transport can tell."""

    async def close(self) -> None:
        """Close every connection at once."""


def listen(
    settings: Settings,
    server: grpc.aio.Server,
    hot: BatchedMethods,
    authenticator: Authenticator,
    trace_of: TraceOf | None = None,
    ended: CallEnded | None = None,
) -> Listener:
    """Bind as the settings say; `server` has all methods already. Raises CannotListen or CannotStart.

    `trace_of`: None where nobody traces. `ended`: told by our own front of requests that no method has counted; of
    grpcio's, Permission tells.
    """
    address = f"{settings.host}:{settings.port}"
    tls = files_of(settings, "h2")
    try:
        if settings.transport == "grpcio":
            return GrpcioListener(server, address, tls)
        return FrontListener(server, settings, hot, authenticator, tls, trace_of, ended)
    except (OSError, RuntimeError) as error:
        raise CannotListen(cannot_bind(address, error)) from error


class GrpcioListener:
    """The asyncio grpcio server on the port itself."""

    name = "grpcio"

    def __init__(self, server: grpc.aio.Server, address: str, tls: TlsFiles | None = None) -> None:
        """Bind. Raises RuntimeError if the port cannot be bound."""
        self._server = server
        if tls is None:
            self.port = server.add_insecure_port(address)
        else:
            self.port = server.add_secure_port(address, _credentials(tls))

    async def start(self) -> None:
        """See Listener."""
        await self._server.start()

    @property
    def busy(self) -> bool:
        """See Listener. What grpcio has open, its services count themselves."""
        return False

    connections = refused_connections = None

    def drain(self) -> None:
        """See Listener. The services of grpcio end their streams themselves."""

    heard = True

    async def close(self) -> None:
        """See Listener."""
        await self._server.stop(None)


class FrontListener:
    """Our own front on the port, the grpcio server behind it on a Unix socket that only this user can reach."""

    name = "native"

    def __init__(
        self,
        server: grpc.aio.Server,
        settings: Settings,
        hot: BatchedMethods,
        authenticator: Authenticator,
        tls: TlsFiles | None = None,
        trace_of: TraceOf | None = None,
        ended: CallEnded | None = None,
    ) -> None:
        """Bind. Raises OSError if the port cannot be bound."""
        listening = bind(settings.host, settings.port, share_port=settings.supervised)
        self.port: int = listening.getsockname()[1]
        self._directory = _own_directory(settings.shared)
        target = f"unix:{Path(self._directory.name) / 'grpcio.sock'}"
        self._server = server
        self._server.add_insecure_port(target)
        self._tunnels = GrpcioProxy(target, lambda connection, job: self._reactor.change(connection, job))
        limits = Limits(
            message_bytes=settings.message_bytes_max,
            connections=settings.max_connections,
            streams=settings.max_streams,
            connection_age_s=settings.max_connection_age_s or math.inf,
        )
        self._reactor = Reactor(
            listening,
            hot.unary,
            self._tunnels.open,
            limits,
            streaming={path: (method.handler, method.wrap) for path, method in hot.streams.items()},
            grant_of=authenticator.grant,
            tls=None if tls is None else tls.newest,
            trace_of=trace_of,
            ended=ended,
        )

    async def start(self) -> None:
        """See Listener."""
        await self._server.start()
        self._reactor.start()

    @property
    def busy(self) -> bool:
        """See Listener."""
        return self._reactor.busy

    @property
    def connections(self) -> int:
        """See Listener."""
        return self._reactor.connections

    @property
    def refused_connections(self) -> RefusedConnections:
        """See Listener."""
        return self._reactor.refused_connections

    def drain(self) -> None:
        """See Listener."""
        self._reactor.drain()

    @property
    def heard(self) -> bool:
        """See Listener."""
        return self._reactor.heard

    async def close(self) -> None:
        """See Listener. The server behind goes first: its calls pass through the front."""
        await self._server.stop(None)
        await self._tunnels.close()
        self._reactor.close()
        self._directory.cleanup()


def _own_directory(shared: Path | None) -> "tempfile.TemporaryDirectory[str]":
    """For the socket behind. A worker's is named after it, so that the supervisor can clear it if it is killed."""
    if shared is None:
        return tempfile.TemporaryDirectory(prefix="skylane-")
    return tempfile.TemporaryDirectory(prefix=f"{os.getpid()}-", dir=shared, ignore_cleanup_errors=True)


def bind(host: str, port: int, *, share_port: bool) -> socket.socket:
    """A socket that listens. With `share_port` other processes of this user may bind it as well. Raises OSError."""
    family, *_, address = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    return socket.create_server(address[:2], family=family, backlog=BACKLOG, reuse_port=share_port)


def _credentials(tls: TlsFiles) -> grpc.ServerCredentials:
    """The same files for grpcio, which asks before each handshake whether there are newer ones."""
    used = tls.newest()

    def configuration() -> grpc.ServerCertificateConfiguration:
        key, cert, client_ca = tls.contents()
        return grpc.ssl_server_certificate_configuration([(key, cert)], client_ca)

    def newer() -> grpc.ServerCertificateConfiguration | None:
        nonlocal used
        if tls.newest() is used:
            return None
        used = tls.newest()
        return configuration()

    # The stubs do not know that None means: as before.
    return grpc.dynamic_ssl_server_credentials(configuration(), newer, tls.asks_clients)  # type: ignore[arg-type]
