"""A connection with its socket: reads into it, writes what it has to say, and keeps what the peer does not take."""

import contextlib
import random
import re
import socket
from collections import deque
from typing import Final

from skylane.server.grpc.http2.connection import Connection
from skylane.server.grpc.http2.frames import ConnectionFault
from skylane.server.grpc.http2.services import Services
from skylane.server.grpc.native.poller import READ, WRITE

READ_BYTES: Final = 2**17
"""Taken from a socket at once."""
AGE_SPREAD: Final = 0.1
LAST_READS: Final = 8
"""Of a peer that has heard our last words."""

NOT_HTTP2: Final = (
    b"HTTP/1.1 505 HTTP Version Not Supported\r\ncontent-type: text/plain\r\nconnection: close\r\n\r\n"
    b"This port speaks gRPC, which is HTTP/2.\n"
)


_is_http1: Final = re.compile(rb"[A-Z]+ [^\r\n]* HTTP/1").match
"""Whether these bytes begin as a request does whose client can read NOT_HTTP2."""


class ConnectionClosed(Exception):
    """The connection is over; there is nobody to tell."""


class SocketConnection(Connection):
    """One accepted connection. Belongs to the front's thread."""

    def __init__(self, services: Services, sock: socket.socket, now: float) -> None:
        super().__init__(services)
        self.fd = sock.fileno()
        self.is_open = True
        self.watched = READ
        """What the poller looks for."""
        self._socket = sock
        self._backlog: deque[memoryview] = deque()
        self._backlog_bytes = 0
        self._progress_at = now
        """When the peer last took something, while there is a backlog; when it came, before it has greeted."""
        # Not all that came together shall come again together.
        self.expires_at = now + services.limits.connection_age_s * random.uniform(1 - AGE_SPREAD, 1 + AGE_SPREAD)
        """When it shall take nothing new."""
        sock.setblocking(False)
        if sock.family in (socket.AF_INET, socket.AF_INET6):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)

    @property
    def events(self) -> int:
        """What to look for. A peer who does not read is not read either."""
        if not self._backlog:
            return READ
        return WRITE if self._backlog_bytes > self._services.limits.unread_bytes else READ | WRITE

    @property
    def reads_when_writable(self) -> bool:
        """Whether reading can go on only when there is room to write."""
        return False

    def receive(self, now: float) -> None:
        """Take what has come. Raises ConnectionClosed."""
        data = self._read()
        if data is None:
            return
        if not data:
            raise ConnectionClosed
        try:
            self.feed(data, now)
        except ConnectionFault as fault:
            if self._greeted:
                self.say_goodbye(fault.code, str(fault))
            elif _is_http1(self._rest + data):
                self.send_buffer.frames.append(NOT_HTTP2)
            self.flush(now)
            self._hang_up()
            raise ConnectionClosed from fault

    def flush(self, now: float) -> None:
        """Write what is ready, as far as the peer takes it. Raises ConnectionClosed."""
        if self.send_buffer.frames:
            data = b"".join(self.send_buffer.frames)
            self.send_buffer.frames.clear()
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
        if self._backlog_bytes > self._services.limits.unread_bytes:
            self.send_buffer.hold(True)

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
        self.send_buffer.hold(False)
        if (
            self.send_buffer.frames
        ):  # what was held back; the peer may have nothing to say that would bring us here again
            self.flush(now)

    def stalled(self, now: float) -> bool:
        """Whether the peer has kept us waiting for too long."""
        waits = self._backlog or not self._greeted
        return bool(waits and now - self._progress_at > self._services.limits.stalled_s) or super().stalled(now)

    @property
    def is_over(self) -> bool:
        """Whether nothing new begins here, and nothing that began is left: not even a stream that only waits."""
        return self.ends and not (self._backlog or self.taken or self._coming or self.send_buffer.busy)

    def expire(self, now: float) -> None:
        """Ask the peer to go on elsewhere; to be called on until it `is_over`. One that does not answer is told so."""
        if not self._asked_to_end:
            self.announce_end()
        elif not self.ends and now >= self.expires_at + self._services.limits.stalled_s:
            self.say_goodbye()

    @property
    def wary(self) -> bool:
        """Whether this one could stall, or is to end soon."""
        return bool(
            self._asked_to_end or self._backlog or not self._greeted or self._coming or self.send_buffer.unsent
            or self._rest or self._block is not None
        )  # fmt: skip

    @property
    def busy(self) -> bool:
        """See Connection."""
        return bool(self._backlog) or super().busy

    def close(self) -> None:
        """The end of it; whoever waited for us or for whom we waited hears."""
        self.is_open = False
        self.lose()
        self._socket.close()

    def _hang_up(self) -> None:
        """Read what is here: a kernel that closes a socket with bytes in it throws away our last words."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)
            for _ in range(LAST_READS):
                if not self._socket.recv(READ_BYTES):
                    return

    # --- The socket -------------------------------------------------------------------------------------------------

    def _read(self) -> bytes | None:
        """Bytes that have come; none at the end; None if there is nothing yet."""
        try:
            return self._socket.recv(READ_BYTES)
        except BlockingIOError:
            return None
        except OSError:
            return b""

    def _write(self, data: bytes | memoryview) -> int:
        """How much was taken. Raises ConnectionClosed."""
        try:
            return self._socket.send(data)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise ConnectionClosed from error
