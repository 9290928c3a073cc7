"""What one load at a time does not show: overload, a slow neighbour, inputs that repeat. Each round yields samples.

Servers take turns here as well. The load is our own client's: on a schedule, which a server that is slow does not slow
down, or with inputs drawn anew for each request.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from skylane.bench import processes
from skylane.bench.counters import counters
from skylane.bench.figures import percentile
from skylane.bench.saturation.results import Sample, Target
from skylane.bench.saturation.scenarios import Contender
from skylane.bench.sending import REFUSED, Log, Order, send
from skylane.bench.servers import Server
from skylane.bench.subjects import Subject

SEED: Final = 7


@dataclass(frozen=True)
class Stage:
    """What a behaviour is measured with."""

    servers: Mapping[str, Server]
    subjects: Mapping[str, Subject]
    folder: Path
    seconds: float
    """Of load for each measurement."""

    def order(self, contender: Contender, rows: int, connections: int, streams: int) -> Callable[..., Order]:
        """Our client, with everything but what is sent when."""
        exchange = self.subjects[contender.model].exchange("grpc", rows)
        address = self.servers[contender.kind].address

        def order(
            picks: NDArray[np.int64],
            due_us: NDArray[np.int64] | None = None,
            timeout_s: float | None = None,
            bodies: Sequence[bytes] = (exchange.body,),
        ) -> Order:
            return Order(
                address=address, bodies=bodies, connections=connections, streams=streams, picks=picks, due_us=due_us,
                timeout_s=timeout_s,
            )  # fmt: skip

        return order

    def check(self, contender: Contender, rows: int) -> None:
        """Ask once as an ordinary client would. Raises WrongAnswer, ServerFailed."""
        self.servers[contender.kind].ask(self.subjects[contender.model].exchange("grpc", rows))


class Behaviour(Protocol):
    """Something to be shown."""

    @property
    def name(self) -> str:
        """As `--only` takes it."""
        ...

    @property
    def title(self) -> str:
        """What it is, in a line."""
        ...

    @property
    def baseline(self) -> str:
        """Label of the contender that the table's ratios are to; empty: there are none."""
        ...

    @property
    def contenders(self) -> tuple[Contender, ...]:
        """Who takes part."""
        ...

    @property
    def targets(self) -> tuple[Target, ...]:
        """What we want to come of it."""
        ...

    @property
    def samples(self) -> int:
        """Of each round."""
        ...

    def measure(self, stage: Stage, round_: int, tell: Callable[[Sample | str], None]) -> list[Sample]:
        """One round. Raises GeneratorFailed, WrongAnswer, ServerFailed."""
        ...


def watched(stage: Stage, contender: Contender, act: Callable[[], Log]) -> tuple[Log, dict[str, float | None]]:
    """What happened while something was sent, and the fields of a sample that the server's side yields."""
    server = stage.servers[contender.kind]
    before, cpu_before_s = counters(server, contender.model), server.cpu_s()
    machine_before_s, clients_before_s = processes.machine_cpu_s(), processes.ended_cpu_s()
    began_at = time.monotonic()
    log = act()
    lasted_s = time.monotonic() - began_at
    cpu_s, clients_s = server.cpu_s() - cpu_before_s, processes.ended_cpu_s() - clients_before_s
    other_s = max(processes.machine_cpu_s() - machine_before_s - cpu_s - clients_s, 0.0)
    after = counters(server, contender.model)
    did = after.since(before) if after and before else None
    return log, {
        "cpu_us": round(cpu_s / len(log.status) * 1e6, 2),
        "server_cores": round(cpu_s / log.wall_s, 3),
        "other_cores": round(other_s / lasted_s, 3),
        "rss_mib": round(server.rss_mib(), 1),
        "batch_rows": did.batch_rows if did else None,
        "hit_share": did.hit_share if did else None,
    }


def sample(
    where: tuple[str, str, str, int], log: Log, seconds: float, timeout_s: float | None = None, **fields: object
) -> Sample:
    """The figures of a log: `where` is (scenario, load, contender, round), `seconds` what it lasted.

    With `timeout_s`, only what was answered in so long counts as answered.
    """
    scenario, load, contender, round_ = where
    good = log.ok & (log.took_us <= timeout_s * 1e6) if timeout_s is not None else log.ok
    took_us, refused_us = log.took_us[good], log.took_us[log.status == REFUSED]
    answered = max(int(good.sum()), 1)
    known: dict[str, object] = {"cpu_us": 0.0, "server_cores": 0.0, "other_cores": 0.0, "rss_mib": 0.0} | fields
    if timeout_s is not None:
        known["offered_per_s"] = round(len(good) / seconds, 1)
        known["refused_share"] = round(len(refused_us) / len(good), 4)
        known["refused_p99_us"] = percentile(refused_us, 0.99) if len(refused_us) else None
    if log.late_us > LATE_US_MAX:
        known["limited"] = f"the generator was {log.late_us / 1000:.1f} ms behind its schedule"
    percentiles = {
        name: percentile(took_us, share) if len(took_us) else 0.0
        for name, share in (("p50_us", 0.5), ("p99_us", 0.99), ("p999_us", 0.999))
    }
    return Sample(
        scenario=scenario, load=load, contender=contender, round=round_, requests=len(good), wall_s=round(seconds, 6),
        requests_per_s=round(int(good.sum()) / seconds, 1), wall_us=round(seconds / answered * 1e6, 2),
        generator_cores=0.0, **percentiles, **known,  # type: ignore[arg-type]
    )  # fmt: skip


LATE_US_MAX: Final = 5000.0
"""A generator that is further behind measures itself."""


def closed(stage: Stage, order: Callable[..., Order], in_flight: int, seconds: float) -> Log:
    """Closed loop for about so long, after a warm-up that tells how many requests that is."""
    least = 4 * in_flight
    warm = send(order(np.zeros(least, np.int64)), stage.folder)
    count = max(least, round(least / warm.wall_s * seconds))
    return send(order(np.zeros(count, np.int64)), stage.folder)
