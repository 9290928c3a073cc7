"""The server that is measured: one that runs already, or one that is started for it."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from skylane.bench.client.access import OPEN, Access
from skylane.bench.host import processes
from skylane.bench.servers import KINDS, Server, running
from skylane.client import Client, SkylaneError

LISTENS: Final = "0A"
"""State of a socket in /proc/net/tcp."""
LOCAL: Final = ("localhost", "127.0.0.1", "[::1]")


@dataclass(frozen=True)
class ServerUnderTest:
    """Where a server listens, and its process, if it runs on this machine and may be observed."""

    address: str
    pid: int | None
    started: bool
    access: Access = OPEN


@contextlib.contextmanager
def server_under_test(
    address: str | None, models: Path, folder: Path, access: Access = OPEN
) -> Iterator[ServerUnderTest]:
    """The server at the address; without one, a server of these models for the time of the block.

    Raises ServerFailed if that does not start.
    """
    if address is not None:
        yield ServerUnderTest(address, process_at(address), started=False, access=access)
        return
    with running(KINDS["native"], folder, models=models) as server:
        _wait_ready(server)
        yield ServerUnderTest(server.address, server.process.pid, started=True)


def process_at(address: str) -> int | None:
    """Who listens there; of several workers, the process that they are children of. None if it cannot be seen."""
    host, _, port = address.rpartition(":")
    if host not in LOCAL or not port.isdigit():
        return None
    listeners = processes.with_sockets(_listening(int(port)))
    parents = {processes.parent(pid) for pid in listeners}
    if len(listeners) == 1:
        return listeners[0]
    return parents.pop() if len(parents) == 1 else None


def _listening(port: int) -> set[str]:
    """Inodes of the sockets that listen on a port."""
    inodes = set()
    for table in ("tcp", "tcp6"):
        with contextlib.suppress(OSError):
            for line in (processes.PROC / "net" / table).read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == LISTENS and int(fields[1].rpartition(":")[2], 16) == port:
                    inodes.add(fields[9])
    return inodes


class _NotReady(Exception):
    """It answers that it is not ready yet, or not at all."""


def _wait_ready(server: Server) -> None:
    def ask() -> None:
        try:
            if client.ready():
                return
        except SkylaneError as error:
            raise _NotReady(str(error)) from error
        raise _NotReady("it loads its models")

    with Client(server.address, timeout_s=1) as client:
        server.wait_until(ask, _NotReady)
