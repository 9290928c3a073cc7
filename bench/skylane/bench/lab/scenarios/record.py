"""What `skylane bench` leaves behind: the file's schema, reading and writing it. No measuring."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from skylane.bench.figures import percentile
from skylane.bench.lab.measure.measuring import Measured
from skylane.bench.machine import Machine

POINTS_PER_DECADE: Final = 20
"""Of the percentiles that are kept: so many from 90 % to 99 %, from 99 % to 99.9 %, …"""


class _Record(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Immutable; an unknown or missing field is an error that names its path."""


class Slices(_Record, frozen=True, kw_only=True):
    """What became of requests over time; see skylane.bench.lab.measure.timeline."""

    slice_s: float
    offered: list[int]
    answered: list[int]
    refused: list[int]
    failed: list[int]
    p99_us: list[float | None]


class Looks(_Record, frozen=True, kw_only=True):
    """The server's processes over time; 0 is when the first request could be sent."""

    at_s: list[float]
    cores: list[float]
    rss_mib: list[float]


class Alone(_Record, frozen=True, kw_only=True):
    """What the generator did in this round against a server that does nothing; see skylane.bench.lab.measure.truth."""

    requests_per_s: float
    cpu_us: float


class Round(_Record, frozen=True, kw_only=True):
    """One measurement; see skylane.bench.lab.measure.measuring.Measured."""

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
    """Used by everybody but the server and the harness meanwhile."""
    cpu_us: float | None
    rss_mib: float | None
    looks: Looks | None
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


class Scenario(_Record, frozen=True, kw_only=True):
    """All rounds of one scenario."""

    name: str
    title: str
    loop: Literal["open", "closed"]
    rounds: tuple[Round, ...]

    @property
    def reported(self) -> list[Round]:
        """The rounds that the generator did not limit."""
        return [each for each in self.rounds if not each.limited_by_generator]


class Lab(_Record, frozen=True, kw_only=True):
    """Everything about one run."""

    schema: Literal[1] = 1
    kind: Literal["skylane bench"] = "skylane bench"
    started_at: str
    """ISO 8601, UTC."""
    took_s: float
    commit: str
    """Revision of the code that measured; ends in `+` if files differed from it."""
    machine: Machine
    libraries: dict[str, str]
    address: str
    started_server: bool
    """Whether the run started the server itself."""
    model: str
    version: int
    rows: int
    """In each request."""
    asked: str
    """What the rows were, in a few words."""
    settings: dict[str, Any]
    alone: tuple[Alone, ...]
    """For each round."""
    scenarios: tuple[Scenario, ...]


def round_of(found: Measured, round_: int) -> Round:
    """A measurement as it is kept."""
    latency, did, usage, slices = found.latency, found.did, found.usage, found.timeline
    looks = None
    if usage is not None:
        during = usage.at_s[:-1] >= found.began_at_s  # before, the generator was starting
        looks = Looks(
            at_s=_rounded((usage.at_s[1:] - found.began_at_s)[during], 3),
            cores=_rounded(usage.cores[during], 3),
            rss_mib=_rounded(usage.rss_mib[1:][during], 1),
        )
    return Round(
        round=round_,
        limited_by_generator=found.limited_by_generator,
        seconds=round(found.seconds, 3),
        sent=found.sent,
        answered=found.answered,
        refused=found.refused,
        errors={str(status): count for status, count in found.errors.items()},
        offered_per_s=round(found.offered_per_s, 1),
        answered_per_s=round(found.answered_per_s, 1),
        goodput_per_s=round(found.goodput_per_s, 1),
        p50_us=latency.p50_us if latency else None,
        p90_us=latency.p90_us if latency else None,
        p99_us=latency.p99_us if latency else None,
        p999_us=latency.p999_us if latency else None,
        max_us=latency.max_us if latency else None,
        percentiles=percentiles(found.latencies_us),
        slices=Slices(
            slice_s=round(slices.slice_s, 6),
            offered=slices.offered.tolist(),
            answered=slices.answered.tolist(),
            refused=slices.refused.tolist(),
            failed=slices.failed.tolist(),
            p99_us=[None if np.isnan(value) else value for value in slices.p99_us.tolist()],
        ),
        lost=found.lost,
        late_us=found.late_us,
        generator_cores=round(found.generator_cores, 3),
        server_cores=None if found.server_cores is None else round(found.server_cores, 3),
        other_cores=None if found.other_cores is None else round(found.other_cores, 3),
        cpu_us=None if found.server_cpu_us is None else round(found.server_cpu_us, 2),
        rss_mib=None if found.rss_mib is None else round(found.rss_mib, 1),
        looks=looks,
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


def save(lab: Lab, path: Path) -> None:
    """Write it as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(lab), indent=0) + b"\n")


def load(path: Path) -> Lab:
    """Read one. Raises OSError, or msgspec.ValidationError naming the field."""
    return msgspec.json.decode(path.read_bytes(), type=Lab)


def _rounded(values: Sequence[float] | NDArray[np.float64], digits: int) -> list[float]:
    return [round(float(value), digits) for value in values]
