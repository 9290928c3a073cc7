"""TLS of one connection: a handshake that must wait for room to write goes on when there is some."""

import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from skylane.server.grpc.http2.limits import Limits
from skylane.server.grpc.native.poller import READ, WRITE
from skylane.server.grpc.native.tls_connection import TlsConnection
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
def link(tmp_path: Path) -> Iterator[TlsConnection]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("localhost").configure_cert(context)
    near, far = socket.socketpair()
    with near, far:
        made = TlsConnection(Ours().connection, near, context, Limits(), 0.0)
        with made._secure:
            yield made


def test_a_handshake_without_room_waits_for_it_and_no_longer(link: TlsConnection) -> None:
    link._secure = choked = Choked()  # type: ignore[assignment]
    link.receive(0.0)
    assert (link.events, link.reads_when_writable) == (READ | WRITE, True)
    link.receive(0.0)
    assert choked.steps == 2
    assert (link.events, link.reads_when_writable) == (READ, False)
