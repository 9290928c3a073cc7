"""New connections: accepted a few at a time, bounded, each with its TLS if there is any."""

import errno
import logging
import socket
import ssl
from collections.abc import Callable, Sequence
from typing import Final

from skylane.server.grpc.http2.connection import Connection
from skylane.server.grpc.http2.services import Services
from skylane.server.grpc.native.poller import READ, Poller
from skylane.server.grpc.native.socket_connection import SocketConnection
from skylane.server.grpc.native.throttle import Offenders, source_of
from skylane.server.host.connection_limit import RefusedConnections

log = logging.getLogger(__name__)

ACCEPTED_MAX: Final = 64
"""Connections accepted in one turn, so that many at once do not delay the open ones."""
_NONE_LEFT: Final = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class Acceptor:
    """The listening sockets of a reactor. Belongs to its thread once it listens."""

    def __init__(
        self,
        listening: Sequence[socket.socket],
        services: Services,
        tls: Callable[[], ssl.SSLContext] | None,
        poller: Poller,
    ) -> None:
        """The sockets are bound. `tls` gives the context for a new connection."""
        self._listening, self._services, self._tls, self._poller = listening, services, tls, poller
        self._connections_max = services.limits.connections
        self.refused_connections = RefusedConnections(
            "grpc", self._connections_max, "--max-connections allows more, for each process"
        )
        self.offenders = Offenders()
        self.accepts = False
        """Whether new connections are accepted: not while the process has no file descriptors left."""
        self._closed = False
        for each in listening:
            each.setblocking(False)

    def listen(self) -> None:
        """Accept connections from now on, unless it is closed."""
        if self._closed:
            return
        self.accepts = True
        for each in self._listening:
            self._poller.register(each.fileno(), READ)

    def accept(self, open_connections: int, now: float) -> list[SocketConnection]:
        """Accept new connections; those beyond the limit are closed at once."""
        accepted: list[SocketConnection] = []
        for listening in self._listening:
            self._accept(listening, accepted, open_connections, now)
        return accepted

    def _accept(
        self, listening: socket.socket, accepted: list[SocketConnection], open_connections: int, now: float
    ) -> None:
        for _ in range(ACCEPTED_MAX):
            try:
                sock, address = listening.accept()
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno in _NONE_LEFT:
                    log.warning("no connection can be accepted for now: %s", error.strerror)
                    self._stop_listening()
                break
            if open_connections + len(accepted) >= self._connections_max:
                self.refused_connections.refuse(now)  # before the close, so that the peer sees itself counted
                sock.close()
                continue
            try:
                accepted.append(self._connection(sock, source_of(sock.family, address), now))
            except OSError as error:  # the peer has gone, or the certificate cannot be read
                log.warning("a connection could not be set up: %s", error)
                sock.close()

    def close(self) -> None:
        """Accept no more connections. The kernel closes those that it has accepted and nobody has taken."""
        self._stop_listening()
        self._closed = True
        for each in self._listening:
            each.close()

    def _stop_listening(self) -> None:
        if self.accepts:
            for each in self._listening:
                self._poller.unregister(each.fileno())
        self.accepts = False

    def _connection(self, sock: socket.socket, source: str, now: float) -> SocketConnection:
        context = None if self._tls is None else self._tls()
        connection = SocketConnection(Connection(self._services), sock, self._services.limits, now, context)
        connection.source = source
        connection.comes_from_offender = self.offenders.includes(source, now)
        return connection
