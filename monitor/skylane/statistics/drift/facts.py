"""What the numbers of a column say of its meaning: their step, their few values, whether they follow time, a unit."""

import re
from typing import Final

import numpy as np

from skylane.statistics.drift.blocks import SINGLE, STEP_TOLERANCE
from skylane.statistics.drift.sketch import Array

KNOWN_MAX: Final = 256
"""Distinct numbers up to which all are kept."""
KNOWN_ROWS_MIN: Final = 5
"""A number that fewer rows have is not kept: it may tell who somebody is."""
ON_STEP_MIN: Final = 0.999
"""Share of the rows that must be at multiples of a step."""
DIVISORS: Final = (1, 2, 3, 4, 5, 6, 8, 9, 10)
"""The smallest difference of two numbers is so many steps."""
FOLLOWS_TIME_MIN: Final = 0.95
"""Rank correlation of blocks' means with time from which a column follows it."""


def find_step(values: Array, weights: Array) -> tuple[float, float] | None:
    """The step and offset of rising distinct numbers, (k,) each; None if they have no common step.

    The step must be wide enough to be seen in single precision, and some number must be missing from the grid or the
    numbers many: two numbers are always on one.
    """
    if len(values) < 3:
        return None
    gaps = np.diff(values)
    gaps = gaps[gaps > SINGLE * 4 * np.abs(values).max()]
    if not len(gaps):
        return None
    total = weights.sum()
    for divisor in DIVISORS:
        step = float(gaps.min()) / divisor
        step = _refined(step, values)
        short = float(f"{step:.6g}")
        step = short if abs(short - step) < 1e-6 * step else step  # what rounding of single precision left
        if step * STEP_TOLERANCE < SINGLE * float(np.abs(values).max()):
            return None
        places = (values - values[0]) / step
        on = np.abs(places - np.round(places)) <= STEP_TOLERANCE + SINGLE * np.abs(values / step)
        if weights[on].sum() >= ON_STEP_MIN * total:
            offset = float(values[0] - np.round(values[0] / step) * step)
            return step, 0.0 if abs(offset) < STEP_TOLERANCE * step else offset
    return None


def _refined(step: float, values: Array) -> float:
    """The step by the longest distances, where rounding matters least: first near ones, then farther."""
    distances = np.sort(values - values[0])[1:]
    for distance in distances[np.unique(np.geomspace(1, len(distances), 8).astype(int)) - 1]:
        places = np.round(distance / step)
        if places > 0 and abs(distance / step - places) < 0.1:
            step = float(distance / places)
    return step


def known_values(values: Array, weights: Array) -> tuple[float, ...]:
    """All of the rising distinct numbers, if they are few and hardly any row has a rare one; else none."""
    common = weights >= KNOWN_ROWS_MIN
    few = len(values) <= KNOWN_MAX and weights[~common].sum() <= (1 - ON_STEP_MIN) * weights.sum()
    return tuple(values[common].tolist()) if few and common.any() else ()


def follows_time(means: Array, deviation_within: float, deviation: float) -> bool:
    """Whether the blocks' means, (blocks,) in the order of time, rise or fall with it, and blocks are narrow."""
    if len(means) < 5 or deviation <= 0 or deviation_within > deviation / 2:
        return False
    # Of the pairs of blocks with different means, by how many more rise than fall: a month that changes once is enough.
    levels = np.round(means / (deviation * 1e-6))  # sums of equal numbers differ by their rounding
    signs = np.sign(levels[None, :] - levels[:, None])[np.triu_indices(len(means), 1)]
    different = float(np.abs(signs).sum())
    return different > 0 and bool(abs(float(signs.sum())) / different >= FOLLOWS_TIME_MIN)


_UNITS: Final[tuple[tuple[str, tuple[tuple[str, float, float], ...]], ...]] = (
    (r"temp|dewp|dew_point", (("°C", -40, 45), ("K", 220, 330), ("°F", -40, 125))),
    (r"press|baro", (("bar", 0.8, 1.2), ("inHg", 25, 32), ("kPa", 80, 110), ("mmHg", 600, 810), ("hPa", 800, 1100))),
    (r"wind.*(speed|gust)|speed", (("mph", 0, 90), ("km/h", 0, 400))),
    (r"visib", (("mi", 0, 12), ("km", 0, 80), ("m", 0, 80_000))),
    (r"humid", (("share", 0, 1), ("%", 0, 100))),
    (r"(^|_)(lat|latitude)$", (("°", -90, 90),)),
    (r"(^|_)(lon|lng|longitude)$", (("°", -180, 180),)),
    (r"(^|_)(pct|percent|percentage)$", (("%", 0, 100),)),
    (r"(^|_)(km)$", (("km", 0, 1e9),)),
    (r"(^|_)(kg)$", (("kg", 0, 1e9),)),
    (r"(^|_)(minutes?|min_of_day|minute_of_day)$", (("min", 0, 1e9),)),
    (r"(^|_)(hours?)$", (("h", 0, 1e9),)),
    (r"(^|_)(seconds?|secs?)$", (("s", 0, 1e9),)),
)
"""Pattern of a column's name → units and the ranges in which numbers in them usually lie, the narrowest first."""


def guess_unit(name: str, smallest: float, largest: float) -> str | None:
    """From the column's name and range; None if they do not tell. °C and °F overlap: above 45 it is °F."""
    for pattern, units in _UNITS:
        if re.search(pattern, name.lower()):
            return next((unit for unit, low, high in units if low <= smallest and largest <= high), None)
    return None
