"""The tiny model alone, and beside a slow one that is asked all the time on the same server."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from skylane.bench.client.sending import Log, Order, Sending, send
from skylane.bench.lab.baselines.contestants import BASELINE, Contestant
from skylane.bench.lab.baselines.record import OURS, Sample, Target, sample_of
from skylane.bench.lab.baselines.rig import Rig
from skylane.bench.lab.baselines.scenario import SEED, LongScenario, Report
from skylane.bench.lab.measure.figures import Closed, Observed, Open, measured
from skylane.bench.workload.arrivals import poisson_us

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
CONTESTANTS: Final = (
    Contestant(OURS, "native", "logistic"),
    Contestant(BASELINE, "grpc.aio batching", "logistic"),
)


class Neighbour(LongScenario):
    """See the module."""

    name = NAME
    title = f"logistic regression, {RATE_PER_S:.0f} requests/s, alone and beside a model whose runs take about 50 ms"
    targets = (
        Target(scenario=NAME, load=BESIDE, metric="p99_us", ours=OURS, theirs=OURS + SLOW, at_most=1 / 10),
        Target(scenario=NAME, load=BESIDE, metric="p99_us", ours=OURS, theirs=BASELINE, at_most=1 / 10),
    )

    def __init__(self, contestants: Sequence[Contestant] = CONTESTANTS, slow_model: str = "forest_large") -> None:
        slow = [replace(each, label=each.label + SLOW, model=slow_model) for each in contestants]
        self._pairs = tuple(zip(contestants, slow, strict=True))
        self.contestants = (*contestants, *slow)

    def samples_per_round(self) -> int:
        return 3 * len(self._pairs)

    def round(self, rig: Rig, seconds: float, round_: int, report: Report) -> Iterator[Sample]:
        for contestant, slow in self._pairs:
            report(f"{NAME}, round {round_ + 1}: {contestant.label}")
            yield from _measure(rig, seconds, contestant, slow, round_)


def _measure(rig: Rig, seconds: float, contestant: Contestant, slow: Contestant, round_: int) -> list[Sample]:
    rng, seconds = np.random.default_rng(SEED + round_), 2 * seconds
    due_us = poisson_us(RATE_PER_S, seconds, rng)
    address = rig.servers[contestant.kind].address
    small = Order(
        address=address, bodies=[rig.exchange(contestant, 1).body], connections=CONNECTIONS, streams=STREAMS_MAX,
        picks=np.zeros(len(due_us), np.int64), due_us=due_us,
    )  # fmt: skip
    rig.check(contestant, 1)
    alone = send(small, rig.folder)
    large = Order(
        address=address, bodies=[rig.exchange(slow, SLOW_ROWS).body], connections=1, streams=SLOW_IN_FLIGHT,
        picks=np.zeros(2 * SLOW_IN_FLIGHT, np.int64),
    )  # fmt: skip
    first = send(large, rig.folder)
    each_s = first.wall_s / len(first.status)
    count = max(4, round((seconds + 4 * LEAD_S) / each_s))
    background = Sending(replace(large, picks=np.zeros(count, np.int64)), rig.folder)
    lead = round(LEAD_S * RATE_PER_S)  # while the other client starts: sent, and not counted
    early_us = np.linspace(0, 1e6 * LEAD_S, lead, endpoint=False).astype(np.int64)
    both_us = np.concatenate([early_us, due_us + round(1e6 * LEAD_S)])
    both = send(replace(small, picks=np.zeros(len(both_us), np.int64), due_us=both_us), rig.folder)
    beside = Log(both.start_us[lead:] - round(1e6 * LEAD_S), both.status[lead:], both.took_us[lead:], both.late_us)
    slow_log = background.finish()
    schedule = Open(due_us=due_us, seconds=seconds)
    return [
        sample_of((NAME, ALONE, contestant.label, round_), measured(Observed(alone), schedule)),
        sample_of((NAME, BESIDE, contestant.label, round_), measured(Observed(beside), schedule)),
        sample_of((NAME, BESIDE, slow.label, round_), measured(Observed(slow_log), Closed(seconds=slow_log.wall_s))),
    ]
