"""Connections of the load generator to one server, and others in place of those that the server closes."""

import contextlib
import queue
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from typing import Final

from skylane.bench.client.http2 import Connection, Reply

READ_BYTES: Final = 2**16
"""At a time, into a buffer that each connection keeps. A new buffer of 256 KiB for each read cost 26 µs a request where
glibc gave its memory back to the kernel each time, and nothing elsewhere: which one depended on the heap's layout."""
CONNECT_S: Final = 5.0
"""Longest that a server may be gone before no other connection is tried for."""
PAUSE_S: Final = 0.05
"""Between two tries."""


class Peer(Connection):
    """A connection with its socket."""

    def __init__(
        self,
        address: str,
        path: str,
        timeout_s: float | None,
        token: str = "",
        context: ssl.SSLContext | None = None,
        traces: Iterator[bytes] | None = None,
    ) -> None:
        """Connect, and wait for the server's settings. Raises OSError."""
        super().__init__(address, path, timeout_s, token=token, tls=context is not None, traces=traces)
        self._buffer = memoryview(bytearray(READ_BYTES))
        host, _, port = address.rpartition(":")
        made = socket.create_connection((host.strip("[]"), int(port)), timeout=30)
        try:
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.socket = made if context is None else context.wrap_socket(made, server_hostname=host.strip("[]"))
            self.flush()
            while not self.greeted:
                self.receive()
            self.flush()
        except BaseException:
            made.close()
            raise
        self.socket.setblocking(False)

    def fileno(self) -> int:
        """For `select`."""
        return self.socket.fileno()

    def receive(self) -> list[Reply]:
        """What has come. Raises OSError if the server has gone."""
        replies = list[Reply]()
        while True:
            try:
                size = self.socket.recv_into(self._buffer)
                data = bytes(self._buffer[:size])
                if not data:
                    raise ConnectionError("the server closed a connection")
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                return replies
            except OSError:
                if replies:  # they are returned first; the next call fails again
                    return replies
                raise
            replies += self.feed(data)
            # What TLS has decrypted already, `select` does not see.
            if not isinstance(self.socket, ssl.SSLSocket) or not self.socket.pending():
                return replies

    def flush(self) -> None:
        """Write what the kernel takes. Raises OSError if the server has gone."""
        if self.out:
            with contextlib.suppress(BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                del self.out[: self.socket.send(self.out)]


class Peers:
    """So many connections. What is lost is made again by a thread, so that the others are not held up."""

    def __init__(self, connect: Callable[[], Peer], count: int) -> None:
        """`connect` raises OSError; the first time, so does this."""
        self._connect = connect
        self._made: queue.SimpleQueue[Peer | None] = queue.SimpleQueue()
        self._missing = 0
        self.ready = [connect() for _ in range(count)]
        """Which may be given requests."""
        self.leaving: list[Peer] = []
        """Which the server wants no more of, until the last answer has come."""
        self.lost = 0
        """How many the server has closed, or said that it will."""

    @property
    def all(self) -> list[Peer]:
        """Those from which something may come."""
        return self.ready + self.leaving if self.leaving else self.ready

    @property
    def missing(self) -> int:
        """Connections that are being made."""
        return self._missing

    def leave(self, peer: Peer) -> None:
        """The server said that it closes this one: another takes its place, and it is heard to its end."""
        self.ready.remove(peer)
        self.leaving.append(peer)
        self._another()

    def close(self, peer: Peer) -> list[Reply]:
        """Done with this one. Returns what was asked there and never answered."""
        peer.socket.close()
        if peer in self.leaving:
            self.leaving.remove(peer)
        else:
            self.ready.remove(peer)
            self._another()
        return list(peer.in_flight.values())

    def arrived(self) -> list[Peer]:
        """Those that have been made since."""
        came = list[Peer]()
        while self._missing and not self._made.empty():
            made = self._made.get()
            self._missing -= 1
            if made is not None:
                came.append(made)
        self.ready += came
        return came

    def end(self) -> None:
        """Close all."""
        for peer in self.all:
            peer.socket.close()

    def _another(self) -> None:
        self.lost += 1
        self._missing += 1
        threading.Thread(target=self._make, daemon=True).start()

    def _make(self) -> None:
        made, gives_up_at = None, time.monotonic() + CONNECT_S
        try:
            while made is None and time.monotonic() < gives_up_at:
                try:
                    made = self._connect()
                except OSError:
                    time.sleep(PAUSE_S)
        finally:  # also if the server speaks no HTTP/2: the queue is waited for
            self._made.put(made)
