"""The file that `skylane bench baselines` writes, and picking figures out of it. No measuring."""

from collections.abc import Sequence
from typing import Final, Literal

import msgspec

from skylane.bench.figures import Spread, ratios, spread
from skylane.bench.lab.measure.figures import Measured
from skylane.bench.lab.measure.generator_limit import Ceiling, limited_by_generator
from skylane.bench.lab.record import Record, RunRecord

Metric = Literal[
    "cpu_us", "p50_us", "p99_us", "wall_us", "requests_per_s", "rss_mib", "refused_p99_us", "recovered_s", "hit_share"
]
METRICS: Final[dict[Metric, str]] = {
    "cpu_us": "CPU",
    "p50_us": "p50",
    "p99_us": "p99",
    "wall_us": "time",
    "requests_per_s": "rate",
    "rss_mib": "memory",
    "refused_p99_us": "p99 of refusals",
    "recovered_s": "recovery",
    "hit_share": "hits",
}

NULL: Final = "does nothing"
"""Label of the null server."""
OURS: Final = "skylane"
"""Label of our server on its native transport, and how the labels of its other forms begin."""
BARE: Final = "bare session.run"
"""Label of the model in this process, without a server."""


class Sample(Record, frozen=True, kw_only=True):
    """One contestant under one load, for one round. Replies were compared with the right answer before and after."""

    scenario: str
    load: str
    """Connections × streams on each, as "8x8"."""
    contestant: str = msgspec.field(name="contender")
    """Label of the contestant."""
    round: int
    requests: int
    wall_s: float
    """From the first request sent to the last reply; of a schedule, its length."""
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
    """Cores that other programs on the machine used meanwhile: above a tenth or so, expect noise."""
    limited: str = ""
    """Why the rate is the load generator's and not the server's; empty if it is not."""
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


class Target(Record, frozen=True, kw_only=True):
    """What we want: a metric of one contestant as a share of another's, in the same rounds; or the metric itself."""

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


class Probe(Record, frozen=True, kw_only=True):
    """A single figure without load: memory of idle connections, CPU of an idle server."""

    name: str
    contestant: str = msgspec.field(name="contender")
    value: float
    unit: str
    note: str
    at_most: float | None = None


class Soak(Record, frozen=True, kw_only=True):
    """Memory of a server under load, over time."""

    contestant: str = msgspec.field(name="contender")
    load: str
    requests: int
    seconds: tuple[float, ...]
    rss_mib: tuple[float, ...]


class BaselinesRun(RunRecord, frozen=True, kw_only=True):
    """One run. `settings`: generator, rounds, seconds, quick, baselines (scenario → label), servers → arguments."""

    schema: Literal[1] = 1
    scenarios: dict[str, str]
    """Name → what it is, in one line; in the order in which they ran."""
    targets: tuple[Target, ...]
    samples: tuple[Sample, ...]
    probes: tuple[Probe, ...] = ()
    soak: Soak | None = None
    skipped: dict[str, str] = msgspec.field(default_factory=dict)
    """What was not measured → why."""


def sample_of(where: tuple[str, str, str, int], measured: Measured, **more: float | str | None) -> Sample:
    """A measurement as it is kept. `where`: scenario, load, label of the contestant, round."""
    scenario, load, contestant, round_ = where
    latency, did, seconds = measured.latency, measured.did, measured.seconds
    fields: dict[str, float | str | None] = {
        "requests_per_s": round(measured.answered / seconds, 1),
        "limited": measured.limited_by_generator,
        "batch_rows": did.batch_rows if did else None,
        "hit_share": did.hit_share if did else None,
    }
    return Sample(
        scenario=scenario, load=load, contestant=contestant, round=round_, requests=measured.sent,
        wall_s=round(seconds, 6),
        wall_us=round(seconds / max(measured.answered, 1) * 1e6, 2),
        p50_us=latency.p50_us if latency else 0.0, p99_us=latency.p99_us if latency else 0.0,
        p999_us=latency.p999_us if latency else 0.0, cpu_us=round(measured.server_cpu_us or 0.0, 2),
        server_cores=round(measured.server_cores or 0.0, 3), generator_cores=round(measured.generator_cores, 3),
        rss_mib=round(measured.rss_mib or 0.0, 1), other_cores=round(measured.other_cores or 0.0, 3),
        **(fields | more),  # type: ignore[arg-type]
    )  # fmt: skip


def subject_of(target: Target) -> str:
    """The metric, of which contestant, held against what."""
    ours = "" if target.ours == OURS else f"{target.ours.removeprefix(f'{OURS}, ')}: "
    theirs = target.theirs if target.theirs != target.ours else ""
    other = " ".join(filter(None, (theirs, f"at {target.their_load}" if target.their_load else "")))
    return ours + METRICS[target.metric] + (f" to {other}" if target.theirs else "")


def of(run: BaselinesRun, scenario: str, load: str, contestant: str) -> list[Sample]:
    """All rounds of one contestant under one load, in order."""
    wanted = (scenario, load, contestant)
    samples = [sample for sample in run.samples if (sample.scenario, sample.load, sample.contestant) == wanted]
    return sorted(samples, key=lambda sample: sample.round)


def values(samples: Sequence[Sample], metric: Metric) -> list[float]:
    """The metric of each round."""
    return [float(value) for sample in samples if (value := getattr(sample, metric)) is not None]


def reached(run: BaselinesRun, target: Target) -> list[float]:
    """What each round made of a target: a share, or the metric where there is nothing to compare it with."""
    ours = values(of(run, target.scenario, target.load, target.ours), target.metric)
    if not target.theirs:
        return ours
    theirs = values(of(run, target.scenario, target.their_load or target.load, target.theirs), target.metric)
    return ratios(ours, theirs) if len(ours) == len(theirs) else []


def compare(run: BaselinesRun, scenario: str, load: str, metric: Metric, ours: str, theirs: str) -> Spread | None:
    """Ours ÷ theirs, round by round; None if either was not measured."""
    pairs = reached(run, Target(scenario=scenario, load=load, metric=metric, ours=ours, theirs=theirs))
    return spread(pairs) if pairs and theirs else None


def marked(samples: Sequence[Sample]) -> list[Sample]:
    """The samples, each marked if it is near what the null server reached in its round.

    The null server is the ceiling itself, and the bare session has no generator.
    """
    ceilings = {
        (sample.scenario, sample.load, sample.round): Ceiling(sample.requests_per_s)
        for sample in samples
        if sample.contestant == NULL
    }

    def mark(sample: Sample) -> Sample:
        ceiling = ceilings.get((sample.scenario, sample.load, sample.round))
        if sample.contestant in (NULL, BARE):
            return msgspec.structs.replace(sample, limited="")
        if ceiling is None:
            return sample
        limited = limited_by_generator(
            requests_per_s=sample.requests_per_s, generator_cores=0.0, server_cores=None, late_us=None, p99_us=None,
            ceiling=ceiling,
        )  # fmt: skip
        return msgspec.structs.replace(sample, limited=sample.limited or limited)

    return [mark(sample) for sample in samples]
