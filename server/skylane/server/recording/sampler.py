"""Which batches are recorded while there are more rows than the budget. Pure: time and chance come from outside.

The unit of the decision is what was answered together: a batch that ran with those who shared its answers, or the calls
of one task that were answered from the cache. A unit is recorded with a probability that depends only on what happened
before it, never on the unit itself, and that is never 0. Therefore each row that was recorded stands for 1/probability
rows, and sums of rows weighted so are unbiased whatever the traffic does. docs/journal.md describes what follows.
"""

import math
from collections.abc import Callable
from typing import Final

WINDOW_S: Final = 1.0
HALF_LIFE_S: Final = 1.0
"""How fast higher traffic is forgotten: who pauses for a moment does not find the whole budget again."""
HALVINGS_MAX: Final = 60
"""So often can the probability halve within a window."""


class Sampler:
    """Decides for the units of one version. Not thread-safe."""

    def __init__(self, rows_per_second: float, chance: Callable[[], float]) -> None:
        """`chance`: as random.random."""
        self._budget, self._chance = rows_per_second, chance
        self._began_at = -math.inf
        self._rate = 0.0
        """Rows in a second, to be expected."""
        self._seen = self._kept = 0
        """Rows of this window, and those of them that were chosen."""
        self.seen = self.chosen = 0
        """The same since the start."""
        self._base = self.probability = 1.0
        """The probability of the next unit."""

    def choose(self, rows: int, now: float) -> float:
        """The probability with which this unit was chosen; 0 if it was not."""
        if now - self._began_at >= WINDOW_S:
            self._begin(now)
        probability = self.probability
        self._seen += rows
        self.seen += rows
        if probability < 1.0 and self._chance() >= probability:
            return 0.0
        self._keep(rows)
        return probability

    def add(self, rows: int, *, chosen: bool) -> None:
        """Further rows of a unit that was decided on before."""
        self._seen += rows
        self.seen += rows
        if chosen:
            self._keep(rows)

    def _begin(self, now: float) -> None:
        """A new window, with the probability that would have suited the last one, or the ones before it."""
        length = now - self._began_at
        self._rate = max(self._seen / length, self._rate * 0.5 ** (length / HALF_LIFE_S)) if self._seen else 0.0
        self._base = self.probability = min(1.0, self._budget / self._rate) if self._rate else 1.0
        self._began_at, self._seen, self._kept = now, 0, 0

    def _keep(self, rows: int) -> None:
        """Each time that the budget is used up within a window, the probability halves."""
        self._kept += rows
        self.chosen += rows
        if self._kept >= self._budget:
            self.probability = self._base / 2.0 ** min(self._kept // self._budget, HALVINGS_MAX)
