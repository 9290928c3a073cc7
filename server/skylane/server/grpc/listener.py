"""The two transports of the gRPC port: native with grpcio behind it, or grpcio alone. Same services and behaviour."""

import math
import os
import secrets
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

import grpc

from skylane.server.auth.authenticator import Authenticator
from skylane.server.auth.tls import TlsFiles, files_of
from skylane.server.core.hosts import UNIX, Hosts, internet, unix_paths
from skylane.server.core.settings import Settings
from skylane.server.grpc.base.method_table import BatchedMethods, CallEnded, TraceOf
from skylane.server.grpc.grpcio.auth_interceptor import PROXY_KEY, is_open
from skylane.server.grpc.http2.direct_methods import DirectHandler, DirectMethods
from skylane.server.grpc.http2.health import Health
from skylane.server.grpc.http2.limits import Limits
from skylane.server.grpc.native.config import ReactorConfig
from skylane.server.grpc.native.grpcio_proxy import GrpcioProxy
from skylane.server.grpc.native.reactor import Reactor
from skylane.server.host.addresses import all_shown, bind, claim, resolved, restrict
from skylane.server.host.connection_limit import RefusedConnections
from skylane.server.host.ports import cannot_bind


class CannotListen(Exception):
    """The port cannot be bound; the message says why and what to do."""


class Listener(Protocol):
    """The gRPC port. Bound when created, receiving from `start` on."""

    name: str
    port: int

    async def start(self) -> None:
        """Receive requests."""

    @property
    def busy(self) -> bool:
        """Whether a reply has not been handed to the kernel yet, as far as the transport knows."""

    @property
    def connections(self) -> int | None:
        """Number of open connections; None if the transport neither counts nor limits them."""

    @property
    def refused_connections(self) -> RefusedConnections | None:
        """Connections beyond the limit; None if there is no limit."""

    def if_alive(self, then: Callable[[], None]) -> None:
        """Call this soon on the thread that answers requests; never if it hangs. From the event loop."""

    def poll_certificates(self) -> None:
        """Read the certificates again if they have changed. Thread-safe."""

    def drain(self) -> None:
        """Accept no more connections, end streams after what they have read, and ask clients to connect elsewhere."""

    @property
    def heard(self) -> bool:
        """Whether all clients have read that they should connect elsewhere, as far as the transport knows."""

    async def close(self) -> None:
        """Close every connection at once."""


def listen(
    settings: Settings,
    server: grpc.aio.Server,
    methods: BatchedMethods,
    authenticator: Authenticator,
    secret: str,
    trace_of: TraceOf | None = None,
    ended: CallEnded | None = None,
    direct: DirectMethods = MappingProxyType({}),
    health: Health | None = None,
) -> Listener:
    """Bind as the settings say; `server` has all methods already. Raises CannotListen or CannotStart.

    `secret`: see AuthInterceptor. `trace_of`: None if tracing is not configured. `ended` is called by the native
    transport for requests that no method has counted; on the grpcio transport AuthInterceptor calls it. `direct` and
    `health`: what the native transport answers itself, in addition to the batched methods.
    """
    address = all_shown(settings.host, settings.port)
    tls = files_of(settings, "h2")
    try:
        if settings.transport == "grpcio":
            return GrpcioListener(server, settings, tls)
        return NativeListener(server, settings, methods, authenticator, secret, tls, trace_of, ended, direct, health)
    except (OSError, RuntimeError) as error:
        raise CannotListen(cannot_bind(address, error)) from error


class GrpcioListener:
    """The asyncio grpcio server on the port itself."""

    name = "grpcio"

    def __init__(self, server: grpc.aio.Server, settings: Settings, tls: TlsFiles | None = None) -> None:
        """Bind. Raises OSError or RuntimeError if an address cannot be bound."""
        self._server, self._tls = server, tls
        self.port = settings.port if internet(settings.host) else 0
        for address in _for_grpcio(settings.host):
            target = address if address.startswith(UNIX) else f"{address}:{self.port}"
            added = (
                server.add_insecure_port(target) if tls is None else server.add_secure_port(target, _credentials(tls))
            )
            if address.startswith(UNIX):
                restrict(address.removeprefix(UNIX))
            else:
                self.port = added

    async def start(self) -> None:
        await self._server.start()

    @property
    def busy(self) -> bool:
        """See Listener. grpcio's services count their open calls themselves."""
        return False

    connections = refused_connections = None

    def if_alive(self, then: Callable[[], None]) -> None:
        """See Listener. It answers on the event loop."""
        then()

    def poll_certificates(self) -> None:
        if self._tls is not None:
            self._tls.poll()

    def drain(self) -> None:
        """See Listener. The services of grpcio end their streams themselves."""

    heard = True

    async def close(self) -> None:
        await self._server.stop(None)


