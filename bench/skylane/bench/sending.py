"""Our own client in a process of its own, told what to send and when: the load that `skylane.bench.generator` cannot
make.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from skylane.bench.access import OPEN, Access
from skylane.bench.generator import LONGEST_S, GeneratorFailed
from skylane.bench.load_client import OK, TOKEN
from skylane.bench.payloads import PREDICT

REFUSED: Final = 8
"""RESOURCE_EXHAUSTED, as gRPC numbers it."""


@dataclass(frozen=True, kw_only=True)
class Order:
    """What to send."""

    address: str
    bodies: Sequence[bytes]
    """Framed."""
    connections: int
    streams: int
    """In flight on each connection; on a schedule, at most."""
    picks: NDArray[np.int64]
    """For each request, which body."""
    due_us: NDArray[np.int64] | None = None
    """When each is sent; None: the next when an answer comes."""
    timeout_s: float | None = None
    """Deadline that the server is told."""
    seconds: float = 0.0
    """How long it should take, beyond which the generator is given a while to end."""
    access: Access = OPEN
    progress: Path | None = None
    """File in which it keeps how many were sent, answered and ended otherwise; see `progress_of`."""


@dataclass(frozen=True)
class Log:
    """What became of each request, in the order of sending."""

    start_us: NDArray[np.int64]
    """Since the first could be sent; on a schedule, the scheduled instant."""
    status: NDArray[np.int64]
    """OK, or gRPC's number."""
    took_us: NDArray[np.int64]
    late_us: float
    """How late requests were sent that the server had room for, against the schedule: 99th percentile."""
    generator_cpu_s: float = 0.0
    """CPU that the client used while it sent."""
    began_at_s: float = 0.0
    """When it began to send, in seconds since 1970."""
    lost: int = 0
    """Connections that the server closed; others were made in their place."""

    @property
    def ok(self) -> NDArray[np.bool_]:
        """Which were answered."""
        ok: NDArray[np.bool_] = self.status == OK
        return ok

    @property
    def wall_s(self) -> float:
        """From the first request sent to the last reply."""
        return float((self.start_us + self.took_us).max() - self.start_us.min()) / 1e6


class Sending:
    """A client that has been started."""

    def __init__(self, order: Order, folder: Path) -> None:
        self._place = Path(tempfile.mkdtemp(dir=folder))
        self._order = order
        body, picks, log = self._place / "bodies", self._place / "picks.npy", self._place / "log"
        sizes = self._place / "sizes.npy"
        body.write_bytes(b"".join(order.bodies))
        np.save(sizes, [len(each) for each in order.bodies])
        np.save(picks, order.picks)
        arguments = ["--address", order.address, "--protocol", "grpc", "--path", PREDICT, "--body", str(body)]
        arguments += ["--body-sizes", str(sizes), "--order", str(picks), "--log-file", str(log)]
        arguments += ["--connections", str(order.connections), "--streams", str(order.streams)]
        if order.due_us is not None:
            np.save(self._place / "due.npy", order.due_us)
            arguments += ["--schedule", str(self._place / "due.npy")]
        if order.access.tls:
            arguments += ["--tls"]
        if order.access.ca is not None:
            arguments += ["--tls-ca", str(order.access.ca)]
        if order.timeout_s is not None:
            arguments += ["--timeout-s", str(order.timeout_s)]
        if order.progress is not None:
            order.progress.write_bytes(bytes(3 * 8))
            arguments += ["--progress", str(order.progress)]
        command = [sys.executable, "-P", "-m", "skylane.bench.load_client", *arguments]
        environment = os.environ | {TOKEN: order.access.token}
        self._process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
        )

    def finish(self) -> Log:
        """Wait for its end. Raises GeneratorFailed."""
        patience_s = self._order.seconds + LONGEST_S
        with self._process:
            try:
                said, complaint = self._process.communicate(timeout=patience_s)
            except subprocess.TimeoutExpired as error:
                raise GeneratorFailed(f"the load generator took longer than {patience_s:.0f} s") from error
            finally:
                self._process.kill()  # whatever ended the wait: it must not go on sending
        if self._process.returncode:
            raise GeneratorFailed(f"the load generator failed: {complaint.strip() or self._process.returncode}")
        lines = np.loadtxt(self._place / "log", dtype=np.int64, ndmin=2)
        start_us = lines[:, 0] - lines[0, 0]
        if self._order.due_us is not None:
            start_us = self._order.due_us
        told = json.loads(said)
        return Log(
            start_us, lines[:, 1], lines[:, 2], told["late_us"], told["cpu_s"], told["began_at_s"], told["lost"]
        )  # fmt: skip


def progress_of(file: Path) -> tuple[int, int, int]:
    """Requests sent, answered, and ended otherwise until now; nothing before it began."""
    if not file.exists():
        return 0, 0, 0
    sent, answered, failed = np.fromfile(file, np.int64, 3).tolist()
    return sent, answered, failed


def send(order: Order, folder: Path) -> Log:
    """Send all, and wait. Raises GeneratorFailed."""
    return Sending(order, folder).finish()


def on_time(rate_per_s: float, seconds: float, rng: np.random.Generator, start_s: float = 0.0) -> NDArray[np.int64]:
    """Instants of requests that know nothing of each other (a Poisson process), in microseconds."""
    count = max(1, round(rate_per_s * seconds))
    return np.sort(rng.uniform(start_s, start_s + seconds, count) * 1e6).astype(np.int64)
