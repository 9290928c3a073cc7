"""Whether one run was better than another, where their spread allows a verdict. Pure.

Each run has several rounds of each scenario. A difference counts as shown if every round of the one beat every round of
the other, if there were so many rounds that this is no accident, and if it is beyond what changes from one run to the
next without a cause: a few percent, and what the machine itself changed. The harness, which measured itself in both
runs, tells how much faster or slower the same work went.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb
from statistics import median
from typing import Final, Literal

from skylane.bench.figures import Spread
from skylane.cli.live import share_text

Kind = Literal["time", "cost", "rate", "size"]
"""What less or more of it means, and what a faster machine does to it: a rate rises, a time and a cost fall."""

CHANCE_MAX: Final = 0.05
"""How often equal servers may come out as different."""

LEAST: Final = 0.03
"""Differences below are never shown: rounds share a process, and the same server started twice differs by so much."""

BETTER: Final[dict[Kind, tuple[str, str]]] = {
    "time": ("faster", "slower"), "cost": ("cheaper", "dearer"), "rate": ("faster", "slower"),
    "size": ("smaller", "larger"),
}  # fmt: skip
"""What it is called, if there is a difference: better, and worse."""
NOT_SHOWN: Final = "no difference shown"


@dataclass(frozen=True)
class Verdict:
    """What can be said about one figure of two runs."""

    ratio: Spread
    """This run's ÷ the other's: of the medians, and of the rounds that lie furthest apart."""
    word: str
    better: bool | None
    """None if nothing was shown."""
    why: str
    """Why nothing was shown; empty otherwise."""


def verdict(now: Sequence[float], before: Sequence[float], kind: Kind, machine: float = 1.0) -> Verdict:
    """Compare the rounds of two runs; values are above 0. Raises ValueError if either has none.

    `machine`: how many times as fast as then the harness did its own work now.
    """
    if not now or not before or min(*now, *before) <= 0:
        raise ValueError("a comparison takes values above 0, on both sides")
    low, high = min(now) / max(before), max(now) / min(before)
    ratio = Spread(median(now) / median(before), low, high, min(len(now), len(before)))
    if low <= 1 <= high:
        return Verdict(ratio, NOT_SHOWN, None, "rounds of the two overlap")
    if chance(len(now), len(before)) > CHANCE_MAX:
        return Verdict(ratio, NOT_SHOWN, None, f"{len(now)} and {len(before)} rounds can fall apart by chance")
    expected = {"time": 1 / machine, "cost": 1 / machine, "rate": machine, "size": 1.0}[kind]
    if low <= 1 + LEAST and high >= 1 / (1 + LEAST):
        return Verdict(ratio, NOT_SHOWN, None, f"some rounds are less than {share_text(LEAST)} apart")
    if low <= max(expected, 1.0) * (1 + LEAST) and high >= min(expected, 1.0) / (1 + LEAST):
        return Verdict(ratio, NOT_SHOWN, None, f"the machine itself was {_speed(machine)}")
    better = (ratio.median > 1) == (kind == "rate")
    return Verdict(ratio, BETTER[kind][not better], better, "")


def chance(now: int, before: int) -> float:
    """How likely it is that one of two equal servers wins every round against the other's, in either direction."""
    return min(1.0, 2 / comb(now + before, now))


def _speed(machine: float) -> str:
    return f"{share_text(abs(machine - 1))} {'faster' if machine > 1 else 'slower'}"
