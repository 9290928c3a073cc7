"""A connection under TLS: the handshake is read as bytes are, and everything above is the same."""

import socket
import ssl
from typing import Final

from skylane.server.grpc.http2.connection import Connection
from skylane.server.grpc.http2.limits import Limits
from skylane.server.grpc.native.poller import READ, WRITE
from skylane.server.grpc.native.socket_connection import READ_BYTES, ConnectionClosed, SocketConnection

ALPN: Final = "h2"


class TlsConnection(SocketConnection):
    """One accepted connection that must speak TLS."""

    def __init__(
        self, connection: Connection, sock: socket.socket, context: ssl.SSLContext, limits: Limits, now: float
    ) -> None:
        """The context decides whose certificates are asked for; the handshake is done when its bytes come."""
        sock.setblocking(False)
        self._secure = context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
        super().__init__(connection, self._secure, limits, now)
        self._shaken = self._wants_to_write = False

    @property
    def events(self) -> int:
        """See SocketConnection. A handshake may have to write first."""
        return READ | WRITE if self._wants_to_write and not self.is_paused else super().events

    @property
    def reads_when_writable(self) -> bool:
        """See SocketConnection: a handshake does."""
        return self._wants_to_write

    def _read(self, bytes_max: int) -> bytes | None:
        try:
            self._wants_to_write = False
            if not self._shaken:
                self._shake()
            pieces = [self._secure.recv(bytes_max)]
            while pieces[-1] and self._secure.pending():  # what OpenSSL holds already, no event will tell of
                pieces.append(self._secure.recv(READ_BYTES))
            return b"".join(pieces)
        except ssl.SSLWantReadError:
            return None
        except ssl.SSLWantWriteError:
            self._wants_to_write = True
            return None
        except OSError:  # not TLS, no certificate that we take, or gone
            return b""

    def _shake(self) -> None:
        self._secure.do_handshake()
        if self._secure.selected_alpn_protocol() not in (ALPN, None):
            raise ConnectionClosed
        self._shaken = True

    def _write(self, data: bytes | memoryview) -> int:
        try:
            return self._secure.send(data)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return 0
        except OSError as error:
            raise ConnectionClosed from error
