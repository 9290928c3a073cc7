"""Reading from and writing to the socket of one peer, with TLS or without."""

import socket
import ssl
from typing import Final, Protocol

READ_BYTES: Final = 2**17
"""Read from a socket at once, at most."""
ALPN: Final = "h2"


class ConnectionClosed(Exception):
    """The peer has gone, or its connection has just been ended."""


class PeerSocket(Protocol):
    """A socket that does not block."""

    writes_to_read: bool
    """Whether the next read can continue only when the socket is writable, as in a TLS handshake."""

    def read(self, bytes_max: int) -> bytes | None:
        """Bytes that have arrived; empty at the end; None if there are none yet."""

    def write(self, data: bytes | memoryview) -> int:
        """Write as much as there is room for. Returns how many bytes. Raises ConnectionClosed."""
        ...


class PlainSocket:
    """Without TLS."""

    writes_to_read = False

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock

    def read(self, bytes_max: int) -> bytes | None:
        try:
            return self._socket.recv(bytes_max)
        except BlockingIOError:
            return None
        except OSError:
            return b""

    def write(self, data: bytes | memoryview) -> int:
        try:
            return self._socket.send(data)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise ConnectionClosed from error


class TlsSocket:
    """With TLS. The handshake is done by the first reads."""

    def __init__(self, sock: ssl.SSLSocket) -> None:
        """The handshake has not begun."""
        self._socket = sock
        self._is_handshake_done = self.writes_to_read = False

    def read(self, bytes_max: int) -> bytes | None:
        try:
            self.writes_to_read = False
            if not self._is_handshake_done:
                self._handshake()
            parts = [self._socket.recv(bytes_max)]
            while parts[-1] and self._socket.pending():  # bytes that OpenSSL has read already cause no event
                parts.append(self._socket.recv(READ_BYTES))
            return b"".join(parts)
        except ssl.SSLWantReadError:
            return None
        except ssl.SSLWantWriteError:
            self.writes_to_read = True
            return None
        except OSError:  # not TLS, no accepted certificate, or the peer has gone
            return b""

    def _handshake(self) -> None:
        self._socket.do_handshake()
        if self._socket.selected_alpn_protocol() not in (ALPN, None):
            raise ConnectionClosed
        self._is_handshake_done = True

    def write(self, data: bytes | memoryview) -> int:
        try:
            return self._socket.send(data)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return 0
        except OSError as error:
            raise ConnectionClosed from error
