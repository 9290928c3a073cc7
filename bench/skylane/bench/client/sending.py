"""Our own load generator, `skylane.bench.client`, in a process of its own: what to send and when, and the log of it."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from skylane.bench.client.access import OPEN, TOKEN, Access
from skylane.bench.client.load import OK
from skylane.bench.workload.payloads import PREDICT, Protocol

REFUSED: Final = 8
"""RESOURCE_EXHAUSTED, as gRPC numbers it."""
LONGEST_S: Final = 300.0
"""A generator that takes longer than it should by this much hangs."""


class GeneratorFailed(Exception):
    """The load generator is missing or did not do its work; the message has its own."""


@dataclass(frozen=True, kw_only=True)
class Order:
    """What to send."""

    address: str
    bodies: Sequence[bytes]
    """Framed for gRPC."""
    connections: int
    streams: int
    """In flight on each connection; on a schedule, at most."""
    picks: NDArray[np.int64]
    """For each request, which body."""
    due_us: NDArray[np.int64] | None = None
    """When each is sent; None: the next when an answer comes."""
    timeout_s: float | None = None
    """Deadline that is sent with each request."""
    seconds: float = 0.0
    """How long it should take, beyond which the generator is given a while to end."""
    access: Access = OPEN
    progress: Path | None = None
    """File in which it keeps how many were sent, answered and ended otherwise; see `progress_of`."""
    traced: float | None = None
    """Each request has a trace of its own, and this share of them is recorded; None: no traces."""
    protocol: Protocol = "grpc"
    path: str = PREDICT


@dataclass(frozen=True)
class Log:
    """The outcome of each request, in the order of sending."""

    start_us: NDArray[np.int64]
    """Since the first could be sent; on a schedule, the scheduled instant."""
    status: NDArray[np.int64]
    """OK, or gRPC's number."""
    took_us: NDArray[np.int64]
    late_us: float = 0.0
    """How late requests were sent that the server had room for, against the schedule: 99th percentile."""
    generator_cpu_s: float = 0.0
    """CPU that the client used while it sent."""
    began_at_s: float = 0.0
    """When it began to send, in seconds since 1970."""
    lost: int = 0
    """Connections that the server closed; others were made in their place."""
    body_bytes: int = 0
    """Of all replies: framing of gRPC included, that of HTTP/2 not."""

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
        self._order = order
        place = Path(tempfile.mkdtemp(dir=folder))
        files = {name: place / name for name in ("body", "body-sizes", "order", "log-file", "schedule")}
        files["body"].write_bytes(b"".join(order.bodies))
        _save(files["body-sizes"], [len(each) for each in order.bodies])
        _save(files["order"], order.picks)
        arguments: dict[str, object] = {
            "address": order.address, "protocol": order.protocol, "path": order.path, "tls-ca": order.access.ca,
            "connections": order.connections, "streams": order.streams, "timeout-s": order.timeout_s,
            "progress": order.progress, "traced": order.traced, **files,
        }  # fmt: skip
        if order.due_us is None:
            del arguments["schedule"]
        else:
            _save(files["schedule"], order.due_us)
        if order.progress is not None:
            order.progress.write_bytes(bytes(3 * 8))
        given = [f"--{name}={value}" for name, value in arguments.items() if value is not None]
        command = [sys.executable, "-P", "-m", "skylane.bench.client", *given, *(["--tls"] if order.access.tls else [])]
        environment = os.environ | {TOKEN: order.access.token}
        self._log_file = files["log-file"]
        self._process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
        )

    def wait_begun(self) -> None:
        """Wait for its first request; its order has a file for the progress. Raises GeneratorFailed."""
        assert self._order.progress is not None
        while not progress_of(self._order.progress)[0]:
            if self._process.poll() is not None:
                self.finish()
                return
            time.sleep(0.01)

    def finish(self) -> Log:
        """Wait for its end. Raises GeneratorFailed."""
        timeout_s = self._order.seconds + LONGEST_S
        with self._process:
            try:
                printed, complaint = self._process.communicate(timeout=timeout_s)
            except subprocess.TimeoutExpired as error:
                raise GeneratorFailed(f"the load generator took longer than {timeout_s:.0f} s") from error
            finally:
                self._process.kill()  # however the wait ended: it must not continue to send
        if self._process.returncode:
            raise GeneratorFailed(f"the load generator failed: {complaint.strip() or self._process.returncode}")
        start_us, status, took_us = log_columns(self._log_file)
        if self._order.due_us is not None:
            start_us = self._order.due_us
        summary = json.loads(printed)
        return Log(
            start_us, status, took_us, summary["late_us"], summary["cpu_s"], summary["began_at_s"], summary["lost"],
            summary["body_bytes"],
        )  # fmt: skip


def log_columns(path: Path) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Start since the first, status and duration of each request, from a log as h2load and `skylane.bench.client`
    write it.
    """
    lines = np.loadtxt(path, dtype=np.int64, ndmin=2)
    return lines[:, 0] - lines[:, 0].min(), lines[:, 1], lines[:, 2]


def progress_of(file: Path) -> tuple[int, int, int]:
    """Requests sent, answered, and ended otherwise until now; nothing before it began."""
    if not file.exists():
        return 0, 0, 0
    sent, answered, failed = np.fromfile(file, np.int64, 3).tolist()
    return sent, answered, failed


def send(order: Order, folder: Path) -> Log:
    """Send all, and wait. Raises GeneratorFailed."""
    return Sending(order, folder).finish()


def _save(path: Path, values: Sequence[int] | NDArray[np.int64]) -> None:
    with path.open("wb") as file:  # numpy would add a suffix to a name
        np.save(file, np.asarray(values))
