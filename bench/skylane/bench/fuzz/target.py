"""What can be fuzzed: something that plays rounds, each decided by a seed."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Final

Play = Callable[[int], int]
"""Plays the round of this seed, and returns how many calls it made. Raises AssertionError when something is wrong."""

SIMULATED: Final = "simulated"
REAL: Final = "real"


@dataclass(frozen=True)
class Target:
    """One kind of search."""

    name: str
    description: str
    opened: Callable[[], AbstractContextManager[Play]]
    """What it needs for all its rounds, such as a server, and the way to play one."""
    calls: str = SIMULATED
    """Whether its calls are simulated, or real ones over sockets."""


def pure(name: str, description: str, play: Play) -> Target:
    """A target that needs nothing but its seed."""
    return Target(name, description, lambda: nullcontext(play))
