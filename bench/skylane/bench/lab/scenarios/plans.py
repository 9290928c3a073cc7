"""Scenarios as the lab runs them: those of skylane.bench.workload on a schedule, and one in a closed loop."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import takewhile
from random import Random
from types import MappingProxyType
from typing import Final, Literal

import numpy as np

from skylane.bench.lab.measure.figures import CONNECTIONS, STREAMS, Closed, Open
from skylane.bench.workload.arrivals import instants
from skylane.bench.workload.scenarios import SCENARIOS, Curve, Kind

LARGE_ROWS: Final = 500
"""Of a large request."""
USUAL: Final[Mapping[Kind, float]] = MappingProxyType({Kind.USUAL: 1.0})


@dataclass(frozen=True)
class Plan:
    """One scenario."""

    name: str
    title: str
    loop: Literal["open", "closed"]
    load: Callable[[float, float, np.random.Generator], Open | Closed]
    """Of the full load per second, the seconds, and chance."""
    mix: Mapping[Kind, float] = field(default_factory=lambda: USUAL)
    """Kind of request → its share."""
    zipf: float = 0.0
    """How uneven rows repeat; 0: they do not."""


def scheduled(curve: Curve) -> Callable[[float, float, np.random.Generator], Open]:
    """A load that follows a curve, each request independent of the others; there is at least one."""

    def load(rate_per_s: float, seconds: float, rng: np.random.Generator) -> Open:
        coming = instants(lambda at: rate_per_s * curve(at / seconds), Random(int(rng.integers(2**32))))
        due_us = [int(at * 1e6) for at in takewhile(lambda at: at < seconds, coming)] or [0]
        return Open(due_us=np.array(due_us, np.int64), seconds=seconds)

    return load


def _peak(_rate: float, seconds: float, _rng: np.random.Generator) -> Closed:
    return Closed(seconds=seconds)


TITLES: Final = {
    "slow-model": f"one request in fifty has {LARGE_ROWS} rows: do the others wait for it?",
}
"""Of scenarios whose description names options of Locust."""
LEFT_OUT: Final = ("soak",)
"""It is `steady` for an hour: here --seconds says how long."""
PLANS: Final = {
    plan.name: plan
    for plan in (
        *(
            Plan(each.name, TITLES.get(each.name, each.description), "open", scheduled(each.curve), each.mix, each.zipf)
            for each in SCENARIOS.values()
            if each.name not in LEFT_OUT
        ),
        Plan("peak", f"{CONNECTIONS} connections with {STREAMS} requests in flight on each, always", "closed", _peak),
    )
}
