"""Which change of unit explains a column's numbers: y = factor x + offset, from a table of those that happen. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from skylane.reference import NumberReference
from skylane.statistics.drift.blocks import SINGLE, STEP_TOLERANCE, distance_to, limits_of
from skylane.statistics.drift.distances import w1_of_samples
from skylane.statistics.drift.facts import find_step
from skylane.statistics.drift.sketch import Array, ValueSample

FIT_MIN: Final = 0.95
"""Share of the odd rows that a conversion must turn back into usual ones."""
DISTINCT_MIN: Final = 3
"""Fewer distinct values prove nothing by their steps."""
SLACK: Final = 0.25
"""Part of the reference's range by which converted values may lie beyond it."""
FAR: Final = 0.5
"""Part of the reference's range beyond it that is no mere extreme."""
BETTER: Final = 0.5
"""What a conversion must leave of the distance to the blocks before, where values are merely out of range."""
SHIFT_BETTER: Final = 0.35
"""The same, where no value is odd by itself."""
ROUNDINGS: Final = (1.0, 0.1, 0.01, 0.001)


@dataclass(frozen=True)
class Conversion:
    """y = factor x + offset."""

    factor: float
    offset: float = 0.0
    units: tuple[str, str] = ("", "")
    """From which unit to which; empty for a plain factor."""

    def apply(self, values: Array) -> Array:
        """What the numbers become."""
        return np.asarray(values * self.factor + self.offset)

    def undo(self, values: Array) -> Array:
        """What the numbers were."""
        return np.asarray((values - self.offset) / self.factor)

    def text(self, column: str, since: str, unit: str | None) -> str:
        """In words: "wind_speed ×1.61 since 12:00 UTC: mph → km/h?"; "a unit?" where the column's unit is not known."""
        if self.factor == -1 and self.offset == 0:
            return f"{column} has changed its sign{since}"
        if self.offset:
            return f"{column} is in {self.units[1]} instead of {self.units[0]}{since}?"
        guess = f"{self.units[0]} → {self.units[1]}?" if self.units[0] and self.units[0] == unit else "a unit?"
        return f"{column} ×{_short(self.factor)}{since}: {guess}"


def _short(factor: float) -> str:
    return f"{factor:.3g}" if factor < 1000 else f"{factor:.0f}"


_PAIRS: Final = (
    (1.609344, "mi", "km"), (1.609344, "mph", "km/h"), (1.852, "kn", "km/h"), (1.15077945, "kn", "mph"),
    (0.514444444, "kn", "m/s"), (0.44704, "mph", "m/s"), (3.6, "m/s", "km/h"), (0.45359237, "lb", "kg"),
    (28.349523, "oz", "g"), (0.3048, "ft", "m"), (2.54, "in", "cm"), (25.4, "in", "mm"), (0.9144, "yd", "m"),
    (3.78541178, "gal", "l"), (4.184, "cal", "J"), (33.8638867, "inHg", "hPa"), (0.750061683, "hPa", "mmHg"),
    (6.89475729, "psi", "kPa"), (60.0, "min", "s"), (60.0, "h", "min"), (3600.0, "h", "s"), (24.0, "d", "h"),
    (86400.0, "d", "s"), (1440.0, "d", "min"), (100.0, "share", "%"), (0.0174532925, "°", "rad"),
    (100.0, "hPa", "Pa"), (10.0, "kPa", "hPa"),
)  # fmt: skip
_POWERS: Final = (10.0, 100.0, 1000.0, 1e6, 1e9, 1024.0, 1048576.0)
_AFFINE: Final = (
    Conversion(5 / 9, -160 / 9, ("°F", "°C")), Conversion(1.8, 32.0, ("°C", "°F")),
    Conversion(1.0, 273.15, ("°C", "K")), Conversion(1.0, -273.15, ("K", "°C")),
    Conversion(5 / 9, 459.67 * 5 / 9, ("°F", "K")), Conversion(1.8, -459.67, ("K", "°F")),
)  # fmt: skip


