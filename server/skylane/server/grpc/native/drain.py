"""The end of a reactor's service: nobody is let in, and those who are here are asked to go elsewhere."""

from skylane.server.grpc.native.acceptor import Acceptor
from skylane.server.grpc.native.call_router import CallRouter
from skylane.server.grpc.native.open_connections import OpenConnections


class Drain:
    """Begun once; then `heard` says how far it is."""

    def __init__(self, acceptor: Acceptor, connections: OpenConnections, router: CallRouter) -> None:
        self._acceptor, self._connections, self._router = acceptor, connections, router
        self._has_begun = False

    def begin(self, now: float) -> None:
        """Accept nobody any more, end all streams of calls, and ask clients to begin nothing new. On the reactor's
        thread."""
        self._connections.accept(now)  # who has connected already is served, and is asked as well
        self._acceptor.close()
        self._router.drain()
        self._connections.announce_end()
        self._has_begun = True

    @property
    def heard(self) -> bool:
        """Whether all clients have answered that they begin nothing new. Those that vanish never do. From any
        thread."""
        return self._has_begun and all(each.connection.ends for each in self._connections.all())
