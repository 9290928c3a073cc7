"""Figures of one server alone: CPU when idle, memory of idle connections, memory over time under load."""

import contextlib
import resource
import socket
import time
from collections.abc import Callable, Sequence
from typing import Final

from skylane.bench.client.generator import Load
from skylane.bench.lab.baselines.contestants import Contestant
from skylane.bench.lab.baselines.record import Probe, Soak
from skylane.bench.lab.baselines.rig import Rig
from skylane.bench.servers import Server
from skylane.server.grpc.http2 import frames

SPARE_FILES: Final = 200
"""Open files that the harness needs besides its connections."""
GREETING: Final = frames.PREFACE + frames.settings({})
"""Enough for a server to build all its state (RFC 9113, 3.4)."""
SETTLE_S: Final = 1.0


def idle_cpu(server: Server, label: str, seconds: float) -> Probe:
    """Milliseconds of CPU in each second without requests."""
    before_s, began_at = server.cpu_s(), time.monotonic()
    time.sleep(seconds)
    used_ms = (server.cpu_s() - before_s) / (time.monotonic() - began_at) * 1e3
    note = f"over {seconds:.0f} s"
    return Probe(name="idle CPU", contestant=label, value=round(used_ms, 2), unit="ms per s", note=note, at_most=0.2)


def idle_connections(server: Server, label: str, count: int) -> Probe:
    """MiB that a server grows by when so many clients connect over HTTP/2 and then send nothing.

    Fewer where this process may not open so many files; the note says how many.
    """
    allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    count = min(count, allowed - SPARE_FILES)
    before_mib = server.rss_mib()
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=10))
            connection.sendall(GREETING)
            if not connection.recv(64):  # the server's own SETTINGS: it took the connection
                raise ConnectionError(f"{label} closed an idle connection")
        time.sleep(SETTLE_S)
        grown_mib = server.rss_mib() - before_mib
    note = f"{count:,} connections after the handshake of HTTP/2"
    return Probe(
        name="idle connections", contestant=label, value=round(grown_mib, 1), unit="MiB", note=note, at_most=100.0
    )


def soak(rig: Rig, label: str, model: str, minutes: float, status: Callable[[str], None]) -> Soak:
    """Full load for so many minutes; memory is read every few seconds."""
    load, requests, server = Load(8, 8), 0, rig.servers["native"]
    driver = rig.driver(Contestant(label, "native", model), 1)
    chunk = driver.run(load, 2000)
    count = max(2000, round(chunk.sent / chunk.seconds * 4))  # about 4 s of load between two readings
    began_at = time.monotonic()
    seconds, rss_mib = [0.0], [round(server.rss_mib(), 2)]
    while seconds[-1] < minutes * 60:
        requests += driver.run(load, count).sent
        seconds.append(round(time.monotonic() - began_at, 1))
        rss_mib.append(round(server.rss_mib(), 2))
        status(f"soak: {seconds[-1] / 60:.1f} of {minutes:g} minutes, {requests:,} requests, {rss_mib[-1]:.1f} MiB")
    return Soak(contestant=label, load=load.name, requests=requests, seconds=tuple(seconds), rss_mib=tuple(rss_mib))


def growth(rss_mib: Sequence[float]) -> float:
    """Share by which memory grew from the second tenth of the readings to the last: 0.05 for 5 %.

    The first tenth is left out: buffers reach their working size in it. Medians, so that one reading does not matter.
    """
    tenth = max(1, len(rss_mib) // 10)
    early, late = sorted(rss_mib[tenth : 2 * tenth] or rss_mib[:1]), sorted(rss_mib[-tenth:])
    return late[len(late) // 2] / early[len(early) // 2] - 1
