"""The file that `skylane bench` writes, and what of a measurement is kept in it."""

from collections.abc import Sequence
from typing import Final, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from skylane.bench.figures import percentile
from skylane.bench.lab.measure.figures import Measured
from skylane.bench.lab.record import Record, RunRecord

POINTS_PER_DECADE: Final = 20
"""Of the percentiles that are kept: so many from 90 % to 99 %, from 99 % to 99.9 %, …"""


class Slices(Record, frozen=True, kw_only=True):
    """Requests over time, by their outcome; see skylane.bench.lab.measure.timeline."""

    slice_s: float
    offered: list[int]
    answered: list[int]
    refused: list[int]
    failed: list[int]
    p99_us: list[float | None]


class UsageSamples(Record, frozen=True, kw_only=True):
    """The server's processes over time; 0 is when the first request could be sent."""

    at_s: list[float]
    cores: list[float]
    rss_mib: list[float]


class Alone(Record, frozen=True, kw_only=True):
    """What the generator did in this round against a server that does nothing."""

    requests_per_s: float
    cpu_us: float


class Round(Record, frozen=True, kw_only=True):
    """One measurement; see skylane.bench.lab.measure.figures.Measured."""

    round: int
    limited_by_generator: str
    """Why nothing of this may be reported; empty if it may."""
    seconds: float
    sent: int
    answered: int
    refused: int
    errors: dict[str, int]
    """gRPC status → requests."""
    offered_per_s: float
    answered_per_s: float
    goodput_per_s: float
    p50_us: float | None
    p90_us: float | None
    p99_us: float | None
    p999_us: float | None
    max_us: float | None
    percentiles: list[tuple[float, float]]
    """Share of answers → microseconds that they did not exceed; denser the rarer."""
    slices: Slices
    lost: int = 0
    """Connections that the server closed; others were made in their place."""
    late_us: float | None
    generator_cores: float
    server_cores: float | None
    other_cores: float | None = None
    """Used meanwhile by other programs than the server and the harness."""
    cpu_us: float | None
    rss_mib: float | None
    usage: UsageSamples | None = msgspec.field(name="looks")
    batches: dict[int, int] | None
    """Rows of an execution → executions of so many."""
    hits: int | None
    misses: int | None
    counted: int | None
    """Calls that the server says it answered."""

    @property
    def failed(self) -> int:
        """Requests with neither an answer nor a refusal."""
        return self.sent - self.answered - self.refused

    @property
    def batch_rows(self) -> float | None:
        """Rows of an execution, on average."""
        runs = sum((self.batches or {}).values())
        return sum(rows * count for rows, count in (self.batches or {}).items()) / runs if runs else None

    @property
    def hit_share(self) -> float | None:
        """Of calls, those answered from the cache; None where nothing was looked for in it."""
        if not self.counted or self.hits is None or not (self.hits or self.misses):
            return None
        return self.hits / self.counted


class Scenario(Record, frozen=True, kw_only=True):
    """All rounds of one scenario."""

    name: str
    title: str
    loop: Literal["open", "closed"]
    rounds: tuple[Round, ...]

    @property
    def reported(self) -> list[Round]:
        """The rounds that the generator did not limit."""
        return [each for each in self.rounds if not each.limited_by_generator]


class ScenariosRun(RunRecord, frozen=True, kw_only=True):
    """One run. `settings`: rounds, seconds, rate_per_s, rate_given, in_time_ms."""

    schema: Literal[1] = 1
    kind: Literal["skylane bench"] = "skylane bench"
    address: str
    started_server: bool
    """Whether the run started the server itself."""
    model: str
    version: int
    rows: int
    """In each request."""
    requests: str = msgspec.field(name="asked")
    """Which rows the requests have, in words."""
    alone: tuple[Alone, ...]
    """For each round."""
    scenarios: tuple[Scenario, ...]


def round_of(measured: Measured, round_: int) -> Round:
    """A measurement as it is kept."""
    latency, did, usage, slices = measured.latency, measured.did, measured.usage, measured.timeline
    samples = None
    if usage is not None:
        during = usage.at_s[:-1] >= measured.began_at_s  # before, the generator was starting
        samples = UsageSamples(
            at_s=_rounded((usage.at_s[1:] - measured.began_at_s)[during], 3),
            cores=_rounded(usage.cores[during], 3),
            rss_mib=_rounded(usage.rss_mib[1:][during], 1),
        )
    return Round(
        round=round_,
        limited_by_generator=measured.limited_by_generator,
        seconds=round(measured.seconds, 3),
        sent=measured.sent,
        answered=measured.answered,
        refused=measured.refused,
        errors={str(status): count for status, count in measured.errors.items()},
        offered_per_s=round(measured.offered_per_s, 1),
        answered_per_s=round(measured.answered_per_s, 1),
        goodput_per_s=round(measured.goodput_per_s, 1),
        p50_us=latency.p50_us if latency else None,
        p90_us=latency.p90_us if latency else None,
        p99_us=latency.p99_us if latency else None,
        p999_us=latency.p999_us if latency else None,
        max_us=latency.max_us if latency else None,
        percentiles=percentiles(measured.latencies_us),
        slices=Slices(
            slice_s=round(slices.slice_s, 6),
            offered=slices.offered.tolist(),
            answered=slices.answered.tolist(),
            refused=slices.refused.tolist(),
            failed=slices.failed.tolist(),
            p99_us=[None if np.isnan(value) else value for value in slices.p99_us.tolist()],
        ),
        lost=measured.lost,
        late_us=measured.late_us,
        generator_cores=round(measured.generator_cores, 3),
        server_cores=None if measured.server_cores is None else round(measured.server_cores, 3),
        other_cores=None if measured.other_cores is None else round(measured.other_cores, 3),
        cpu_us=None if measured.server_cpu_us is None else round(measured.server_cpu_us, 2),
        rss_mib=None if measured.rss_mib is None else round(measured.rss_mib, 1),
        usage=samples,
        batches=dict(sorted(did.batches.items())) if did else None,
        hits=did.hits if did else None,
        misses=did.misses if did else None,
        counted=did.answered if did else None,
    )


def percentiles(took_us: NDArray[np.int64]) -> list[tuple[float, float]]:
    """(share, value) from 0 to 1, in even steps of how rare it is to be slower; each value was observed."""
    if not len(took_us):
        return []
    ordered = np.sort(took_us)
    decades = np.log10(len(ordered))
    shares = [1 - 10 ** (-step / POINTS_PER_DECADE) for step in range(int(decades * POINTS_PER_DECADE) + 1)]
    return [(round(share, 9), percentile(ordered, share)) for share in (*shares, 1.0)]


def _rounded(values: Sequence[float] | NDArray[np.float64], digits: int) -> list[float]:
    return [round(float(value), digits) for value in values]
