"""Scenarios as the lab runs them: a schedule, or a closed loop."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from bench.lab.measure import Closed, Open, arrivals

CONNECTIONS: Final = 8
STREAMS: Final = 8


@dataclass(frozen=True)
class Plan:
    """One scenario."""

    name: str
    title: str
    loop: Literal["open", "closed"]
    load: Callable[[float, float, np.random.Generator], Open | Closed]
    """Of the mean rate per second, the seconds, and chance."""


def _steady(rate: float, seconds: float, rng: np.random.Generator) -> Open:
    return Open(due_us=arrivals(rate, seconds, rng), seconds=seconds, connections=CONNECTIONS)


def _peak(_rate: float, seconds: float, _rng: np.random.Generator) -> Closed:
    return Closed(seconds=seconds, connections=CONNECTIONS, streams=STREAMS)


PLANS: Final = {
    plan.name: plan
    for plan in (
        Plan("steady", "requests at one rate, independent of each other", "open", _steady),
        Plan("peak", f"{CONNECTIONS} connections with {STREAMS} requests in flight on each, always", "closed", _peak),
    )
}
