"""Load generators: send one request over and over, and record when each was sent and answered.

`h2load` (nghttp2, in C) is the one to use. `OwnClient` is for machines without it: Python, about as expensive as the
server that it measures, so that some of its rates are its own; results carry its name.
Both keep a fixed number of requests in flight (a closed loop): latencies are those of a saturated server.
"""

import re
import resource
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np

from skylane.bench.client.load import OK
from skylane.bench.client.sending import LONGEST_S, GeneratorFailed, Log, Order, log_columns, send
from skylane.bench.workload.payloads import Exchange

Choice = Literal["auto", "h2load", "own"]


@dataclass(frozen=True)
class Load:
    """How many requests are in flight, and over how many connections."""

    connections: int
    streams: int

    @property
    def name(self) -> str:
        """As it stands in tables."""
        return f"{self.connections}x{self.streams}"

    @property
    def in_flight(self) -> int:
        """Requests under way at any time."""
        return self.connections * self.streams


class Generator(Protocol):
    """Sends requests and reports."""

    name: str

    def run(self, address: str, exchange: Exchange, load: Load, requests: int, folder: Path) -> Log:
        """Send exactly so many requests. Raises GeneratorFailed if one of them got no reply."""
        ...


class H2load:
    """nghttp2's h2load: one thread, HTTP/2 for gRPC, HTTP/1.1 for JSON."""

    def __init__(self) -> None:
        command = shutil.which("h2load")
        if command is None:
            raise GeneratorFailed("h2load is not installed: it comes with nghttp2 (Debian: nghttp2-client)")
        self._command = command
        self.name = subprocess.run([command, "--version"], capture_output=True, text=True, check=True).stdout.strip()

    def run(self, address: str, exchange: Exchange, load: Load, requests: int, folder: Path) -> Log:
        """See Generator. HTTP/1.1 has no streams: it gets as many connections as requests are in flight."""
        body, log = folder / "request", folder / "latencies"
        body.write_bytes(exchange.body)
        log.unlink(missing_ok=True)  # h2load appends
        if exchange.protocol == "grpc":
            shape = ["-c", str(load.connections), "-m", str(load.streams)]
            headers = ["-H", "content-type: application/grpc", "-H", "te: trailers"]
        else:
            shape = ["--h1", "-c", str(min(load.in_flight, requests)), "-m", "1"]
            headers = ["-H", "content-type: application/json"]
        command = [self._command, *shape, *headers, "-n", str(requests), "-d", str(body), f"--log-file={log}"]
        printed, cpu_s = _run([*command, f"http://{address}{exchange.path}"])
        counted = re.search(r"(\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout", printed)
        traffic = re.search(r"\((\d+)\) data", printed)
        if counted is None or traffic is None or counted.groups() != (str(requests), "0", "0", "0"):
            raise GeneratorFailed(f"not every request was answered\n{printed}")
        return _complete(Log(*log_columns(log), generator_cpu_s=cpu_s, body_bytes=int(traffic[1])), requests)


class OwnClient:
    """Our own: `skylane.bench.client` in a process of its own."""

    name = "skylane.bench.client (Python)"

    def __init__(self, traced: float | None = None) -> None:
        """`traced`: each request has a trace of its own, and this share of them is recorded."""
        self._traced = traced

    def run(self, address: str, exchange: Exchange, load: Load, requests: int, folder: Path) -> Log:
        order = Order(
            address=address, bodies=[exchange.body], connections=load.connections, streams=load.streams,
            picks=np.zeros(requests, np.int64), traced=self._traced, protocol=exchange.protocol, path=exchange.path,
        )  # fmt: skip
        return _complete(send(order, folder), requests)


def choose(choice: Choice) -> Generator:
    """The generator of this name; `auto` takes h2load where it is installed. Raises GeneratorFailed."""
    if choice == "own" or (choice == "auto" and shutil.which("h2load") is None):
        return OwnClient()
    return H2load()


def _run(command: list[str]) -> tuple[str, float]:
    """What the command printed, and its CPU seconds: no other child of ours ends meanwhile."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=LONGEST_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise GeneratorFailed(f"nothing came back for {LONGEST_S:.0f} s: {' '.join(command)}") from error
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise GeneratorFailed(f"{' '.join(command)}\n{done.stdout}\n{done.stderr}")
    return done.stdout, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _complete(log: Log, requests: int) -> Log:
    """The log, if all requests were answered."""
    if len(log.status) != requests or not log.ok.all():
        statuses = ", ".join(map(str, set(log.status.tolist()) - {OK}))
        raise GeneratorFailed(f"{len(log.status)} of {requests} requests in the log; statuses: {statuses or 'all OK'}")
    return log
