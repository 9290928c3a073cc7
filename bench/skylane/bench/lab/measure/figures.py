"""What was observed, and the figures of it. Pure: nothing is sent or read here."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from skylane.bench.client.load import OK
from skylane.bench.client.sending import REFUSED, Log
from skylane.bench.figures import percentile
from skylane.bench.host.usage import Usage
from skylane.bench.lab.measure.counters import Counters
from skylane.bench.lab.measure.generator_limit import Ceiling, limited_by_generator
from skylane.bench.lab.measure.timeline import Timeline, timeline

CONNECTIONS, STREAMS = 8, 8
"""And requests in flight on each, where nothing else is said."""
STREAMS_MAX: Final = 1000
"""In flight on each connection of an open loop; a server lets a little more in by default."""


@dataclass(frozen=True, kw_only=True)
class Open:
    """Requests on a schedule, whatever becomes of those before."""

    due_us: NDArray[np.int64]
    """When each is due, ascending, in microseconds from the start."""
    seconds: float
    """How long the schedule is; the last request may be due before its end."""
    connections: int = CONNECTIONS
    streams_max: int = STREAMS_MAX
    timeout_s: float | None = None
    """Deadline that is sent with each request."""


@dataclass(frozen=True, kw_only=True)
class Closed:
    """So many requests in flight at any time: the next is sent when one is answered."""

    seconds: float
    """About so long. Ignored where `picks` says what is sent."""
    connections: int = CONNECTIONS
    streams: int = STREAMS
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
    """The figures of a measurement. Rates are per second."""

    seconds: float
    """Of the schedule; in a closed loop, from the first request to the last answer."""
    sent: int
    answered: int
    refused: int
    """With RESOURCE_EXHAUSTED: the server was overloaded."""
    refused_p99_us: float | None = None
    """Until a refusal came; None if there was none."""
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
    """Why these are the generator's figures and must not be reported as the server's; empty if they are not."""
    lost: int = 0
    """Connections that the server closed; others were made in their place."""
    other_cores: float | None = None
    """Cores that neither the server nor the harness used meanwhile: above a few tenths, expect noise. None if the
    server's process is not known."""


@dataclass(frozen=True)
class Observed:
    """What happened while a generator sent."""

    log: Log
    did: Counters | None = None
    usage: Usage | None = None
    other_cores: float | None = None


def as_expected(log: Log, expected: NDArray[np.int64]) -> Log:
    """The log with expected refusals as answers, and answers to what should be refused as errors of
    status 0.
    """
    refusal = expected != 0
    status = np.where(refusal & (log.status == expected), OK, log.status)
    return replace(log, status=np.where(refusal & log.ok, 0, status))


def measured(
    seen: Observed,
    load: Open | Closed,
    *,
    judged: NDArray[np.bool_] | None = None,
    in_time_s: float | None = None,
    ceiling: Ceiling | None = None,
) -> Measured:
    """The figures of what was observed. Pure."""
    log, usage = seen.log, seen.usage
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
        refused_p99_us=percentile(log.took_us[refused], 0.99) if refused.any() else None,
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
        did=seen.did,
        other_cores=seen.other_cores,
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
