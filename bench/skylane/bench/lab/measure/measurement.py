"""The measuring primitive: requests in, figures out. The generator is a process of its own.

    with tempfile.TemporaryDirectory() as folder:
        alone = ceiling(answers, Path(folder), connections=8, streams=8)   # what the generator does alone
        at_rate = Open(due_us=poisson_us(2000.0, 5.0, rng), seconds=5.0)   # a schedule: latency counts from `due`
        endpoint = Endpoint(address, "flights_late", pid)
        measured = measure(endpoint, bodies, at_rate, Path(folder), ceiling=alone)
        if measured.limited_by_generator:
            ...                                                            # why; not a number to report

`bodies` are framed requests (`skylane.bench.workload.payloads.framed`), sent in turn, or as `picks` says. `Open` sends
each at its instant, whether or not others were answered; `Closed` keeps so many in flight. `observed` is for other
generators.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import grpc
import numpy as np
from numpy.typing import NDArray

from skylane.bench.client.access import OPEN, Access
from skylane.bench.client.sending import Log, Order, send
from skylane.bench.host import processes
from skylane.bench.host.usage import SAMPLE_S, UsageMonitor
from skylane.bench.lab.measure.counters import Counters, counters_at
from skylane.bench.lab.measure.figures import Closed, Measured, Observed, Open, as_expected, measured
from skylane.bench.lab.measure.generator_limit import Ceiling

WARM_ROUNDS: Final = 8
"""Requests on each stream that tell how many fill the time of a closed loop."""


@dataclass(frozen=True)
class Endpoint:
    """The server that is measured."""

    address: str
    model: str
    """Its statistics are read."""
    pid: int | None = None
    """Of the server, if it runs on this machine: its CPU and memory are then measured, children included."""
    access: Access = OPEN
    counts: bool = True
    """Whether its statistics are read; it may have none."""


def observed(endpoint: Endpoint, send_all: Callable[[], Log], sample_s: float | None = SAMPLE_S) -> Observed:
    """Send, and watch the server meanwhile. `sample_s`: see UsageMonitor. Raises what `send_all` raises."""
    before = _counters(endpoint)
    monitor = UsageMonitor(endpoint.pid, sample_s) if endpoint.pid is not None else None
    machine_s, own_s, began_at = processes.machine_cpu_s(), _own_cpu_s(), time.monotonic()
    with monitor or nullcontext():
        log = send_all()
    machine_s, own_s = processes.machine_cpu_s() - machine_s, _own_cpu_s() - own_s
    lasted_s = time.monotonic() - began_at
    after = _counters(endpoint)
    did = after.since(before) if after and before else None
    if monitor is None:
        return Observed(log, did)
    other_s = machine_s - own_s - monitor.usage.used_s
    return Observed(log, did, monitor.usage, max(other_s, 0.0) / lasted_s)


def measure(
    endpoint: Endpoint,
    bodies: Sequence[bytes],
    load: Open | Closed,
    folder: Path,
    *,
    picks: NDArray[np.int64] | None = None,
    expected: NDArray[np.int64] | None = None,
    judged: NDArray[np.bool_] | None = None,
    in_time_s: float | None = None,
    ceiling: Ceiling | None = None,
    progress: Path | None = None,
) -> Measured:
    """Send with our own generator, wait, and return the figures. Files go to `folder`.

    `picks`: for each request, which body; needed for an `Open` with several, and instead of the duration of a `Closed`.
    `progress`: a file from which others may read how far it is, by `skylane.bench.client.sending.progress_of`.
    `expected`: for each request of an `Open`, the status of gRPC that is right, instead of 0, and then counts as its
    answer. `judged`: for each, whether its latency counts.

    Raises GeneratorFailed if the generator did, or if nothing listens there.
    """
    order = replace(_order(endpoint, bodies, load, folder, picks), progress=progress)
    seen = observed(endpoint, lambda: send(order, folder))
    if expected is not None:
        seen = replace(seen, log=as_expected(seen.log, expected))
    return measured(seen, load, judged=judged, in_time_s=in_time_s, ceiling=ceiling)


def _own_cpu_s() -> float:
    """Of this process and of the generators that have ended."""
    return time.process_time() + processes.ended_cpu_s()


def _order(
    endpoint: Endpoint, bodies: Sequence[bytes], load: Open | Closed, folder: Path, picks: NDArray[np.int64] | None
) -> Order:
    def order(first: int, count: int) -> Order:
        return Order(
            address=endpoint.address, access=endpoint.access, bodies=bodies, connections=load.connections,
            streams=load.streams_max if isinstance(load, Open) else load.streams,
            picks=(first + np.arange(count)) % len(bodies) if picks is None else picks,
            due_us=load.due_us if isinstance(load, Open) else None, timeout_s=load.timeout_s, seconds=load.seconds,
        )  # fmt: skip

    if isinstance(load, Open) or picks is not None:
        return order(0, len(load.due_us) if isinstance(load, Open) else 0)
    least = WARM_ROUNDS * load.connections * load.streams
    warm = send(order(0, least), folder)
    return order(least, max(least, round(least / warm.wall_s * load.seconds)))


def _counters(endpoint: Endpoint) -> Counters | None:
    if not endpoint.counts:
        return None
    try:
        return counters_at(endpoint.address, endpoint.model, endpoint.access)
    except grpc.RpcError:
        return None
