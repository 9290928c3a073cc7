"""The tiny model alone, and beside a slow one that is asked all the time on the same server."""

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from skylane.bench.saturation.behaviours import SEED, Stage, sample
from skylane.bench.saturation.results import OURS, Sample, Target
from skylane.bench.saturation.scenarios import BASELINE, Contender
from skylane.bench.sending import Log, Sending, on_time, send

NAME: Final = "neighbour"
RATE_PER_S: Final = 500.0
CONNECTIONS: Final = 4
STREAMS_MAX: Final = 1000
SLOW_ROWS: Final = 2500
SLOW_IN_FLIGHT: Final = 2
LEAD_S: Final = 0.5
"""How long the slow model is asked before and after: the time that a client takes to start, and some."""
ALONE, BESIDE = "alone", "beside"
SLOW: Final = ", the slow one"
CONTENDERS: Final = (
    Contender(OURS, "native", "logistic"),
    Contender(BASELINE, "grpc.aio batching", "logistic"),
)


class Neighbour:
    """See skylane.bench.saturation.behaviours.Behaviour."""

    name = NAME
    title = f"logistic regression, {RATE_PER_S:.0f} requests/s, alone and beside a model whose runs take about 50 ms"
    baseline = ""
    targets = (
        Target(
            scenario=NAME, load=BESIDE, metric="p99_us", ours=OURS, theirs=OURS + SLOW, at_most=1 / 10,
        ),
        Target(scenario=NAME, load=BESIDE, metric="p99_us", ours=OURS, theirs=BASELINE, at_most=1 / 10),
    )  # fmt: skip

    def __init__(self, contenders: Sequence[Contender] = CONTENDERS, slow_model: str = "forest_large") -> None:
        slow = [Contender(each.label + SLOW, each.kind, slow_model) for each in contenders]
        self._pairs = tuple(zip(contenders, slow, strict=True))
        self.contenders, self.samples = (*contenders, *slow), 3 * len(contenders)

    def measure(self, stage: Stage, round_: int, tell: Callable[[Sample | str], None]) -> list[Sample]:
        """See Behaviour."""
        samples = []
        for contender, large in self._pairs:
            tell(f"{NAME}, round {round_ + 1}: {contender.label}")
            for found in self._measure(stage, contender, large, round_):
                samples.append(found)
                tell(found)
        return samples

    def _measure(self, stage: Stage, contender: Contender, large: Contender, round_: int) -> list[Sample]:
        rng, seconds = np.random.default_rng(SEED + round_), 2 * stage.seconds
        due_us = on_time(RATE_PER_S, seconds, rng)
        small = stage.order(contender, 1, CONNECTIONS, STREAMS_MAX)
        stage.check(contender, 1)
        alone = send(small(np.zeros(len(due_us), np.int64), due_us), stage.folder)
        slow = stage.order(large, SLOW_ROWS, 1, SLOW_IN_FLIGHT)
        first = send(slow(np.zeros(2 * SLOW_IN_FLIGHT, np.int64)), stage.folder)
        each_s = first.wall_s / len(first.status)
        count = max(4, round((seconds + 4 * LEAD_S) / each_s))
        background = Sending(slow(np.zeros(count, np.int64)), stage.folder)
        lead = round(LEAD_S * RATE_PER_S)  # while the other client starts: sent, and not counted
        early = np.linspace(0, 1e6 * LEAD_S, lead, endpoint=False).astype(np.int64)
        both_us = np.concatenate([early, due_us + round(1e6 * LEAD_S)])
        both = send(small(np.zeros(len(both_us), np.int64), both_us), stage.folder)
        beside = Log(both.start_us[lead:], both.status[lead:], both.took_us[lead:], both.late_us)
        slow_log = background.finish()
        label = contender.label
        return [
            sample((NAME, ALONE, label, round_), alone, seconds),
            sample((NAME, BESIDE, label, round_), beside, seconds),
            sample((NAME, BESIDE, large.label, round_), slow_log, slow_log.wall_s),
        ]
