"""Connections that were refused: each is counted, and the log has a line now and then."""

import pytest

from skylane.server.host.connection_limit import TOLD_S, RefusedConnections


def test_all_are_counted_and_told_of_now_and_then(caplog: pytest.LogCaptureFixture) -> None:
    refused_connections = RefusedConnections("grpc", 7, "--max-connections allows more")
    for at in (0.0, 1.0, 2.0, TOLD_S, TOLD_S + 1.0, 2 * TOLD_S):
        refused_connections.refuse(at)
    assert refused_connections.refused == 6
    told = "the grpc port has 7 connections, its limit: new ones are closed immediately, %d so far; --max-connections"
    assert [message.removesuffix(" allows more") for message in caplog.messages] == [
        told % so_far for so_far in (1, 4, 6)
    ]
