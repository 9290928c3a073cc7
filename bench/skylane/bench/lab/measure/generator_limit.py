"""Whether a measurement shows the server's limit or that of the generator that made it.

The harness measures itself: the same requests over as many connections, against a server that does nothing but look the
answer up. A rate near that is the generator's own, and is not reported.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp
from typing import Final

import numpy as np

from skylane.bench.client.sending import Order, send
from skylane.bench.servers import KINDS, running
from skylane.bench.workload.payloads import PREDICT, Exchange
from skylane.cli.live import share_text

SHARE_MAX: Final = 0.8
"""Of the rate that the generator reaches alone: a measurement beyond that is near its own limit."""
CORES_MAX: Final = 0.9
"""A generator that uses more of its core is behind its schedule sooner or later."""
LATE_US_MAX: Final = 1000.0
"""A generator may always be this late, at the 99th percentile: that is what a scheduler of an operating system does."""
LATE_SHARE_MAX: Final = 0.25
"""And as late as this share of the latency that it measures: so much of the figure at most is its own."""
BODIES_MAX: Final = 64
"""Different requests that the null server is asked; more change nothing."""
WARM_REQUESTS: Final = 512


@dataclass(frozen=True)
class Ceiling:
    """What the generator does alone, with requests of this size."""

    requests_per_s: float
    cpu_us: float = 0.0
    """CPU of the generator for one request."""


def ceiling(
    answers: Mapping[bytes, bytes], folder: Path, connections: int, streams: int, seconds: float = 0.5
) -> Ceiling:
    """Measure the generator for about so long.

    `answers`: a framed request → the reply to it, without frame. Raises GeneratorFailed, ServerFailed.
    """
    bodies, place = list(answers)[:BODIES_MAX], Path(mkdtemp(dir=folder))
    for number, body in enumerate(bodies):
        (place / f"{number}.request").write_bytes(body[5:])
        (place / f"{number}.reply").write_bytes(answers[body])
    with running(KINDS["null"], place, answers=place) as server:
        server.wait_ready(Exchange("grpc", PREDICT, bodies[0], {}))
        warm = send(_order(server.address, bodies, connections, streams, WARM_REQUESTS), place)
        count = max(WARM_REQUESTS, round(WARM_REQUESTS / warm.wall_s * seconds))
        log = send(_order(server.address, bodies, connections, streams, count), place)
    return Ceiling(round(count / log.wall_s, 1), round(log.generator_cpu_s / count * 1e6, 2))


def _order(address: str, bodies: Sequence[bytes], connections: int, streams: int, count: int) -> Order:
    return Order(
        address=address, bodies=bodies, connections=connections, streams=streams, picks=np.arange(count) % len(bodies)
    )


def limits_text(latency: str) -> str:
    """How far behind its schedule and how busy a generator must be for its figures not to count; see the next.

    `latency`: which one its lateness is compared with, in words.
    """
    return (
        f"was behind its schedule by more than {LATE_US_MAX / 1000:g} ms and {share_text(LATE_SHARE_MAX)} of "
        f"{latency}, nor if it used more than {share_text(CORES_MAX)} of its core"
    )


def limited_by_generator(
    *,
    requests_per_s: float,
    generator_cores: float,
    server_cores: float | None,
    late_us: float | None,
    p99_us: float | None,
    ceiling: Ceiling | None,
) -> str:
    """Why these are the generator's figures and not the server's; empty if they are not.

    `late_us`: how far behind its schedule it was, 99th percentile; None for a closed loop, which has no schedule and in
    which a generator may well use its core up: only if the server had time left was it the slower of the two.
    """
    if ceiling is not None and requests_per_s > SHARE_MAX * ceiling.requests_per_s:
        share = requests_per_s / ceiling.requests_per_s
        return (
            f"{requests_per_s:,.0f} requests/s are {share_text(share)} of what the generator does against a server "
            f"that does nothing ({ceiling.requests_per_s:,.0f}/s); up to {share_text(SHARE_MAX)} is reported"
        )
    allowed_us = max(LATE_US_MAX, LATE_SHARE_MAX * (p99_us or 0.0))
    if late_us is not None and late_us > allowed_us:
        return (
            f"the generator was {late_us / 1000:,.1f} ms behind its schedule (99th percentile); "
            f"up to {allowed_us / 1000:,.1f} ms is reported"
        )
    server_had_time = server_cores is None or server_cores < CORES_MAX
    if generator_cores > CORES_MAX and (late_us is not None or server_had_time):
        return (
            f"the generator used {share_text(generator_cores)} of its core; up to {share_text(CORES_MAX)} is reported"
        )
    return ""
