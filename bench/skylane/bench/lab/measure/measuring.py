"""The measuring primitive: requests in, figures out. The generator is a process of its own
(`skylane.bench.load_client`).

    with tempfile.TemporaryDirectory() as folder:
        own = truth.ceiling(answers, Path(folder), connections=8, streams=8)      # what the generator does alone
        at_rate = Open(due_us=arrivals(2000.0, 5.0, rng), seconds=5.0)             # a schedule: latency from `due`
        found = measure(Subject(address, "flights_late", pid), bodies, at_rate, Path(folder), ceiling=own)
        if found.limited_by_generator:
            ...                                                                    # why; not a number to report

`bodies` are framed requests (`skylane.bench.payloads.framed`), sent in turn, or as `picks` says. `Open` sends each at
its
instant, whatever became of the others; `Closed` keeps so many in flight.
"""

import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal

import grpc
import numpy as np
from numpy.typing import NDArray

from skylane.bench import processes
from skylane.bench.access import OPEN, Access
from skylane.bench.counters import Counters, counters_at
from skylane.bench.figures import percentile
from skylane.bench.lab.measure.timeline import Timeline, timeline
from skylane.bench.lab.measure.truth import Ceiling, limited_by_generator
from skylane.bench.lab.measure.usage import Usage, Watch
from skylane.bench.load_client import OK
from skylane.bench.sending import REFUSED, Log, Order, on_time, send

Arrivals = Literal["poisson", "constant"]

STREAMS_MAX: Final = 1000
"""In flight on each connection of an open loop; a server lets a little more in by default."""
WARM_ROUNDS: Final = 8
"""Requests on each stream that tell how many fill the time of a closed loop."""


@dataclass(frozen=True)
class Subject:
    """Who is measured."""

    address: str
    model: str
    """Whose statistics are read."""
    pid: int | None = None
    """Of the server, if it runs on this machine: its CPU and memory are then measured, children included."""
    access: Access = OPEN


@dataclass(frozen=True, kw_only=True)
class Open:
    """Requests that come when they come. `arrivals` makes `due_us`."""

    due_us: NDArray[np.int64]
    """When each is due, ascending, in microseconds from the start."""
    seconds: float
    """How long the schedule is; the last request may be due before its end."""
    connections: int = 8
    streams_max: int = STREAMS_MAX
    timeout_s: float | None = None
    """Deadline that the server is told."""


@dataclass(frozen=True, kw_only=True)
class Closed:
    """So many requests in flight at any time: the next is sent when one is answered."""

    seconds: float
    """About so long."""
    connections: int = 8
    streams: int = 8
    timeout_s: float | None = None


@dataclass(frozen=True)
class Latency:
    """Percentiles in microseconds, each an observed value."""

    p50_us: float
    p90_us: float
    p99_us: float
    p999_us: float
    max_us: float

    @classmethod
    def of(cls, took_us: NDArray[np.int64]) -> "Latency | None":
        """None where there is no value."""
        if not len(took_us):
            return None
        return cls(*(percentile(took_us, share) for share in (0.5, 0.9, 0.99, 0.999, 1.0)))


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What came of it. Rates are per second."""

    seconds: float
    """Of the schedule; in a closed loop, from the first request to the last answer."""
    sent: int
    answered: int
    refused: int
    """RESOURCE_EXHAUSTED: the server's own word that it has too much to do."""
    errors: Mapping[int, int]
    """Status of gRPC → requests that ended so, of all others; 4 also where no answer came, 0 where one came that should
    have been a refusal."""
    offered_per_s: float
    """As scheduled; in a closed loop, what was sent."""
    answered_per_s: float
    """Answers until `seconds` had passed."""
    goodput_per_s: float
    """Those of them that took no longer than `in_time_s`; all, where none is given."""
    latency: Latency | None
    """Of answers, from the instant at which each request was due; None if there was no answer."""
    latencies_us: NDArray[np.int64]
    """Of answers whose latency counts, in order of sending."""
    timeline: Timeline
    late_us: float | None
    """How far the generator was behind its schedule where the server had room, 99th percentile; None: closed loop."""
    generator_cores: float
    server_cores: float | None
    """CPU seconds per second; this and the next: None if the server's process is not known."""
    server_cpu_us: float | None
    """CPU for each request that was answered or refused."""
    rss_mib: float | None
    """At the end."""
    usage: Usage | None
    """The server's CPU and memory over time; 0 of the timeline is `began_at_s`."""
    began_at_s: float
    """Seconds since 1970."""
    did: Counters | None
    """What the server counted meanwhile: executions, batches by their rows, hits and misses of the cache. None if it
    has no statistics."""
    ceiling: Ceiling | None
    limited_by_generator: str
    """Why these are figures of the generator, which nobody may report as the server's; empty if they are not."""
    lost: int = 0
    """Connections that the server closed; others were made in their place."""
    other_cores: float | None = None
    """Cores that neither the server nor the harness used meanwhile: above a few tenths, expect noise. None if the
    server's process is not known."""


def arrivals(
    rate_per_s: float, seconds: float, rng: np.random.Generator, kind: Arrivals = "poisson"
) -> NDArray[np.int64]:
    """Instants of requests at a rate, in microseconds: independent of each other, or evenly spaced."""
    if kind == "poisson":
        return on_time(rate_per_s, seconds, rng)
    return (np.arange(max(1, round(rate_per_s * seconds))) / rate_per_s * 1e6).astype(np.int64)