class NativeListener:
    """The reactor on the port, the grpcio server behind it on a Unix domain socket.

    On Linux that socket has an abstract name, which needs no directory: the whole file system may be read-only. No
    permissions protect such a name, so calls carry a secret of this process. Elsewhere it is a file in a directory that
    only this user can read.
    """

    name = "native"

    def __init__(
        self,
        server: grpc.aio.Server,
        settings: Settings,
        methods: BatchedMethods,
        authenticator: Authenticator,
        secret: str,
        tls: TlsFiles | None = None,
        trace_of: TraceOf | None = None,
        ended: CallEnded | None = None,
        direct: DirectMethods = MappingProxyType({}),
        health: Health | None = None,
    ) -> None:
        """Bind. Raises OSError if the port cannot be bound. `secret`: see AuthInterceptor."""
        self._bound = bind(settings.host, settings.port, share_port=settings.supervised, inherited=settings.inherited)
        self.port = self._bound.port
        self._tls = tls
        self._directory = None if sys.platform == "linux" else _own_directory(settings.shared)
        if self._directory is None:
            target = f"unix-abstract:skylane-{os.getpid()}-{secrets.token_hex(16)}"
        else:
            target = f"unix:{Path(self._directory.name) / 'grpcio.sock'}"
        self._server = server
        self._server.add_insecure_port(target)
        self._proxy = GrpcioProxy(
            target, lambda connection, job: self._reactor.change(connection, job), ((PROXY_KEY, secret),)
        )
        limits = Limits(
            message_bytes=settings.message_bytes_max,
            connections=settings.max_connections,
            streams=settings.max_streams,
            connection_age_s=settings.max_connection_age_s or math.inf,
        )
        unary = {**methods.unary, **{path: DirectHandler(path, answer, ended) for path, answer in direct.items()}}
        config = ReactorConfig(
            method_handlers=unary,
            open_stream=self._proxy.open,
            limits=limits,
            streaming={path: (method.handler, method.wrap) for path, method in methods.streams.items()},
            grant_of=authenticator.grant,
            tls=None if tls is None else tls.newest,
            trace_of=trace_of,
            ended=ended,
            is_open=is_open,
            tokens_required=authenticator.required,
            health=health,
        )
        self._reactor = Reactor(self._bound.sockets, config)

    async def start(self) -> None:
        await self._server.start()
        self._reactor.start()

    @property
    def busy(self) -> bool:
        return self._reactor.busy

    @property
    def connections(self) -> int:
        return self._reactor.connections

    @property
    def refused_connections(self) -> RefusedConnections:
        return self._reactor.refused_connections

    def if_alive(self, then: Callable[[], None]) -> None:
        self._reactor.post(then)

    def poll_certificates(self) -> None:
        if self._tls is not None:
            self._tls.poll()

    def drain(self) -> None:
        self._reactor.drain()

    @property
    def heard(self) -> bool:
        return self._reactor.heard

    async def close(self) -> None:
        """See Listener. The grpcio server is stopped first: its replies pass through the reactor."""
        await self._server.stop(None)
        await self._proxy.close()
        self._reactor.close()
        self._bound.remove_files()
        if self._directory is not None:
            self._directory.cleanup()


def _own_directory(shared: Path | None) -> "tempfile.TemporaryDirectory[str]":
    """A directory for the Unix socket. A worker's has its pid, so that the supervisor can remove it if it is killed."""
    if shared is None:
        return tempfile.TemporaryDirectory(prefix="skylane-")
    return tempfile.TemporaryDirectory(prefix=f"{os.getpid()}-", dir=shared, ignore_cleanup_errors=True)


def _for_grpcio(hosts: Hosts) -> Iterator[str]:
    """The addresses in grpcio's format, without a port. Raises CannotBind.

    Its `[::]` includes every IPv4 address, so 0.0.0.0 with it would be bound twice.
    """
    addresses = dict.fromkeys(each.host for host in internet(hosts) for each in resolved(host))
    if "::" in addresses:
        addresses.pop("0.0.0.0", None)
    yield from (f"[{address}]" if ":" in address else address for address in addresses)
    for path in unix_paths(hosts):
        claim(path)  # grpcio would replace the file of a running server
        yield UNIX + path


def _credentials(tls: TlsFiles) -> grpc.ServerCredentials:
    """The same files for grpcio, which asks for newer ones before each handshake."""
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
