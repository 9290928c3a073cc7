"""What a run leaves behind: the file's schema, reading and writing it, and picking figures out of it. No measuring."""

from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from skylane.bench.figures import Spread, limit_of, ratios, spread
from skylane.bench.machine import Machine

Metric = Literal[
    "cpu_us", "p50_us", "p99_us", "wall_us", "requests_per_s", "rss_mib", "refused_p99_us", "recovered_s", "hit_share"
]

NULL: Final = "does nothing"
"""Label of the null server."""
OURS: Final = "skylane"
"""Label of our server on its native transport, and how the labels of its other forms begin."""
BARE: Final = "bare session.run"
"""Label of the model in this process, without a server."""


class _Record(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Immutable; an unknown or missing field is an error that names its path."""


class Sample(_Record, frozen=True, kw_only=True):
    """One contender under one load, for one round. Replies were compared with the right answer before and after."""

    scenario: str
    load: str
    """Connections × streams on each, as "8x8"."""
    contender: str
    round: int
    requests: int
    wall_s: float
    """From the first request sent to the last reply."""
    requests_per_s: float
    wall_us: float
    """wall_s ÷ requests: what one request takes of the clock while others overlap it."""
    p50_us: float
    p99_us: float
    p999_us: float
    cpu_us: float
    """CPU of the server's whole process tree per request, user and system; 0 where it was not measured."""
    server_cores: float
    """CPU seconds per second."""
    generator_cores: float
    rss_mib: float
    """Of the server's process tree, after the round."""
    other_cores: float
    """Cores that everybody else on the machine used meanwhile: above a tenth or so, expect noise."""
    limited: str = ""
    """Why the rate tells about the load generator instead; empty if it does not."""
    batch_rows: float | None = None
    """Rows of one execution, on average, as the server counts them."""
    hit_share: float | None = None
    """Share of requests answered from the cache."""
    offered_per_s: float | None = None
    """Requests sent on a schedule; `requests_per_s` are then those answered in time."""
    refused_share: float | None = None
    """Share of those that were refused with RESOURCE_EXHAUSTED; the rest of what was not answered in time was late."""
    refused_p99_us: float | None = None
    """Until a refusal came, counted from the schedule."""
    recovered_s: float | None = None
    """From the load's fall until requests were answered as before it."""


class Target(_Record, frozen=True, kw_only=True):
    """What we want: a metric of one contender as a share of another's, in the same rounds; or the metric itself."""

    scenario: str
    load: str
    metric: Metric
    ours: str
    theirs: str = ""
    """Empty: the bound is on the metric, not on a share."""
    their_load: str = ""
    """Empty: the same."""
    at_most: float | None = None
    at_least: float | None = None
    """One of the two is given."""
    stretch: float | None = None


class Probe(_Record, frozen=True, kw_only=True):
    """A single figure that no load yields: memory of idle connections, CPU of an idle server."""

    name: str
    contender: str
    value: float
    unit: str
    note: str
    at_most: float | None = None


class Soak(_Record, frozen=True, kw_only=True):
    """Memory of a server under load, over time."""

    contender: str
    load: str
    requests: int
    seconds: tuple[float, ...]
    rss_mib: tuple[float, ...]


class Run(_Record, frozen=True, kw_only=True):
    """Everything about one run of the harness."""

    schema: Literal[1] = 1
    started_at: str
    """ISO 8601, UTC."""
    took_s: float
    commit: str
    """Revision of the code; ends in `+` if files differed from it."""
    machine: Machine
    libraries: dict[str, str]
    settings: dict[str, Any]
    scenarios: dict[str, str]
    """Name → what it is, in one line; in the order in which they ran."""
    targets: tuple[Target, ...]
    samples: tuple[Sample, ...]
    probes: tuple[Probe, ...] = ()
    soak: Soak | None = None
    skipped: dict[str, str] = {}
    """What was not measured → why."""


def save(run: Run, path: Path) -> None:
    """Write the run as indented JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(run), indent=1) + b"\n")


def load(path: Path) -> Run:
    """Read a run. Raises OSError, or msgspec.ValidationError naming the field."""
    return msgspec.json.decode(path.read_bytes(), type=Run)


def of(run: Run, scenario: str, load: str, contender: str) -> list[Sample]:
    """All rounds of one contender under one load, in order."""
    wanted = (scenario, load, contender)
    found = [sample for sample in run.samples if (sample.scenario, sample.load, sample.contender) == wanted]
    return sorted(found, key=lambda sample: sample.round)


def values(samples: list[Sample], metric: Metric) -> list[float]:
    """The metric of each round."""
    return [float(value) for sample in samples if (value := getattr(sample, metric)) is not None]


def reached(run: Run, target: Target) -> list[float]:
    """What each round made of a target: a share, or the metric where there is nothing to compare it with."""
    ours = values(of(run, target.scenario, target.load, target.ours), target.metric)
    if not target.theirs:
        return ours
    theirs = values(of(run, target.scenario, target.their_load or target.load, target.theirs), target.metric)
    return ratios(ours, theirs) if len(ours) == len(theirs) else []


def compare(run: Run, scenario: str, load: str, metric: Metric, ours: str, theirs: str) -> Spread | None:
    """Ours ÷ theirs, round by round; None if either was not measured."""
    mine, other = of(run, scenario, load, ours), of(run, scenario, load, theirs)
    if not mine or not other:
        return None
    found = ratios(values(mine, metric), values(other, metric))
    return spread(found) if found else None


def judged(samples: list[Sample]) -> list[Sample]:
    """The samples, each marked if the load generator limited it.

    The null server is the ceiling itself, and the bare session has no generator.
    """
    ceilings = {
        (sample.scenario, sample.load, sample.round): sample.requests_per_s
        for sample in samples
        if sample.contender == NULL
    }
    return [
        sample
        if sample.contender in (NULL, BARE)
        else msgspec.structs.replace(
            sample,
            limited=limit_of(
                sample.requests_per_s,
                ceilings.get((sample.scenario, sample.load, sample.round)),
                sample.generator_cores,
                sample.server_cores,
            ),
        )
        for sample in samples
    ]
