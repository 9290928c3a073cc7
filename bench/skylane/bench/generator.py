"""Load generators: something that sends one request over and over, and knows when each was sent and answered.

`h2load` (nghttp2, in C) is the one to use. `OwnClient` is for machines without it: Python, about as dear as the server
that it measures, so that some of its rates are its own; results carry its name.
Both keep a fixed number of requests in flight (a closed loop): latencies are those of a saturated server.
"""

import json
import re
import resource
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from skylane.bench.payloads import Exchange

Choice = Literal["auto", "h2load", "own"]

LONGEST_S: Final = 300.0
"""A generator that takes longer hangs."""


class GeneratorFailed(Exception):
    """The load generator is missing or did not do its work; the message has what it said."""


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


@dataclass(frozen=True)
class Outcome:
    """What a generator saw."""

    requests: int
    wall_s: float
    """From the first request sent to the last reply."""
    latencies_us: NDArray[np.int64]
    body_bytes: int
    """Of all replies, framing of gRPC included, that of HTTP/2 not."""
    generator_cpu_s: float


class Generator(Protocol):
    """Sends requests and reports."""

    name: str

    def run(self, address: str, exchange: Exchange, load: Load, requests: int, folder: Path) -> Outcome:
        """Send exactly so many requests. Raises GeneratorFailed if one of them got no reply."""
        ...


class H2load:
    """nghttp2's h2load: one thread, HTTP/2 for gRPC, HTTP/1.1 for JSON."""

    def __init__(self) -> None:
        found = shutil.which("h2load")
        if found is None:
            raise GeneratorFailed("h2load is not installed: it comes with nghttp2 (Debian: nghttp2-client)")
        self._command = found
        self.name = subprocess.run([found, "--version"], capture_output=True, text=True, check=True).stdout.strip()

    def run(self, address: str, exchange: Exchange, load: Load, requests: int, folder: Path) -> Outcome:
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
        said, cpu_s = _run([*command, f"http://{address}{exchange.path}"])
        counted = re.search(r"(\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout", said)
        traffic = re.search(r"\((\d+)\) data", said)
        if counted is None or traffic is None or counted.groups() != (str(requests), "0", "0", "0"):
            raise GeneratorFailed(f"not every request was answered\n{said}")
        return _outcome(log, requests, int(traffic[1]), cpu_s)


class OwnClient:
    """Our own: `skylane.bench.load_client` in a process of its own."""

    name = "skylane.bench.load_client (Python)"

    def run(self, address: str, exchange: Exchange, load: Load, requests: int, folder: Path) -> Outcome:
        """See Generator."""
        body, log = folder / "request", folder / "latencies"
        body.write_bytes(exchange.body)
        shape = ["--connections", str(load.connections), "--streams", str(load.streams), "--requests", str(requests)]
        target = ["--address", address, "--protocol", exchange.protocol, "--path", exchange.path]
        files = ["--body", str(body), "--log-file", str(log)]
        said, cpu_s = _run([sys.executable, "-P", "-m", "skylane.bench.load_client", *target, *shape, *files])
        return _outcome(log, requests, json.loads(said)["body_bytes"], cpu_s)


def choose(choice: Choice) -> Generator:
    """The generator of this name; `auto` takes h2load where it is installed. Raises GeneratorFailed."""
    if choice == "own" or (choice == "auto" and shutil.which("h2load") is None):
        return OwnClient()
    return H2load()


def _run(command: Sequence[str]) -> tuple[str, float]:
    """What the command printed, and its CPU seconds: nothing else of ours ends meanwhile."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=LONGEST_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise GeneratorFailed(f"nothing came back for {LONGEST_S:.0f} s: {' '.join(command)}") from error
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise GeneratorFailed(f"{' '.join(command)}\n{done.stdout}\n{done.stderr}")
    return done.stdout, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _outcome(log: Path, requests: int, body_bytes: int, cpu_s: float) -> Outcome:
    """Lines of the log: microsecond of the start, status, microseconds until the reply's end."""
    lines = np.loadtxt(log, dtype=np.int64, ndmin=2)
    if len(lines) != requests or (lines[:, 1] != 200).any():
        raise GeneratorFailed(f"{len(lines)} of {requests} requests in the log, statuses {set(lines[:, 1].tolist())}")
    wall_s = float((lines[:, 0] + lines[:, 2]).max() - lines[:, 0].min()) / 1e6
    return Outcome(requests, wall_s, lines[:, 2], body_bytes, cpu_s)
