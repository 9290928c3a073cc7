"""Which rate to try next, and when the highest that a server sustains is known. Pure: it is given the measurements.

Rates grow until one breaks the target, then the gap is halved (geometrically, as rates multiply) until it is narrow.
One measurement proves little near the limit, where chance decides: the rate that is reported and the one above it are
measured until the target was kept, or broken, often enough and more often than not. A pass by luck is outvoted there.
What disturbs a machine breaks targets and never keeps them, so a rate that broke it is measured again before that is
believed, wherever it lies. A measurement that the generator spoilt has no vote; only a rate at which it does so again
and again is beyond it.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Final, Literal

import msgspec

Outcome = Literal["kept", "broken", "limited"]
"""The target was kept; the server broke it; or the generator was at its own limit, so that it is not known."""
Kind = Literal["capacity", "at least", "none", "unknown", "unsettled"]
Votes = Mapping[float, Counter[Outcome]]

SPOILT: Final = 3
"""Measurements that the generator spoilt, until the rate counts as beyond it: one or two are a disturbance."""


class Step(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One measurement at one rate."""

    rate_per_s: float
    """As it was requested."""
    seconds: float
    sent: int
    answered: int
    refused: int
    """RESOURCE_EXHAUSTED."""
    p50_us: float | None
    p99_us: float | None
    """Of answers, from the instant at which each request was due; None if there was none."""
    limited: str = ""
    """Why these are the generator's figures and not the server's; empty if they are not."""
    late_us: float | None = None
    """How far the generator was behind its schedule, 99th percentile."""
    generator_cores: float | None = None
    server_cores: float | None = None
    cpu_us: float | None = None
    """The server's CPU for each request."""
    batch_rows: float | None = None
    hit_share: float | None = None

    @property
    def lost_share(self) -> float:
        """Share of requests that were refused or failed."""
        return (self.sent - self.answered) / self.sent if self.sent else 0.0


@dataclass(frozen=True, kw_only=True)
class Goal:
    """What a rate must keep, and how exactly the highest is wanted. Raises ValueError for what cannot be searched."""

    target_p99_ms: float
    lost_share_max: float = 0.001
    """Share of requests that may be refused or fail."""
    precision: float = 0.05
    """The rate above the reported one is at most so much higher."""
    start_per_s: float = 100.0
    growth: float = 2.0
    """From one rate to the next while none has broken the target."""
    rate_min_per_s: float = 1.0
    rate_max_per_s: float = 1e6
    """What the generator can do."""
    votes: int = 2
    """Times that the reported rate was kept, at least."""
    doubts: int = 2
    """Times that a rate has to break the target until that is believed."""
    steps_max: int = 40

    def __post_init__(self) -> None:
        if not 0 < self.rate_min_per_s <= self.rate_max_per_s:
            raise ValueError(f"rates from {self.rate_min_per_s:g}/s to {self.rate_max_per_s:g}/s: there are none")
        if self.target_p99_ms <= 0 or self.precision <= 0 or self.growth <= 1:
            raise ValueError(f"target and precision must be above 0, growth above 1: {self}")
        if self.votes < 1 or self.doubts < 1:
            raise ValueError(f"votes and doubts must be at least 1: {self}")


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The end of a search."""

    kind: Kind
    """capacity: the server keeps `rate_per_s`, and breaks the target at `above_per_s`. at least: it keeps that rate,
    and the generator can send no more. none: it keeps not even the lowest rate. unknown: the generator was the limit at
    every rate. unsettled: the steps were used up; `rate_per_s` is the best guess, if there is one."""
    rate_per_s: float | None
    """The highest sustainable rate."""
    above_per_s: float | None
    """The lowest rate that was not kept; with `at least`, what the generator could not show, if it was tried."""


def outcome(step: Step, goal: Goal) -> Outcome:
    """What a measurement says of its rate. Refusals and failures are the server's own, however late they were sent."""
    if step.lost_share > goal.lost_share_max:
        return "broken"
    if step.limited:
        return "limited"
    kept = step.p99_us is not None and step.p99_us <= goal.target_p99_ms * 1000
    return "kept" if kept else "broken"


