"""Connects an HTTP/2 connection with its socket: feeds what is read, writes what it sends, keeps it for a slow peer."""

import contextlib
import random
import socket
import ssl
from collections import deque
from typing import Final

from skylane.server.grpc.http2.connection import Connection
from skylane.server.grpc.http2.frames import ConnectionFault
from skylane.server.grpc.http2.limits import Limits
from skylane.server.grpc.native.peer_socket import READ_BYTES, ConnectionClosed, PeerSocket, PlainSocket, TlsSocket
from skylane.server.grpc.native.poller import READ, WRITE

READ_BYTES_MIN: Final = 2**14
"""Read from each if many have something, from a new peer, and from one whose requests do not make up for the rest of
what it sends: 128 KiB of that can take 100 ms."""
AGE_SPREAD: Final = 0.1
"""Share by which the age of connections varies, so that those accepted together do not end together."""
LAST_READS: Final = 8
"""Reads after the last bytes were written, see `_hang_up`."""


class PeerAtFault(ConnectionClosed):
    """It has been ended because the peer broke the protocol or flooded."""


class SocketConnection:
    """The socket of one HTTP/2 connection. Belongs to the reactor's thread."""

    def __init__(
        self,
        connection: Connection,
        sock: socket.socket,
        limits: Limits,
        now: float,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """The socket has just been accepted. With `tls`, the handshake is done when the peer's bytes arrive."""
        sock.setblocking(False)
        peer: PeerSocket
        if tls is None:
            peer = PlainSocket(sock)
        else:
            sock = secure = tls.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
            peer = TlsSocket(secure)
        self._peer, self._read, self._write = peer, peer.read, peer.write
        self.connection = connection
        self.fd = sock.fileno()
        self.watched = READ
        """The events that the poller reports."""
        self.source = ""
        """The address of the peer; empty if it has none."""
        self.comes_from_offender = False
        """Whether connections from there have been ended lately for what their peers did."""
        self.is_paused = False
        """Whether it is not read for now, since it is throttled."""
        self._socket, self._limits = sock, limits
        self._backlog: deque[memoryview] = deque()
        self._backlog_bytes = 0
        self._progress_at = now
        """When the peer last read something, while there is a backlog; before its preface, when it was accepted."""
        self.expires_at = now + limits.connection_age_s * random.uniform(1 - AGE_SPREAD, 1 + AGE_SPREAD)
        """When it is to accept nothing new."""
        if sock.family in (socket.AF_INET, socket.AF_INET6):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)

    @property
    def events(self) -> int:
        """The events to wait for. A peer that does not read is not read from either."""
        if self.is_paused:
            return WRITE if self._backlog else 0
        if not self._backlog:
            return READ | WRITE if self._peer.writes_to_read else READ
        return WRITE if self._backlog_bytes > self._limits.unread_bytes else READ | WRITE

    @property
    def is_throttled(self) -> bool:
        """Whether it may use only the time that is left to peers that flood."""
        connection = self.connection
        return connection.is_flooding or (self.comes_from_offender and not connection.is_proven)

    @property
    def reads_when_writable(self) -> bool:
        """Whether reading can continue only when the socket is writable."""
        return self._peer.writes_to_read

    def receive(self, now: float, bytes_max: int = READ_BYTES) -> None:
        """Read what has arrived, so many bytes at most, and process it. Raises ConnectionClosed."""
        data = self._read(bytes_max if self.connection.is_proven else READ_BYTES_MIN)
        if data is None:
            return
        if not data:
            raise ConnectionClosed
        try:
            self.connection.feed(data, now)
        except ConnectionFault as fault:
            self.connection.fail(fault)
            self.flush(now)
            self._hang_up()
            raise PeerAtFault from fault

    def flush(self, now: float) -> None:
        """Write what is ready, as far as the peer reads it. Raises ConnectionClosed."""
        if data := self.connection.data_to_send():
            if not self._backlog:
                sent = self._write(data)
                if sent == len(data):
                    return
                self._progress_at = now
                self._keep(memoryview(data)[sent:])
                return
            self._keep(memoryview(data))
        self._write_backlog(now)

    def _keep(self, rest: memoryview) -> None:
        self._backlog.append(rest)
        self._backlog_bytes += len(rest)
        if self._backlog_bytes > self._limits.unread_bytes:
            self.connection.pause_writing()

    def _write_backlog(self, now: float) -> None:
        while self._backlog:
            part = self._backlog.popleft()
            sent = self._write(part)
            if sent:
                self._progress_at = now
                self._backlog_bytes -= sent
            if sent < len(part):
                self._backlog.appendleft(part[sent:])
                return
        self.connection.resume_writing()
        if self.connection.send_buffer.frames:  # messages that were held back: the peer may cause no further event
            self.flush(now)

    def stalled(self, now: float) -> bool:
        """Whether the server has waited for the peer for too long."""
        waits = self._backlog or not self.connection.greeted
        return bool(waits and now - self._progress_at > self._limits.stalled_s) or self.connection.stalled(now)

    @property
    def is_finished(self) -> bool:
        """See Connection; and whether the peer has read everything."""
        return self.connection.is_finished and not self._backlog

    def expire(self, now: float) -> None:
        """Ask the peer to connect again; to be called until it `is_finished`."""
        self.connection.end_by(self.expires_at + self._limits.stalled_s, now)

    @property
    def may_stall(self) -> bool:
        return bool(self._backlog) or self.connection.may_stall

    @property
    def busy(self) -> bool:
        return bool(self._backlog) or self.connection.busy

    def close(self) -> None:
        """Close the socket, and cancel the calls that are running."""
        self.connection.lose()
        self._socket.close()

    def _hang_up(self) -> None:
        """Read what has arrived: a kernel that closes a socket with unread bytes discards what was written last."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)
            for _ in range(LAST_READS):
                if not self._socket.recv(READ_BYTES):
                    return
