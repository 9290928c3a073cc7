"""The open connections of a reactor: reading, writing, the events to wait for, and checks of peers that could stall."""

import logging
import math
from collections.abc import Callable
from typing import Final

from skylane.server.grpc.http2.connection import Connection
from skylane.server.grpc.native.acceptor import Acceptor
from skylane.server.grpc.native.peer_socket import READ_BYTES, ConnectionClosed
from skylane.server.grpc.native.poller import READ, WRITE, Poller
from skylane.server.grpc.native.socket_connection import READ_BYTES_MIN, PeerAtFault, SocketConnection
from skylane.server.grpc.native.throttle import Throttle

log = logging.getLogger(__name__)

CHECK_S: Final = 1.0
"""How often peers that could stall are checked."""


class OpenConnections:
    """Those that were accepted and are not closed. Belongs to the reactor's thread, but for `all` and `len`."""

    def __init__(
        self,
        acceptor: Acceptor,
        poller: Poller,
        touched: set[Connection],
        clock: Callable[[], float],
        *,
        tokens_required: bool,
    ) -> None:
        """`touched`: those with something to write, which is written by `flush`. `tokens_required`: whether streams
        must be checked for tokens that were withdrawn."""
        self._acceptor, self._poller, self._touched = acceptor, poller, touched
        self._clock, self._tokens_required = clock, tokens_required
        self._by_fd: dict[int, SocketConnection] = {}
        self._by_connection: dict[Connection, SocketConnection] = {}
        self.check_at = math.inf
        """When peers are checked that could stall; never, if none could."""
        self._read_bytes = READ_BYTES
        self._throttle = Throttle()
        self._paused: dict[SocketConnection, None] = {}
        """Throttled ones that are not read for now, those that wait longest first."""

    def __len__(self) -> int:
        """How many are open."""
        return len(self._by_fd)

    def all(self) -> list[SocketConnection]:
        """Those that are open now. From any thread."""
        return list(self._by_fd.values())

    def accept(self, now: float) -> None:
        """Accept new connections."""
        for each in self._acceptor.accept(len(self._by_fd), now):
            self._by_fd[each.fd] = self._by_connection[each.connection] = each
            self._poller.register(each.fd, READ)
            self._check_by(now + CHECK_S)  # it might send nothing
        if not self._acceptor.accepts:  # until all connections are checked
            self._check_by(now + CHECK_S)

    def share_out(self, count: int) -> None:
        """Let so many that have something share what is read before all are answered."""
        self._read_bytes = max(READ_BYTES // max(count, 1), READ_BYTES_MIN)

    def handle(self, fd: int, event: int, now: float) -> bool:
        """Handle an event of one connection; False if the descriptor is not of a connection."""
        each = self._by_fd.get(fd)
        if each is None:
            return False
        if event & WRITE:
            self._touched.add(each.connection)
            if event == WRITE and not each.reads_when_writable:
                return True
        if each.is_throttled:
            self._receive_throttled(each)
        else:
            self._receive(each, now)
        return True

    def _receive_throttled(self, each: SocketConnection) -> None:
        """Read it if there is time for it, else pause it."""
        began_at = self._clock()
        if self._throttle.is_open(began_at):
            self._receive(each, began_at)
            self._throttle.spend(self._clock() - began_at)
            return
        each.is_paused = True
        self._paused[each] = None
        self._poll_for(each)

    def _receive(self, each: SocketConnection, now: float) -> None:
        try:
            each.receive(now, self._read_bytes)
        except PeerAtFault:
            self._acceptor.offenders.add(each.source, now)
            self._end(each)
        except ConnectionClosed:
            self._end(each)
        except Exception:  # a bug ends this connection only
            log.exception("a connection failed with an internal error")
            self._end(each)
        else:
            if each.connection.send_buffer.frames:
                self._touched.add(each.connection)
            if each.may_stall:
                self._poll_for(each)
                self._check_by(now + CHECK_S)

    @property
    def resume_at(self) -> float:
        """When paused ones are read again."""
        return self._throttle.opens_at if self._paused else math.inf

    def resume(self) -> None:
        """Read those again that were paused."""
        paused, self._paused = self._paused, {}
        for each in paused:
            each.is_paused = False
            self._poll_for(each)

    def flush(self, now: float) -> None:
        """Write what the touched connections have ready."""
        touched = list(self._touched)
        self._touched.clear()
        for connection in touched:
            if (each := self._by_connection.get(connection)) is not None:
                self._flush(each, now)

    def check(self, now: float) -> None:
        """End connections that stall or are too old, and streams whose token was withdrawn; accept again."""
        for each in self.all():
            if each.stalled(now):
                self._end(each)
                continue
            if self._tokens_required:
                each.connection.streams.end_revoked()
                self._touched.add(each.connection)
            if now >= each.expires_at:
                self._expire(each, now)
        if not self._acceptor.accepts:
            self._acceptor.listen()
        if any(each.may_stall for each in self._by_fd.values()):
            self.check_at = now + CHECK_S
        else:
            expires_at = min((each.expires_at for each in self._by_fd.values()), default=math.inf)
            self.check_at = max(now + CHECK_S, expires_at)

    def announce_end(self) -> None:
        """Ask all peers to begin nothing new."""
        for each in self._by_fd.values():
            each.connection.announce_end()
            self._touched.add(each.connection)

    def close(self, now: float) -> None:
        """Say goodbye to all peers, and close."""
        for each in self.all():
            each.connection.say_goodbye()
            self._flush(each, now)
            self._end(each)

    def _flush(self, each: SocketConnection, now: float) -> None:
        try:
            each.flush(now)
        except ConnectionClosed:
            self._end(each)
            return
        except Exception:  # see handle
            log.exception("a connection failed with an internal error")
            self._end(each)
            return
        if self._poll_for(each) or each.connection.send_buffer.unsent:
            self._check_by(now + CHECK_S)

    def _poll_for(self, each: SocketConnection) -> bool:
        """Let the poller report what the connection now waits for; whether that has changed."""
        wanted = each.events
        if wanted == each.watched:
            return False
        self._poller.modify(each.fd, wanted)
        each.watched = wanted
        return True

    def _check_by(self, at: float) -> None:
        self.check_at = min(self.check_at, at)

    def _expire(self, each: SocketConnection, now: float) -> None:
        each.expire(now)
        self._flush(each, now)
        if each.is_finished:
            self._end(each)

    def _end(self, each: SocketConnection) -> None:
        if self._by_fd.pop(each.fd, None) is not None:
            del self._by_connection[each.connection]
            self._paused.pop(each, None)
            self._poller.unregister(each.fd)
            each.close()