def measure(
    subject: Subject,
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
    """Send, wait, and tell. Files go to `folder`. `picks`: for each request of an `Open`, which body. `progress`: a
    file in which others may read how far it is, by `skylane.bench.sending.progress_of`. `expected`: for each request
    of an
    `Open`, the status of gRPC that is right, instead of 0, and then counts as its answer. `judged`: for each, whether
    its latency counts.

    Raises GeneratorFailed if the generator did, or if nothing listens there.
    """
    order = replace(_order(subject, bodies, load, folder, picks), progress=progress)
    before = _counters(subject)
    watch = Watch(subject.pid) if subject.pid is not None else None
    machine_s, own_s, began_at = processes.machine_cpu_s(), _own_cpu_s(), time.monotonic()
    with watch or nullcontext():
        log = send(order, folder)
    machine_s, own_s = processes.machine_cpu_s() - machine_s, _own_cpu_s() - own_s
    lasted_s = time.monotonic() - began_at
    if expected is not None:
        log = as_expected(log, expected)
    after = _counters(subject)
    did = after.since(before) if after and before else None
    usage = watch.usage if watch else None
    found = measured(log, load, did, usage, judged=judged, in_time_s=in_time_s, ceiling=ceiling)
    if usage is None:
        return found
    return replace(found, other_cores=max(machine_s - own_s - usage.used_s, 0.0) / lasted_s)


def _own_cpu_s() -> float:
    """Of this process and of the generators that have ended."""
    return time.process_time() + processes.ended_cpu_s()


def as_expected(log: Log, expected: NDArray[np.int64]) -> Log:
    """The log with the refusals that were asked for as answers, and answers to what should be refused as errors of
    status 0.
    """
    refusal = expected != 0
    status = np.where(refusal & (log.status == expected), OK, log.status)
    return replace(log, status=np.where(refusal & log.ok, 0, status))


def measured(
    log: Log,
    load: Open | Closed,
    did: Counters | None = None,
    usage: Usage | None = None,
    *,
    judged: NDArray[np.bool_] | None = None,
    in_time_s: float | None = None,
    ceiling: Ceiling | None = None,
) -> Measured:
    """The figures of a log. Pure."""
    on_schedule = isinstance(load, Open)
    seconds = load.seconds if isinstance(load, Open) else log.wall_s
    timed = log.ok if judged is None else log.ok & judged
    took_us, refused = log.took_us[timed], log.status == REFUSED
    came_in_span = log.ok & (log.start_us + log.took_us <= seconds * 1e6)
    good = came_in_span if in_time_s is None else came_in_span & (log.took_us <= in_time_s * 1e6)
    statuses, counts = np.unique(log.status[~(log.ok | refused)], return_counts=True)
    latency, served = Latency.of(took_us), int(log.ok.sum() + refused.sum())
    answered_per_s, generator_cores = came_in_span.sum() / seconds, log.generator_cpu_s / log.wall_s
    server_cores = usage.used_s / log.wall_s if usage else None
    late_us = log.late_us if on_schedule else None
    return Measured(
        seconds=seconds,
        sent=len(log.status),
        answered=int(log.ok.sum()),
        refused=int(refused.sum()),
        errors={int(status): int(count) for status, count in zip(statuses, counts, strict=True)},
        offered_per_s=len(log.status) / seconds,
        answered_per_s=float(answered_per_s),
        goodput_per_s=float(good.sum() / seconds),
        latency=latency,
        latencies_us=took_us,
        timeline=timeline(log, judged=judged),
        late_us=late_us,
        lost=log.lost,
        generator_cores=generator_cores,
        server_cores=server_cores,
        server_cpu_us=usage.used_s / served * 1e6 if usage and served else None,
        rss_mib=float(usage.rss_mib[-1]) if usage else None,
        usage=usage,
        began_at_s=log.began_at_s,
        did=did,
        ceiling=ceiling,
        limited_by_generator=limited_by_generator(
            requests_per_s=len(log.status) / seconds if on_schedule else float(answered_per_s),
            generator_cores=generator_cores,
            server_cores=server_cores,
            late_us=late_us,
            p99_us=latency.p99_us if latency else None,
            ceiling=ceiling,
        ),
    )


def _order(
    subject: Subject, bodies: Sequence[bytes], load: Open | Closed, folder: Path, picks: NDArray[np.int64] | None
) -> Order:
    def order(first: int, count: int) -> Order:
        return Order(
            address=subject.address, access=subject.access, bodies=bodies, connections=load.connections,
            streams=load.streams_max if isinstance(load, Open) else load.streams,
            picks=(first + np.arange(count)) % len(bodies) if picks is None else picks,
            due_us=load.due_us if isinstance(load, Open) else None, timeout_s=load.timeout_s, seconds=load.seconds,
        )  # fmt: skip

    if isinstance(load, Open):
        return order(0, len(load.due_us))
    least = WARM_ROUNDS * load.connections * load.streams
    warm = send(order(0, least), folder)
    return order(least, max(least, round(least / warm.wall_s * load.seconds)))


def _counters(subject: Subject) -> Counters | None:
    try:
        return counters_at(subject.address, subject.model, subject.access)
    except grpc.RpcError:
        return None
