"""Decides from a worker's heartbeats whether it is alive: one that is stopped or hangs sends none. Pure.

Counted in ticks of the supervisor, not in seconds: when the whole machine or the whole container has been frozen, the
supervisor has slept as well, and nobody is taken for dead.
"""

from typing import Final

EVERY_S: Final = 1.0
"""How often a worker beats, and how often its supervisor ticks."""
MISSED_MAX: Final = 10
"""Ticks without a beat after which a worker hangs. A worker that loads a large model or answers a large request holds
its interpreter for a second or two at most."""
STARTING_MAX: Final = 120
"""Ticks that a worker gets for its first beat: it has to import everything before."""


class Heartbeat:
    """The beats of one worker."""

    def __init__(self) -> None:
        self.has_begun = False
        """Whether any beat has come."""
        self.missed = 0
        """Ticks since the last beat."""

    def beat(self) -> None:
        """A heartbeat has arrived."""
        self.has_begun, self.missed = True, 0

    def tick(self) -> bool:
        """A tick has passed. Returns whether the worker hangs."""
        self.missed += 1
        return self.missed > (MISSED_MAX if self.has_begun else STARTING_MAX)