def _table() -> Iterator[Conversion]:
    yield Conversion(-1.0)
    yield from _AFFINE
    for factor, one, other in _PAIRS:
        rounded = {factor, float(f"{factor:.3g}"), float(f"{factor:.4g}")}
        yield from (Conversion(each, 0.0, (one, other)) for each in sorted(rounded))
        back = {1 / factor, float(f"{1 / factor:.3g}"), float(f"{1 / factor:.4g}")}
        yield from (Conversion(each, 0.0, (other, one)) for each in sorted(back))
    for power in _POWERS:
        yield from (Conversion(power), Conversion(1 / power))


CONVERSIONS: Final = tuple(_table())


def explain_odd(
    sample: ValueSample, odd: Array, known: NumberReference, before: ValueSample | None, affected: float
) -> Conversion | None:
    """The conversion that turns the odd values of a sample, (k,) bool, back into usual ones.

    Steps and known values are proof enough. Where values are merely out of range, they must be far, or the conversion
    must come near the blocks before: `affected` is the share of the rows that would have been converted. Of several,
    the one that comes nearest is taken.
    """
    values, weights = sample.values[odd], sample.weights[odd]
    rounding = _rounding(values)
    fits = []
    for conversion in (*CONVERSIONS, *_by_step(values, weights, known)):
        for tolerance in (0.0, rounding / 2 / abs(conversion.factor)):  # exact numbers prove more than rounded ones
            fit, proof = _fit(values, weights, known, conversion, tolerance)
            if fit >= FIT_MIN:
                fits.append((conversion, proof))
                break
    if not fits:
        return None
    fits = [each for each in fits if each[1]] or fits
    likely = _points(before, known)
    if likely is None:
        return next((conversion for conversion, proof in fits if proof), None)
    unchanged = _distance(sample, likely, None, affected)
    distances = [
        (_distance(sample, likely, conversion, affected) * (1.001 if conversion.units[0] != known.unit else 1.0), place)
        for place, (conversion, _) in enumerate(fits)
    ]
    best = min(distances)
    conversion, proof = fits[best[1]]
    proof = proof or (conversion.factor == -1 and limits_of(known)[0] >= -SINGLE and bool((values < 0).all()))
    return conversion if proof or best[0] < BETTER * unchanged or _is_far(values, weights, known) else None


def explain_shift(
    sample: ValueSample,
    known: NumberReference,
    before: ValueSample | None,
    affected: float,
    allowed: float,
    means: tuple[float, float],
) -> Conversion | None:
    """The conversion that turns a whole distribution back into that of the blocks before, to within this distance.

    `means`: of the block and of the blocks before, exactly. Of several, the one is taken that turns the means best.
    """
    likely = _points(before, known)
    if likely is None:
        return None
    unchanged = _distance(sample, likely, None, affected)
    here, usual = means
    near = [
        (abs((1 - affected) * usual + affected * (conversion.factor * usual + conversion.offset) - here), place)
        for place, conversion in enumerate(CONVERSIONS)
        if _distance(sample, likely, conversion, affected) < min(SHIFT_BETTER * unchanged, allowed)
    ]
    return CONVERSIONS[min(near)[1]] if near else None


def odd_values(values: Array, known: NumberReference, tolerance: float = 0.0) -> Array:
    """(k,) bool: which numbers are off the step, unknown or out of range, give or take this much."""
    return np.asarray(outside(values, known, tolerance) | misplaced(values, known, tolerance))


def outside(values: Array, known: NumberReference, tolerance: float = 0.0) -> Array:
    """(k,) bool: which numbers are out of range."""
    low, high = limits_of(known)
    return np.asarray((values < low - tolerance) | (values > high + tolerance))


def far_outside(values: Array, known: NumberReference) -> Array:
    """(k,) bool: which numbers are farther out of range than a block may go a little beyond it."""
    return outside(values, known, SLACK * _span(known))


