"""Predicts how long the model runs for a number of rows, from measured runs. Pure."""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import accumulate

LEARNING_RATE = 0.05
"""Weight of the newest run."""
FACTOR_MAX = 20.0
"""A run counts as at most this many times slower or faster than measured at load."""


class CostModel:
    """Seconds of one run as a function of its rows, from measurements made when the model was loaded.

    The time is interpolated linearly between measurements, and extrapolated beyond the last one. Later runs correct
    the whole curve by one factor, so predictions adapt to a machine that is busier than it was at load.
    """

    def __init__(self, measured: Sequence[tuple[int, float]]) -> None:
        """Take pairs of (rows, seconds), rows ascending, at least one."""
        assert measured, "a model is timed before it serves"
        self._rows = [rows for rows, _ in measured]
        self._seconds = list(accumulate((seconds for _, seconds in measured), max))  # noise makes no run cheaper
        self._factor = 1.0

    def seconds(self, rows: int) -> float:
        """Predicted seconds of one run."""
        return self._factor * self._at_load(rows)

    def observe(self, rows: int, seconds: float) -> None:
        """Update the factor from a run. A single outlier changes little."""
        ratio = min(max(seconds / self._at_load(rows), 1 / FACTOR_MAX), FACTOR_MAX)
        self._factor += LEARNING_RATE * (ratio - self._factor)

    def rows_within(self, seconds: float, rows_max: int) -> int:
        """Most rows, up to `rows_max`, whose run is predicted to take at most `seconds`; 0 if one row takes longer."""
        if seconds == math.inf:
            return rows_max
        return bisect_right(range(1, rows_max + 1), seconds, key=self.seconds)

    def _at_load(self, rows: int) -> float:
        place = bisect_left(self._rows, rows)
        if place == 0:
            return self._seconds[0]
        if place == len(self._rows):
            place -= 1
        if place == 0:
            return self._seconds[0] * rows / self._rows[0]
        (r0, r1), (s0, s1) = self._rows[place - 1 : place + 1], self._seconds[place - 1 : place + 1]
        return max(s0, s0 + (s1 - s0) * (rows - r0) / (r1 - r0))

    def __str__(self) -> str:
        ends = dict.fromkeys(((self._rows[0], self._seconds[0]), (self._rows[-1], self._seconds[-1])))
        return ", ".join(f"{seconds * 1e6:.0f} µs for {rows} row{'s' * (rows > 1)}" for rows, seconds in ends)
