"""Three times as many requests as a server can answer, for a while, and then few again."""

from collections.abc import Callable, Sequence
from typing import Final

import msgspec
import numpy as np

from skylane.bench.saturation.behaviours import SEED, Stage, closed, sample, watched
from skylane.bench.saturation.results import OURS, Sample, Target
from skylane.bench.saturation.scenarios import BASELINE, Contender
from skylane.bench.sending import Log, on_time, send

NAME: Final = "overload"
ROWS: Final = 32
CONNECTIONS: Final = 8
STREAMS_MAX: Final = 1000
"""On each connection: the schedule is not held up by answers that do not come."""
IN_FLIGHT: Final = 64
CALM, TIMES = 0.5, 3.0
"""Load before and after, and between, as multiples of the capacity."""
TIMEOUT_S: Final = 1.0
"""A client's patience: an answer that comes later is none."""
SLICE_S: Final = 0.05
CALM_SLICES: Final = 5
"""In a row, of which none is worse than usual: a single one may be, in the calm before as well."""
TARGET_MS: Final = 50
"""`target_p99_ms` of skylane.bench.subjects.Subject forest_large_target."""
OURS_TARGET: Final = f"{OURS}, target {TARGET_MS} ms"
PEAK, BEFORE, DURING, AFTER = "peak", "x 0.5", "x 3", "then"
CONTENDERS: Final = (
    Contender(OURS, "native", "forest_large"),
    Contender(OURS_TARGET, "native", "forest_large_target"),
    Contender(BASELINE, "grpc.aio batching", "forest_large"),
)


class Overload:
    """See skylane.bench.saturation.behaviours.Behaviour."""

    name = NAME
    title = f"a forest of 300 trees, {ROWS} rows in a request: at its peak, then at half, 3 times and half of that"
    baseline = ""
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

    def __init__(self, contenders: Sequence[Contender] = CONTENDERS) -> None:
        self.contenders, self.samples = tuple(contenders), 4 * len(contenders)

    def measure(self, stage: Stage, round_: int, tell: Callable[[Sample | str], None]) -> list[Sample]:
        """See Behaviour."""
        samples = []
        for contender in self.contenders:
            tell(f"{NAME}, round {round_ + 1}: {contender.label}")
            for found in self._measure(stage, contender, round_):
                samples.append(found)
                tell(found)
        return samples

    def _measure(self, stage: Stage, contender: Contender, round_: int) -> list[Sample]:
        stage.check(contender, ROWS)
        order = stage.order(contender, ROWS, CONNECTIONS, IN_FLIGHT // CONNECTIONS)
        peak, did = watched(stage, contender, lambda: closed(stage, order, IN_FLIGHT, stage.seconds))
        capacity = len(peak.status) / peak.wall_s
        where = (NAME, contender.label, round_)
        found = [sample((NAME, PEAK, *where[1:]), peak, peak.wall_s, batch_rows=did["batch_rows"])]
        rng, seconds = np.random.default_rng(SEED + round_), max(stage.seconds, 4 * SLICE_S)
        ends_s = np.cumsum([seconds, 2 * seconds, 2 * seconds])
        due_us = np.concatenate(
            [
                on_time(capacity * times, length, rng, end - length)
                for times, length, end in zip((CALM, TIMES, CALM), np.diff(ends_s, prepend=0.0), ends_s, strict=True)
            ]
        )
        scheduled = stage.order(contender, ROWS, CONNECTIONS, STREAMS_MAX)
        log = send(scheduled(np.zeros(len(due_us), np.int64), due_us, timeout_s=TIMEOUT_S), stage.folder)
        before, during, after = (part(log, start, end) for start, end in zip((0.0, *ends_s[:-1]), ends_s, strict=True))
        recovery = {"recovered_s": recovered_s(before, after, float(ends_s[1]), float(ends_s[2]))}
        for load, phase, length, more in (
            (BEFORE, before, seconds, {}),
            (DURING, during, 2 * seconds, {}),
            (AFTER, after, 2 * seconds, recovery),
        ):
            figures = sample((NAME, load, *where[1:]), phase, length, TIMEOUT_S, **more)
            start_s = float(phase.start_us[0] / 1e6)
            rate = goodput(log, start_s, start_s + length)
            found.append(msgspec.structs.replace(figures, requests_per_s=rate))
        stage.check(contender, ROWS)
        return found


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
