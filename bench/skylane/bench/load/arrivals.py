"""When requests are due at a rate that changes with time, and who sends the next. Pure: time comes from outside.

Latency is counted from the instant at which a request was due. A server that stalls for a second then shows requests
that took a second, and not a gap in which nobody asked.
"""

import math
import random
from collections.abc import Callable, Iterator

STEP_S = 0.02
"""Within so long a rate is taken to stay as it is."""
LATE_S = 0.01
"""A request that is taken later than this has waited for someone to send it."""


def instants(rate: Callable[[float], float], rng: random.Random | None = None) -> Iterator[float]:
    """Seconds from the start, ascending, without end. `rate`: seconds → requests per second.

    With `rng` each request comes independently of the others (Poisson), else they are evenly spaced.
    """
    now = 0.0
    while True:
        wanted = rng.expovariate(1.0) if rng else 1.0  # of the rate's integral
        while (per_s := max(rate(now), 0.0)) * STEP_S < wanted:
            wanted -= per_s * STEP_S
            now += STEP_S
        now += wanted / per_s
        yield now


class Arrivals:
    """Hands out instants to those who send: each to one of them, the oldest first, however late.

    So none is left out: not while everybody waits for the server, and not at the end of a run.
    """

    def __init__(self, due: Iterator[float], began_at: float, lasts_s: float = math.inf) -> None:
        """`due`: seconds since `began_at`, which is on the caller's clock."""
        self._due, self._began_at = due, began_at
        self._ends_at = began_at + lasts_s
        self.taken = self.late = 0
        """How many were handed out, and of these how many when they were over already: everybody was waiting."""

    def close(self, at: float) -> None:
        """The run ends, if it has not: what was due by then is still handed out, and nothing else."""
        self._ends_at = min(self._ends_at, at)

    def take(self, now: float) -> float | None:
        """When the next request is due, which may be past: the one who asks sends it then, or at once.

        None after the end.
        """
        due_at = self._began_at + next(self._due)
        if due_at > self._ends_at:
            return None
        self.taken += 1
        self.late += now - due_at > LATE_S
        return due_at
