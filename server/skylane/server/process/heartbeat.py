"""Decides from a worker's heartbeats whether it is alive: one that is stopped or hangs sends none. Pure.

Counted in ticks of the supervisor, not in seconds: when the whole machine or the whole container has been frozen, the
supervisor has slept as well, and nobody is taken for dead.
"""

from typing import Final

EVERY_S: Final = 1.0
"""How often a worker beats, and how often its supervisor ticks."""
MISSED_MAX: Final = 5
"""Ticks without a beat after which a worker hangs. A worker that lets go of a large model or answers a large request
holds its interpreter for a second at most."""
LATE: Final = 2
"""Ticks without a beat after which the log says so."""
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

    @property
    def is_late(self) -> bool:
        """Whether, in this tick, a beat has been missing for so long that the log should say so."""
        return self.has_begun and self.missed == LATE + 1

    def tick(self) -> bool:
        """A tick has passed. Returns whether the worker hangs."""
        self.missed += 1
        return self.missed > (MISSED_MAX if self.has_begun else STARTING_MAX)
