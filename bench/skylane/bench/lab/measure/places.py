"""The server that is measured: one that runs already, or one that is started for it."""

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from skylane.bench import processes
from skylane.bench.access import OPEN, Access
from skylane.bench.servers import KINDS, START_S, Server, ServerFailed, running
from skylane.client import Client, SkylaneError

LISTENS: Final = "0A"
"""State of a socket in /proc/net/tcp."""
LOCAL: Final = ("localhost", "127.0.0.1", "[::1]")


@dataclass(frozen=True)
class Place:
    """Where a server listens, and its process if it is one of this machine that may be looked at."""

    address: str
    pid: int | None
    started: bool
    access: Access = OPEN


@contextlib.contextmanager
def place(address: str | None, models: Path, folder: Path, access: Access = OPEN) -> Iterator[Place]:
    """The server at the address; without one, a server of these models for the time of the block.

    Raises ServerFailed if that does not start.
    """
    if address is not None:
        yield Place(address, process_at(address), started=False, access=access)
        return
    with running(KINDS["native"], folder, models=models) as server:
        _wait_ready(server)
        yield Place(server.address, server.process.pid, started=True)


def process_at(address: str) -> int | None:
    """Who listens there; of several workers, the process that they are children of. None if it cannot be seen."""
    host, _, port = address.rpartition(":")
    if host not in LOCAL or not port.isdigit():
        return None
    found = processes.with_sockets(_listening(int(port)))
    parents = {processes.parent(pid) for pid in found}
    if len(found) == 1:
        return found[0]
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


def _wait_ready(server: Server) -> None:
    gives_up_at = time.monotonic() + START_S
    with Client(server.address, timeout_s=1) as client:
        while True:
            try:
                if client.ready():
                    return
            except SkylaneError:
                pass
            if server.process.poll() is not None:
                raise ServerFailed(f"the server ended while starting\n{server.end_of_log()}")
            if time.monotonic() > gives_up_at:
                raise ServerFailed(f"the server was not ready after {START_S:.0f} s\n{server.end_of_log()}")
            time.sleep(0.05)
