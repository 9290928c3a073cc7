"""Rows exactly at a threshold and next to it, where a graph that rounds differently takes the other branch. Pure.

Other steps (scaling, imputing, selecting) may come before the comparison. So bisection finds the number in the
pipeline's own column that just reaches the threshold, among the numbers that the column can hold.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd

from skylane.convert.inspection.float_order import Lattice, between, finite, keys, lattice_of, numbers
from skylane.convert.inspection.schema import Array, Layout
from skylane.convert.verification.splits import Prefix, Split, Splitter, splitters

SPLITS_MAX: Final = 600
"""Largest number of comparisons; each makes three rows."""

ROWS_MAX: Final = 256
"""Real rows whose paths through the trees are followed."""

INFLUENCE_ROWS: Final = 8
"""Rows used to find out which column changes which feature."""

BISECTIONS: Final = 64
"""Bisection steps that single out one number among all 64-bit ones."""


@dataclass(frozen=True)
class _Drawn:
    """A comparison on the path of a real row."""

    row: int
    split: Split


def beside_thresholds(estimator: Any, layout: Layout, frame: pd.DataFrame) -> pd.DataFrame | None:
    """Real rows, each with one number moved to a threshold on its path; None if there is no threshold.

    Three rows for each threshold: with the second last number below it, the last number below it, and the first number
    above it, in three blocks. At most 3 · SPLITS_MAX rows, drawn with a fixed seed so that conversions are repeatable.
    """
    lattices = {
        column.name: lattice
        for column in layout.columns
        if column.kind == "number" and (lattice := lattice_of(frame[column.name])) is not None
    }
    splits = list(splitters(estimator))
    if not lattices or not splits:
        return None
    random = np.random.default_rng(0)
    rows = frame.iloc[np.sort(random.permutation(len(frame))[:ROWS_MAX])].reset_index(drop=True)
    by_prefix: dict[Prefix, list[Splitter]] = {}
    for splitter in splits:
        by_prefix.setdefault(splitter.before, []).append(splitter)
    sides: list[list[pd.DataFrame]] = [[], [], []]
    for before, group in by_prefix.items():
        search = _Search(layout, rows, before, lattices)
        share = max(1, SPLITS_MAX * len(group) // len(splits))
        for side, moved in zip(sides, search.beside(_draw(group, search.features(rows), share, random)), strict=True):
            side.append(moved)
        if sum(map(len, sides[0])) >= SPLITS_MAX:
            break
    found_rows = pd.concat([moved for side in sides for moved in side], ignore_index=True)
    return found_rows if len(found_rows) else None


def _draw(group: Sequence[Splitter], features: Array, count: int, random: np.random.Generator) -> list[_Drawn]:
    """Comparisons of random rows in random trees, so that those on many rows' paths are drawn more often."""
    drawn = []
    for _ in range(count):
        row = int(random.integers(len(features)))
        way = group[int(random.integers(len(group)))].on_way(features[row])
        if way:
            drawn.append(_Drawn(row, way[random.integers(len(way))]))
    return drawn


@dataclass(frozen=True)
class _Search:
    """Maps the pipeline's columns to the features of one of its parts, and back."""

    layout: Layout
    rows: pd.DataFrame
    before: Prefix
    lattices: dict[str, Lattice]

    def features(self, rows: pd.DataFrame) -> Array:
        """(rows, features) float64, as the part gets these rows."""
        made = self.before(self.layout.native(rows))
        if isinstance(made, pd.DataFrame):  # NumPy cannot convert the missing values of nullable columns to numbers
            return made.to_numpy(np.float64, na_value=np.nan)
        return np.asarray(made.toarray() if hasattr(made, "toarray") else made, dtype=np.float64)

    def beside(self, drawn: Sequence[_Drawn]) -> list[pd.DataFrame]:
        """The rows with the column that changes the feature at three neighbouring numbers; see `beside_thresholds`."""
        movers = self._movers()
        drawn = [one for one in drawn if movers[one.split.feature] is not None]
        if not drawn:
            return [self.rows.head(0)] * 3
        columns = np.array([movers[one.split.feature] for one in drawn], dtype=object)
        base = self.rows.iloc[[one.row for one in drawn]].reset_index(drop=True)
        low, high = (np.array([self._ends(name)[end] for name in columns], np.int64) for end in (0, 1))
        starts_below = self._below(base, columns, low, drawn)
        bracketed = starts_below != self._below(base, columns, high, drawn)
        for _ in range(BISECTIONS):
            middle = between(low, high)
            same = self._below(base, columns, middle, drawn) == starts_below
            low, high = np.where(same, middle, low), np.where(same, high, middle)
        return [self._moved(base, columns, places)[bracketed] for places in (low - 1, low, high)]

    def _below(self, base: pd.DataFrame, columns: Array, places: Array, drawn: Sequence[_Drawn]) -> Array:
        features = self.features(self._moved(base, columns, places))
        return np.array([one.split.below(features[at, one.split.feature]) for at, one in enumerate(drawn)], np.bool_)

    def _moved(self, base: pd.DataFrame, columns: Array, places: Array) -> pd.DataFrame:
        """The rows with the named column of each set to the number at this index."""
        moved = base.copy()
        for name in set(columns):
            here = columns == name
            values = finite(base[name])
            values[here] = numbers(places[here], self.lattices[name])
            moved[name] = pd.Series(values, index=base.index).astype(base[name].dtype)
        return moved

    def _ends(self, name: str) -> Array:
        present = finite(self.rows[name])
        return keys(np.array([np.nanmin(present), np.nanmax(present)]), self.lattices[name])

    def _movers(self) -> list[str | None]:
        """For each feature, the column that changes it most when it goes from one end of its range to the other."""
        few = self.rows.head(INFLUENCE_ROWS)
        furthest = np.zeros(self.features(few).shape[1])
        movers: list[str | None] = [None] * len(furthest)
        for name in self.lattices:
            present = finite(self.rows[name])
            ends = [few.assign(**{name: self.rows[name].iloc[at(present)]}) for at in (np.nanargmin, np.nanargmax)]
            far = np.nan_to_num(np.abs(self.features(ends[1]) - self.features(ends[0]))).max(axis=0)
            for feature in np.flatnonzero(far > furthest):
                movers[feature] = name
            furthest = np.maximum(far, furthest)
        return movers
