"""What may be run, by name. Plain data, and pure functions of time."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from itertools import pairwise
from types import MappingProxyType
from typing import Final

Curve = Callable[[float], float]
"""Share of the test's time that has passed, 0 to 1 → share of the full load, 0 to 1."""


class Kind(Enum):
    """What a request asks."""

    USUAL = "usual"
    """A row of the model that is tested."""
    ANY = "any"
    """A row of any model that the server has."""
    LARGE = "large"
    """Many rows of the model that is to be slow."""
    BAD = "bad"
    """Something that the server must refuse."""


def along(*points: tuple[float, float]) -> Curve:
    """Straight lines between (time, load); times ascend from 0 to 1, and two equal ones are a jump."""

    def curve(time: float) -> float:
        for (t0, load0), (t1, load1) in pairwise(points):
            if time < t1:
                return load0 + (load1 - load0) * (time - t0) / (t1 - t0)
        return points[-1][1]

    return curve


STEADY: Final = along((0, 1), (1, 1))
STEPS: Final = along((0, 0.25), (0.25, 0.25), (0.25, 0.5), (0.5, 0.5), (0.5, 0.75), (0.75, 0.75), (0.75, 1), (1, 1))
SPIKE: Final = along((0, 0.2), (0.4, 0.2), (0.4, 1), (0.6, 1), (0.6, 0.2), (1, 0.2))


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """A load with a name."""

    name: str
    description: str
    curve: Curve = STEADY
    seconds: float = 60.0
    """How long, unless --run-time says otherwise."""
    mix: Mapping[Kind, float] = field(default_factory=lambda: MappingProxyType({Kind.USUAL: 1.0}))
    """Kind → its share of all requests."""
    zipf: float = 0.0
    """How uneven rows repeat, unless --zipf says otherwise: the k-th is drawn in proportion to k ** -zipf."""


def _mix(**shares: float) -> Mapping[Kind, float]:
    return MappingProxyType({Kind[name.upper()]: share for name, share in shares.items()})


SCENARIOS: Final[Mapping[str, Scenario]] = {
    scenario.name: scenario
    for scenario in (
        Scenario(name="steady", description="the same load all the time"),
        Scenario(name="ramp", description="from nothing to the full load", curve=along((0, 0), (1, 1))),
        Scenario(name="step", description="a quarter of the load, a half, three quarters, all of it", curve=STEPS),
        Scenario(name="spike", description="a fifth of the load, and for a fifth of the time all of it", curve=SPIKE),
        Scenario(name="soak", description="the same load for an hour: does memory or latency creep?", seconds=3600.0),
        Scenario(name="mixed-models", description="every model that the server has, in turn", mix=_mix(any=1)),
        Scenario(
            name="slow-model",
            description="one request in fifty is large (--large-rows) and for --slow-model: do the others wait for it?",
            mix=_mix(usual=0.98, large=0.02),
        ),
        Scenario(name="hot-keys", description="few rows often, most rarely: what a cache is for", zipf=1.2),
        Scenario(
            name="bad-input",
            description="one request in a hundred is wrong, and must be refused with the right status",
            mix=_mix(usual=0.99, bad=0.01),
        ),
    )
}  # fmt: skip
