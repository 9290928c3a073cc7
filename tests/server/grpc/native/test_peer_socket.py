"""TLS of one connection: a handshake that must wait for room to write goes on when there is some."""

import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from skylane.server.grpc.http2.limits import Limits
from skylane.server.grpc.native.poller import READ, WRITE
from skylane.server.grpc.native.socket_connection import SocketConnection
from support.h2 import Ours


class Choked:
    """A TLS socket whose first handshake step finds no room to write."""

    def __init__(self) -> None:
        self.steps = 0

    def do_handshake(self) -> None:
        """See ssl.SSLSocket."""
        self.steps += 1
        if self.steps == 1:
            raise ssl.SSLWantWriteError
        raise ssl.SSLWantReadError


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[SocketConnection]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("localhost").configure_cert(context)
    near, far = socket.socketpair()
    with near, far:
        made = SocketConnection(Ours().connection, near, Limits(), 0.0, context)
        with made._socket:
            yield made


def test_a_handshake_without_room_waits_for_it_and_no_longer(connection: SocketConnection) -> None:
    choked = Choked()
    connection._peer._socket = choked  # type: ignore[assignment]
    connection.receive(0.0)
    assert (connection.events, connection.reads_when_writable) == (READ | WRITE, True)
    connection.receive(0.0)
    assert choked.steps == 2
    assert (connection.events, connection.reads_when_writable) == (READ, False)
