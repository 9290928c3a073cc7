"""What a view means, written as plainly as possible: loops over rows, for tests to compare with."""

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from skylane.features.compiled import CompiledFeature, CompiledView

SECOND = 1_000_000


@dataclass(frozen=True)
class Row:
    """A row of a source; times in microseconds."""

    entity: int
    happened: int
    known: int
    value: float | None
    event: int = 0


def table(view: CompiledView, rows: list[Row], entity: int, at: int) -> float | None:
    """The value of the row that happened last, among those that happened and were known; None past the ttl."""
    known = [row for row in rows if row.entity == entity and row.happened <= at and row.known <= at]
    if not known:
        return None
    best = max(known, key=lambda row: (row.happened, row.known, math.inf if row.value is None else row.value))
    return None if at - best.happened > (view.ttl_us or 0) else best.value


def window(view: CompiledView, feature: CompiledFeature, rows: list[Row], entity: int, at: int) -> float | None:
    """The aggregate over the newest version of each event that was known."""
    tile, versions = view.tile_us or 1, dict[int, Row]()
    for row in sorted(rows, key=_version_order):
        if row.known <= at:
            versions[row.event] = row
    first = (at // tile) * tile - (feature.over_us or 0)
    inside = [row for row in versions.values() if row.entity == entity and first <= row.happened <= at]
    inside.sort(key=lambda row: (row.happened, row.known, row.value or 0.0))
    values = [row.value for row in inside if row.value is not None]
    return _aggregate(feature, len(inside), values)


def _version_order(row: Row) -> Any:
    return row.known, row.happened, row.entity, math.inf if row.value is None else row.value


def _aggregate(feature: CompiledFeature, rows: int, values: list[float]) -> float | None:
    exact, n = sum(map(Fraction, values), Fraction(0)), len(values)
    match feature.aggregate:
        case "count":
            return float(rows)
        case "sum":
            return float(exact)
        case "distinct":
            return float(len(set(values)))
        case "std":
            squares = sum((Fraction(value) ** 2 for value in values), Fraction(0))
            return math.sqrt((n * squares - exact**2) / (n * (n - 1))) if n > 1 else None
        case "last":
            return values[-(feature.place or 1)] if n >= (feature.place or 1) else None
    if not values:
        return None
    match feature.aggregate:
        case "mean":
            return float(exact / n)
        case "min":
            return min(values)
        case "max":
            return max(values)
        case "quantile":
            position, ordered = (feature.quantile or 0.0) * (n - 1), sorted(values)
            low = math.floor(position)
            high = min(low + 1, n - 1)
            return ordered[low] + (ordered[high] - ordered[low]) * (position - low)
    raise AssertionError(feature.aggregate)
