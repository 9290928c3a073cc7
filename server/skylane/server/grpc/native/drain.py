"""Drains a reactor: it accepts no more connections, and asks clients to connect elsewhere."""

from skylane.server.grpc.native.acceptor import Acceptor
from skylane.server.grpc.native.call_router import CallRouter
from skylane.server.grpc.native.open_connections import OpenConnections


class Drain:
    """Begins once; `heard` says whether the clients know."""

    def __init__(self, acceptor: Acceptor, connections: OpenConnections, router: CallRouter) -> None:
        self._acceptor, self._connections, self._router = acceptor, connections, router
        self._has_begun = False

    def begin(self, now: float) -> None:
        """Accept no more connections, end all streams of calls, and ask clients to begin nothing new. On the reactor's
        thread."""
        self._connections.accept(now)  # connections in the backlog are served, and asked too
        self._acceptor.close()
        self._router.drain()
        self._connections.announce_end()
        self._has_begun = True

    @property
    def heard(self) -> bool:
        """Whether all clients have confirmed that they begin nothing new. Those that have vanished never do. From any
        thread."""
        return self._has_begun and all(each.connection.ends for each in self._connections.all())
