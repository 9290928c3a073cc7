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
from skylane.server.grpc.native.tls_connection import TlsConnection
from skylane.server.host.connection_limit import RefusedConnections

log = logging.getLogger(__name__)

ACCEPTED_MAX: Final = 64
"""Connections accepted in one turn, so that a rush of them does not hold up those who are here."""
_NONE_LEFT: Final = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class Acceptor:
    """The listening sockets of a front, which belong to the front's thread once it listens."""

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
        """Whether new connections are looked for: not while the process can open no more."""
        self._closed = False
        for each in listening:
            each.setblocking(False)

    def listen(self) -> None:
        """Look for new connections from now on, unless nobody is let in any more."""
        if self._closed:
            return
        self.accepts = True
        for each in self._listening:
            self._poller.register(each.fileno(), READ)

    def accept(self, open_links: int, now: float) -> list[SocketConnection]:
        """Those that have come; beyond the limit they are closed at once."""
        links: list[SocketConnection] = []
        for listening in self._listening:
            self._accept(listening, links, open_links, now)
        return links

    def _accept(self, listening: socket.socket, links: list[SocketConnection], open_links: int, now: float) -> None:
        for _ in range(ACCEPTED_MAX):
            try:
                sock, address = listening.accept()
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno in _NONE_LEFT:
                    log.warning("no connection can be accepted for now: %s", error.strerror)
                    self._look_away()
                break
            if open_links + len(links) >= self._connections_max:
                self.refused_connections.refuse(
                    now
                )  # before the peer can notice, so that who was refused finds itself counted
                sock.close()
                continue
            try:
                links.append(self._linked(sock, source_of(sock.family, address), now))
            except OSError as error:  # it has gone already, or its certificate cannot be read
                log.warning("a connection could not be set up: %s", error)
                sock.close()

    def close(self) -> None:
        """Let nobody in any more. Whom the kernel has accepted already it sends away."""
        self._look_away()
        self._closed = True
        for each in self._listening:
            each.close()

    def _look_away(self) -> None:
        if self.accepts:
            for each in self._listening:
                self._poller.unregister(each.fileno())
        self.accepts = False

    def _linked(self, sock: socket.socket, source: str, now: float) -> SocketConnection:
        if self._tls is None:
            link = SocketConnection(Connection(self._services), sock, self._services.limits, now)
        else:
            link = TlsConnection(Connection(self._services), sock, self._tls(), self._services.limits, now)
        link.source = source
        link.comes_from_offender = self.offenders.includes(source, now)
        return link
