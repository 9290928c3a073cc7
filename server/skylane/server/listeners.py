"""The bound ports of one server: gRPC, and HTTP if it is configured."""

import asyncio
import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from skylane.server.core.hosts import Hosts, internet
from skylane.server.grpc.listener import Listener
from skylane.server.host.addresses import shown
from skylane.server.host.reuseport_ebpf import share_in_turn
from skylane.server.observability.snapshot import PortSnapshot

if TYPE_CHECKING:
    from skylane.server.http.listener import HttpListener

log = logging.getLogger(__name__)

DRAIN_POLL_S: Final = 0.01
"""How often a draining server checks whether the last reply is out."""
DRAIN_READ_S_MAX: Final = 1.0
"""How long clients have to read that the server drains, which takes a round trip; it still answers meanwhile."""


@dataclass(frozen=True)
class Listeners:
    """The ports of one server, bound."""

    grpc: Listener
    http: "HttpListener | None"
    """None if HTTP is not configured."""

    def all(self) -> "tuple[Listener | HttpListener, ...]":
        """One or two."""
        return (self.grpc, self.http) if self.http else (self.grpc,)

    @property
    def busy(self) -> bool:
        """Whether a reply is still to be sent."""
        return any(each.busy for each in self.all())

    def snapshots(self) -> Iterator[PortSnapshot]:
        """Figures of the ports whose connections are counted."""
        for each in self.all():
            if (refused := each.refused_connections) is not None:
                yield PortSnapshot(refused.port, each.connections or 0, refused.refused)

    def urls(self, hosts: Hosts) -> list[str]:
        """The addresses of HTTP, if it is configured."""
        http = self.http
        return [f"{http.scheme}://{shown(host, http.port)}" for host in internet(hosts)] if http else []

    def share(self, workers: int) -> None:
        """Let the kernel give connections to the workers in turn, if it can."""
        in_turn = [share_in_turn(each.port, workers) for each in self.all()]
        log.debug("connections are shared %s", "in turn" if all(in_turn) else "by the kernel's hash")

    async def start(self) -> None:
        """Receive requests."""
        for each in self.all():
            await each.start()

    async def send_clients_away(self) -> None:
        """Ask gRPC clients to connect elsewhere, and give them time to read it."""
        self.grpc.drain()
        ends_at = time.monotonic() + DRAIN_READ_S_MAX
        while not self.grpc.heard and time.monotonic() < ends_at:
            await asyncio.sleep(DRAIN_POLL_S)

    async def close(self) -> None:
        """Close every connection at once."""
        for each in self.all():
            await each.close()