def misplaced(values: Array, known: NumberReference, tolerance: float = 0.0) -> Array:
    """(k,) bool: which numbers are off the step; where there is none that the tolerance leaves, unknown."""
    if known.step is not None and tolerance < known.step / 4:
        places = (values - known.offset) / known.step
        allowed = STEP_TOLERANCE + SINGLE * np.abs(values / known.step) + tolerance / known.step
        return np.asarray(np.abs(places - np.round(places)) > allowed)
    if known.known and not known.follows_time:
        step = 0.0 if known.step is None else STEP_TOLERANCE * known.step
        near = np.maximum(SINGLE * np.abs(values), step) + tolerance
        return np.asarray(distance_to(np.array(known.known), values) > near)
    return np.zeros(len(values), np.bool_)


def _fit(
    values: Array, weights: Array, known: NumberReference, conversion: Conversion, tolerance: float
) -> tuple[float, bool]:
    """Share of the weights that the conversion turns into usual values, and whether steps or known values prove it.

    A block may go a little beyond the range of the reference besides.
    """
    back = conversion.undo(values)
    fits = ~(far_outside(back, known) | misplaced(back, known, tolerance))
    fit = float(weights[fits].sum() / weights.sum())
    if known.step is not None and len(np.unique(np.round(back / known.step))) < len(np.unique(values)) / 2:
        return 0.0, False  # a unit does not make one number of many
    if fit < FIT_MIN or len(np.unique(back)) < DISTINCT_MIN:
        return fit, False
    # Numbers between the steps must not fit as well: else the step tells nothing, given how the values are rounded.
    between = back + (0.381966 * known.step if known.step is not None else 0.001 * np.abs(back))
    tells = weights[misplaced(between, known, tolerance)].sum() > 0.5 * weights.sum()
    return fit, bool(tells and weights[misplaced(values, known)].sum() > 0.5 * weights.sum())


def _span(known: NumberReference) -> float:
    low, high = limits_of(known)
    return high - low if high > low else known.scale


def _is_far(values: Array, weights: Array, known: NumberReference) -> bool:
    """Whether values lie farther out of range than any weather takes them."""
    low, high = limits_of(known)
    beyond = np.maximum(np.maximum(low - values, values - high), 0.0)
    return bool(np.average(beyond, weights=weights) > FAR * _span(known))


def _by_step(values: Array, weights: Array, known: NumberReference) -> list[Conversion]:
    """The factor between the column's step and that of the values, where it is in no table."""
    if known.step is None or abs(known.offset) > 0:
        return []
    order = np.argsort(values)
    found = find_step(values[order], weights[order])
    return [] if found is None or found[1] != 0 else [Conversion(float(f"{found[0] / known.step:.6g}"))]


def _rounding(values: Array) -> float:
    """The widest of a few roundings that all values have; 0 if none."""
    for rounding in ROUNDINGS:
        places = values / rounding
        if (np.abs(places - np.round(places)) <= 1e-6 + SINGLE * np.abs(places)).all():
            return rounding
    return 0.0


def _points(before: ValueSample | None, known: NumberReference) -> ValueSample | None:
    """The blocks before; without them the reference, each bin at its middle."""
    if before is not None and len(before.values):
        return before
    if known.bins is None:
        return None
    edges = np.array(known.bins.edges)
    return ValueSample((edges[:-1] + edges[1:]) / 2, np.array(known.bins.counts, np.float64))


def _distance(sample: ValueSample, likely: ValueSample, conversion: Conversion | None, affected: float) -> float:
    """W1 of the sample to the likely values of which this share was converted."""
    if conversion is None:
        return w1_of_samples(sample.values, sample.weights, likely.values, likely.weights)
    values = np.concatenate([likely.values, conversion.apply(likely.values)])
    weights = np.concatenate([likely.weights * (1 - affected), likely.weights * affected])
    return w1_of_samples(sample.values, sample.weights, values, weights)
