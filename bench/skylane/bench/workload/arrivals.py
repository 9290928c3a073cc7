"""When requests are due at a rate that changes with time, and who sends the next. Pure: time comes from outside.

Latency is counted from the instant at which a request was due. A server that stalls for a second then shows requests
that took a second, and not a gap without requests.
"""

import math
import random
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

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


def poisson_us(rate_per_s: float, seconds: float, rng: np.random.Generator, start_s: float = 0.0) -> NDArray[np.int64]:
    """Microseconds at which independent requests are due: a Poisson process, given how many there are."""
    count = max(1, round(rate_per_s * seconds))
    return np.sort(rng.uniform(start_s, start_s + seconds, count) * 1e6).astype(np.int64)


class Arrivals:
    """Hands out instants to those who send: each to one of them, the oldest first, however late.

    So none is left out: not while all senders wait for the server, and not at the end of a run.
    """

    def __init__(self, due: Iterator[float], began_at: float, lasts_s: float = math.inf) -> None:
        """`due`: seconds since `began_at`, which is on the caller's clock."""
        self._due, self._began_at = due, began_at
        self._ends_at = began_at + lasts_s
        self.taken = self.late = 0
        """How many were handed out, and how many of these too late, because all senders were waiting."""

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
