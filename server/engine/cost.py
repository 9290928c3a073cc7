"""What a run costs: measured time over rows, and what follows from it. Pure."""

from bisect import bisect_left
from collections.abc import Sequence


class CostModel:
    """Seconds of one run as a function of its rows, from measurements made when the model was loaded.

    Between two measurements the time is taken to grow linearly, beyond the last one as it did before it.
    """

    def __init__(self, measured: Sequence[tuple[int, float]]) -> None:
        """Take pairs of (rows, seconds), rows ascending, at least one."""
        assert measured, "a model is timed before it serves"
        self._rows = [rows for rows, _ in measured]
        self._seconds = [seconds for _, seconds in measured]

    def seconds(self, rows: int) -> float:
        """Predicted seconds of one run."""
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
