"""Why a port cannot be bound, as an operator reads it."""

import errno
import os
import socket

import pytest

from skylane.server.host.ports import cannot_bind


@pytest.mark.parametrize(
    ("error", "why"),
    [
        pytest.param(
            OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE)),
            "another server may be using it",
            id="taken",
        ),
        pytest.param(
            OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL)),
            "the address does not belong to this machine, see --host",
            id="an address of another machine",
        ),
        pytest.param(
            OSError(errno.EACCES, os.strerror(errno.EACCES)),
            "this user may not have it, as those below 1024",
            id="a port for root",
        ),
        pytest.param(
            socket.gaierror(socket.EAI_NONAME, "Name or service not known"),
            "the name stands for no address, see --host: Name or service not known",
            id="a name of nothing",
        ),
        pytest.param(OSError(errno.ENOBUFS, "No room"), f"[Errno {errno.ENOBUFS}] No room", id="anything else"),
        pytest.param(
            RuntimeError("Failed to bind"),
            "another server may be using it, or the address does not belong to this machine: Failed to bind",
            id="grpcio, which does not tell",
        ),
    ],
)
def test_why_a_port_cannot_be_bound(error: Exception, why: str) -> None:
    assert cannot_bind("h:1", error) == f"port: h:1 cannot be bound: {why}"