def next_rate(steps: Sequence[Step], goal: Goal) -> float | Verdict:
    """The rate to measure next, per second, or the end. The same steps always lead to the same."""
    votes = tally(steps, goal)
    low, high = _bounds(votes, goal)
    proposal = _proposal(votes, low, high, goal)
    if len(steps) >= goal.steps_max and not isinstance(proposal, Verdict):
        return Verdict(kind="unsettled", rate_per_s=low, above_per_s=high)
    return proposal


def _proposal(votes: Votes, low: float | None, high: float | None, goal: Goal) -> float | Verdict:
    tied = [rate for rate, cast in votes.items() if _leader(cast, goal) is None and _between(rate, low, high)]
    if tied:
        return min(tied)
    if low is None:
        return _below(high, votes, goal)
    if high is None:
        if low < goal.rate_max_per_s:
            return min(_short(low * goal.growth), goal.rate_max_per_s)
        return Verdict(kind="at least", rate_per_s=low, above_per_s=None) if _settled(votes[low], goal) else low
    middle = _short(sqrt(low * high))
    if high > low * (1 + goal.precision) and low < middle < high:
        return middle
    if not _settled(votes[low], goal):
        return low
    kind: Kind = "capacity" if _leader(votes[high], goal) == "broken" else "at least"
    return Verdict(kind=kind, rate_per_s=low, above_per_s=high)


def tally(steps: Sequence[Step], goal: Goal) -> Votes:
    """For each rate, how often it had which outcome."""
    votes: defaultdict[float, Counter[Outcome]] = defaultdict(Counter)
    for step in steps:
        votes[step.rate_per_s][outcome(step, goal)] += 1
    return votes


def _bounds(votes: Votes, goal: Goal) -> tuple[float | None, float | None]:
    """The highest rate that is believed to be kept, and the lowest above all doubt that is not."""
    high = min(_led_by(votes, goal, "broken", "limited"), default=None)
    low = max((rate for rate in _led_by(votes, goal, "kept") if high is None or rate < high), default=None)
    return low, high


def _below(high: float | None, votes: Votes, goal: Goal) -> float | Verdict:
    """No rate has been kept."""
    if high is None:
        return min(max(goal.start_per_s, goal.rate_min_per_s), goal.rate_max_per_s)
    if high > goal.rate_min_per_s:  # ever larger steps: who knows how far it is
        tried = sum(1 for _ in _led_by(votes, goal, "broken", "limited"))
        return max(_short(high / goal.growth ** (2 * tried)), goal.rate_min_per_s)
    kind: Kind = "none" if _leader(votes[high], goal) == "broken" else "unknown"
    return Verdict(kind=kind, rate_per_s=None, above_per_s=high)


def _led_by(votes: Votes, goal: Goal, *outcomes: Outcome) -> Iterator[float]:
    return (rate for rate, cast in votes.items() if _leader(cast, goal) in outcomes)


def _leader(cast: Counter[Outcome], goal: Goal) -> Outcome | None:
    """What is believed of a rate; None if it has to be measured again."""
    kept, broken, limited = cast["kept"], cast["broken"], cast["limited"]
    if limited >= SPOILT and limited > kept + broken:
        return "limited"
    if kept > broken:
        return "kept"
    return "broken" if broken > kept and broken >= goal.doubts else None


def _settled(cast: Counter[Outcome], goal: Goal) -> bool:
    return cast["kept"] >= goal.votes


def _between(rate: float, low: float | None, high: float | None) -> bool:
    return (low is None or rate > low) and (high is None or rate < high)


def _short(rate: float) -> float:
    """Four digits: a rate that people can read, and ask for again."""
    return float(f"{rate:.4g}")
