"""Aggregates that need the rows themselves: min, max, last, distinct and quantile."""

from collections.abc import Callable, Iterator, Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from skylane.features.compiled import CompiledFeature
from skylane.features.evaluation.rows import Array, Ints, SourceRows, inverse

ROWS_MAX: Final = 4_000_000
"""Rows that are gathered at once: the bound of the memory that is needed, but for a single window with more."""

Aggregate = Callable[[CompiledFeature, "Sorted"], NDArray[np.float64]]


class Sorted:
    """Values of several sets, sorted in each set."""

    def __init__(self, values: NDArray[np.float64], owner: Ints, sets: int) -> None:
        self.values, self.owner = values, owner
        self.counts = np.bincount(owner, minlength=sets)
        self.begins = np.cumsum(self.counts) - self.counts

    def pick(self, places: Ints) -> NDArray[np.float64]:
        """(sets,) the value at a place of each set; missing where the set does not have it."""
        inside = (places >= 0) & (places < self.counts)
        picked = np.full(len(self.counts), np.nan)
        picked[inside] = self.values[(self.begins + places)[inside]]
        return picked


class RowSets:
    """For each state, the rows of one entity that count, out of those that began between two places."""

    def __init__(self, rows: Ints, ends: Ints, oldest: Ints, began: Ints, instants: Ints) -> None:
        """`rows`, `ends` (candidates,): row and its end, by begin; `oldest`, `began`, `instants` (states,)."""
        self._rows, self._ends = rows, ends
        self._oldest, self._lengths, self._instants = oldest, began - oldest, instants

    def aggregated(self, features: list[CompiledFeature], values: Array, rows: SourceRows) -> dict[str, Array]:
        """Feature → (states,)."""
        ranks = {False: inverse(np.argsort(values, kind="stable"))}
        if any(feature.aggregate == "last" for feature in features):
            ranks[True] = inverse(np.lexsort((values, rows.known, rows.happened)))
        sorted_values = {by_time: values[np.argsort(rank)] for by_time, rank in ranks.items()}
        results = {feature.name: np.empty(len(self._lengths)) for feature in features}
        for part in self._parts():
            owner, row = self._members(part, values)
            for by_time, rank in ranks.items():
                mine = [feature for feature in features if (feature.aggregate == "last") == by_time]
                keys = np.sort(owner * len(values) + rank[row])
                at = sorted_values[by_time][keys % max(1, len(values))]
                ordered = Sorted(at, keys // max(1, len(values)), part.stop - part.start)
                for feature in mine:
                    results[feature.name][part] = _AGGREGATES[feature.aggregate or ""](feature, ordered)
        return results

    def _parts(self) -> Iterator[slice]:
        """States in parts with at most ROWS_MAX candidates, at least one state each."""
        total = np.cumsum(self._lengths)
        begin = 0
        while begin < len(total):
            limit = ROWS_MAX + (int(total[begin - 1]) if begin else 0)
            end = max(begin + 1, int(np.searchsorted(total, limit, side="right")))
            yield slice(begin, end)
            begin = end

    def _members(self, part: slice, values: Array) -> tuple[Ints, Ints]:
        """(state, row) of all rows that count and have a value."""
        lengths = self._lengths[part]
        owner = np.repeat(np.arange(len(lengths)), lengths)
        within = np.arange(len(owner)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        place = self._oldest[part][owner] + within
        row = self._rows[place]
        counted = (self._ends[place] > self._instants[part][owner]) & ~np.isnan(values[row])
        return owner[counted], row[counted]


def _quantile(feature: CompiledFeature, ordered: Sorted) -> NDArray[np.float64]:
    position = (feature.quantile or 0.0) * np.maximum(ordered.counts - 1, 0)
    low = np.floor(position).astype(np.int64)
    left, right = ordered.pick(low), ordered.pick(np.minimum(low + 1, ordered.counts - 1))
    result: NDArray[np.float64] = left + (right - left) * (position - low)
    return result


def _distinct(_feature: CompiledFeature, ordered: Sorted) -> NDArray[np.float64]:
    new = np.ones(len(ordered.values), np.bool_)
    new[1:] = (np.diff(ordered.values) != 0) | (np.diff(ordered.owner) != 0)
    return np.bincount(ordered.owner, new, len(ordered.counts)).astype(np.float64)


_AGGREGATES: Final[Mapping[str, Aggregate]] = {
    "min": lambda _feature, ordered: ordered.pick(np.zeros_like(ordered.counts)),
    "max": lambda _feature, ordered: ordered.pick(ordered.counts - 1),
    "last": lambda feature, ordered: ordered.pick(ordered.counts - (feature.place or 1)),
    "quantile": _quantile,
    "distinct": _distinct,
}
