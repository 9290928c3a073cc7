"""Timeouts as they stand on the wire, which no client library lets through, on every path that a call can take."""

import socket
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hpack import Decoder

from skylane.server.codecs.oip.messages import SERVICE as OIP
from skylane.server.codecs.skylane_v1.requests import PREDICT
from skylane.server.grpc.http2 import frames
from skylane.server.grpc.http2.frames import Kind
from skylane.server.grpc.http2.health import CHECK
from support import models
from support.calls import ask, features
from support.h2 import Client, message
from support.server import serving

if TYPE_CHECKING:
    from skylane.server.core.settings import Transport

ROW = ask("linear", features=features(1)).SerializeToString()


def status_of(address: str, path: str, content: bytes, timeout: str) -> str:
    """The status of one call."""
    host, port = address.rsplit(":", 1)
    client, decoder, data = Client(), Decoder(), b""
    with socket.create_connection((host, int(port)), timeout=30) as sock:
        sock.sendall(
            Client.PREFACE + client.head(1, path, ("grpc-timeout", timeout)) + client.data(1, message(content))
        )
        while True:
            while len(data) >= frames.HEAD_BYTES and len(data) >= frames.HEAD_BYTES + int.from_bytes(data[:3]):
                end = frames.HEAD_BYTES + int.from_bytes(data[:3])
                kind, payload, data = data[3], data[frames.HEAD_BYTES : end], data[end:]
                decoded = decoder.decode(payload) if kind == Kind.HEADERS else []
                fields = {str(name): str(value) for name, value in decoded}
                if "grpc-status" in fields:
                    return fields["grpc-status"]
            received = sock.recv(2**16)
            assert received, "the server has hung up"
            data += received


@pytest.mark.parametrize(
    ("path", "content"),
    [
        pytest.param(PREDICT, ROW, id="a prediction"),
        pytest.param(CHECK, b"", id="health"),
        pytest.param(f"/{OIP}/ServerMetadata", b"", id="a call that is passed on"),
    ],
)
def test_the_longest_timeouts_are_no_deadline(
    tmp_path: Path, transport: "Transport", path: str, content: bytes
) -> None:
    models.linear(tmp_path)
    timeouts = ["2562047H", "2562048H", "8783H", "99999999H", "99999999M", "99999999S", "86400000m", "99999999m"]
    with serving(tmp_path, transport) as server:
        statuses = {timeout: status_of(server.address, path, content, timeout) for timeout in timeouts}
    assert statuses == dict.fromkeys(timeouts, "0")
