"""Three times as many requests as a server can answer, for a while, and then few again."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from skylane.bench.client.sending import REFUSED, Log, Order, send
from skylane.bench.lab.baselines.contestants import BASELINE, Contestant
from skylane.bench.lab.baselines.record import OURS, Sample, Target, sample_of
from skylane.bench.lab.baselines.rig import Rig
from skylane.bench.lab.baselines.scenario import SEED, LongScenario, Report
from skylane.bench.lab.measure.figures import Closed, Observed, Open, measured
from skylane.bench.lab.measure.measurement import measure
from skylane.bench.workload.arrivals import poisson_us

NAME: Final = "overload"
ROWS: Final = 32
CONNECTIONS: Final = 8
STREAMS_MAX: Final = 1000
"""On each connection: the schedule is not held up by answers that do not come."""
IN_FLIGHT: Final = 64
CALM, TIMES = 0.5, 3.0
"""Load before and after, and between, as multiples of the capacity."""
TIMEOUT_S: Final = 1.0
"""A client's deadline: an answer that comes later is none."""
SLICE_S: Final = 0.05
CALM_SLICES: Final = 5
"""In a row, of which none is worse than usual: a single one may be, in the calm before as well."""
TARGET_MS: Final = 50
"""`target_p99_ms` of the model forest_large_target."""
OURS_TARGET: Final = f"{OURS}, target {TARGET_MS} ms"
PEAK, BEFORE, DURING, AFTER = "peak", "x 0.5", "x 3", "then"
CONTESTANTS: Final = (
    Contestant(OURS, "native", "forest_large"),
    Contestant(OURS_TARGET, "native", "forest_large_target"),
    Contestant(BASELINE, "grpc.aio batching", "forest_large"),
)


class Overload(LongScenario):
    """See the module."""

    name = NAME
    title = f"a forest of 300 trees, {ROWS} rows in a request: at its peak, then at half, 3 times and half of that"
    rows = ROWS
    targets = (
        Target(scenario=NAME, load=DURING, metric="p99_us", ours=OURS_TARGET, at_most=TARGET_MS * 1000),
        *(target
        for ours in (OURS, OURS_TARGET)
        for target in (
            Target(
                scenario=NAME, load=DURING, metric="requests_per_s", ours=ours, theirs=ours, their_load=PEAK,
                at_least=0.9,
            ),
            Target(scenario=NAME, load=DURING, metric="refused_p99_us", ours=ours, at_most=20_000),
            Target(scenario=NAME, load=AFTER, metric="recovered_s", ours=ours, at_most=1.0),
        )),
    )  # fmt: skip

    def __init__(self, contestants: Sequence[Contestant] = CONTESTANTS) -> None:
        self.contestants = tuple(contestants)

    def samples_per_round(self) -> int:
        return 4 * len(self.contestants)

    def round(self, rig: Rig, seconds: float, round_: int, report: Report) -> Iterator[Sample]:
        for contestant in self.contestants:
            report(f"{NAME}, round {round_ + 1}: {contestant.label}")
            yield from _measure(rig, seconds, contestant, round_)


def _measure(rig: Rig, seconds: float, contestant: Contestant, round_: int) -> list[Sample]:
    rig.check(contestant, ROWS)
    bodies, endpoint = [rig.exchange(contestant, ROWS).body], rig.endpoint(contestant)
    closed = Closed(seconds=seconds, connections=CONNECTIONS, streams=IN_FLIGHT // CONNECTIONS)
    peak = measure(replace(endpoint, pid=None), bodies, closed, rig.folder)
    samples = [sample_of((NAME, PEAK, contestant.label, round_), peak)]
    rng, seconds = np.random.default_rng(SEED + round_), max(seconds, 4 * SLICE_S)
    ends_s = [seconds, 3 * seconds, 5 * seconds]
    starts_s = [0.0, *ends_s[:-1]]
    due_us = np.concatenate(
        [
            poisson_us(peak.offered_per_s * times, end - start, rng, start)
            for times, start, end in zip((CALM, TIMES, CALM), starts_s, ends_s, strict=True)
        ]
    )
    order = Order(
        address=endpoint.address, bodies=bodies, connections=CONNECTIONS, streams=STREAMS_MAX,
        picks=np.zeros(len(due_us), np.int64), due_us=due_us, timeout_s=TIMEOUT_S,
    )  # fmt: skip
    log = send(order, rig.folder)
    phases = [part(log, start, end) for start, end in zip(starts_s, ends_s, strict=True)]
    recovered = recovered_s(phases[0], phases[2], starts_s[2], ends_s[2])
    for load, phase, start, end in zip((BEFORE, DURING, AFTER), phases, starts_s, ends_s, strict=True):
        samples.append(phase_sample((NAME, load, contestant.label, round_), log, phase, start, end, recovered))
    rig.check(contestant, ROWS)
    return samples


def phase_sample(
    where: tuple[str, str, str, int], log: Log, phase: Log, start_s: float, end_s: float, recovered: float
) -> Sample:
    """The figures of the requests that were due in this span: only what was answered in time counts as answered."""
    refused, sent = phase.status == REFUSED, len(phase.status)
    figures = measured(
        Observed(phase), Open(due_us=phase.start_us, seconds=end_s - start_s), judged=phase.took_us <= TIMEOUT_S * 1e6
    )
    return sample_of(
        where,
        figures,
        requests_per_s=goodput(log, start_s, end_s),
        offered_per_s=round(sent / (end_s - start_s), 1),
        refused_share=round(int(refused.sum()) / sent, 4),
        refused_p99_us=figures.refused_p99_us,
        recovered_s=recovered if where[1] == AFTER else None,
    )


def part(log: Log, start_s: float, end_s: float) -> Log:
    """The requests that were due in this span."""
    chosen = (log.start_us >= start_s * 1e6) & (log.start_us < end_s * 1e6)
    return Log(log.start_us[chosen], log.status[chosen], log.took_us[chosen], log.late_us)


def goodput(log: Log, start_s: float, end_s: float) -> float:
    """Answers in time that came in this span, whenever they were asked for, per second."""
    done_us = log.start_us + log.took_us
    good = log.ok & (log.took_us <= TIMEOUT_S * 1e6) & (done_us >= start_s * 1e6) & (done_us < end_s * 1e6)
    return round(int(good.sum()) / (end_s - start_s), 1)


def recovered_s(calm: Log, after: Log, start_s: float, end_s: float) -> float:
    """Seconds from `start_s` until requests are answered as in the calm before: until the first slices of time in a row
    in which all are answered, and half of them at least as soon as nine of ten were before.

    At most the length of `after`, which then means that it has not recovered.
    """
    usual_us = float(np.quantile(calm.took_us[calm.ok], 0.9)) if calm.ok.any() else 0.0
    calm_from_s, calm_slices = start_s, 0
    for slice_s in np.arange(start_s, end_s, SLICE_S):
        now = part(after, slice_s, slice_s + SLICE_S)
        if len(now.status) and (not now.ok.all() or float(np.median(now.took_us)) > usual_us):
            calm_from_s, calm_slices = float(slice_s) + SLICE_S, 0
        elif (calm_slices := calm_slices + 1) == CALM_SLICES:
            return round(calm_from_s - start_s, 3)
    return round(end_s - start_s, 3)
