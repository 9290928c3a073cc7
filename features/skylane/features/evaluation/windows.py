"""Window aggregates: each row counts from an instant to another, and values are sums over the rows that count.

Time is cut into tiles. A window of n tiles covers the n whole tiles before an instant's own tile, and that one up to
the instant. So a row counts from the later of when it happened and when it was known, until the end of the n-th tile
after its own, or until a later version of its event was known.
"""

import json
from typing import Final

import numpy as np
from numpy.typing import NDArray

from skylane.features.compiled import CompiledFeature, CompiledView
from skylane.features.evaluation.exact import integers, prefix_sums, ratio
from skylane.features.evaluation.expressions import evaluate, is_missing
from skylane.features.evaluation.row_sets import RowSets
from skylane.features.evaluation.rows import (
    NEVER,
    OK,
    Array,
    Ints,
    SourceRows,
    Values,
    content_ranks,
    count_until,
    offsets_of,
    order_by,
    sortable,
)
from skylane.features.evaluation.tables import steps_of

_BY_SUMS: Final = ("count", "sum", "mean", "std")


class WindowEvaluator:
    """Values at any instant. The order of the rows does not matter."""

    def __init__(self, view: CompiledView, rows: SourceRows) -> None:
        self._view, self._rows = view, rows
        self._columns = {_key(feature): _values(feature, rows) for feature in view.features}
        superseded = self._superseded()
        begins = np.maximum(rows.happened, rows.known)
        order = order_by(rows.entity, begins)
        self._spans = {
            over_us: Span(rows, (begins, order), superseded, over_us, view.tile_us or 1)
            for over_us in dict.fromkeys(feature.over_us or 0 for feature in view.features)
        }

    def at(self, entity: Ints, instants: Ints) -> Values:
        """Values (queries,) of entities, −1 for one that has no rows."""
        with np.errstate(all="ignore"):
            features = self._features(entity, instants)
        ordered = {feature.name: features[feature.name] for feature in self._view.features}
        return Values(ordered, np.full(len(entity), OK, np.uint8), np.zeros(len(entity), np.int64))

    def _features(self, entity: Ints, instants: Ints) -> dict[str, Array]:
        features: dict[str, Array] = {}
        for over_us, span in self._spans.items():
            began = count_until(span.begins, span.offsets, entity, instants)
            ended = count_until(span.ends, span.offsets, entity, instants)
            mine = [feature for feature in self._view.features if feature.over_us == over_us]
            for feature in mine:
                if feature.aggregate in _BY_SUMS:
                    features[feature.name] = span.summed(feature, _key(feature), self._columns, began, ended)
            features |= self._by_sets(span, mine, (entity, instants, began, ended))
        return features

    def steps(self, begin: int, end: int) -> tuple[Ints, Ints]:
        """(entities, instants): `begin` for each entity whose rows count then, and each instant until `end` at which
        its values change."""
        present, later, instants = [], [], []
        for span in self._spans.values():
            present.append(span.entity_by_begin[(span.begins <= begin) & (span.end_of_begun > begin)])
            for entity, changes in ((span.entity_by_begin, span.begins), (span.entity_by_end, span.ends)):
                chosen = (changes > begin) & (changes <= end)
                later.append(entity[chosen])
                instants.append(changes[chosen])
        changed = np.concatenate(later)
        return steps_of(np.concatenate([*present, changed]), changed, np.concatenate(instants), begin)

    def _by_sets(
        self, span: "Span", features: list[CompiledFeature], queries: tuple[Ints, Ints, Ints, Ints]
    ) -> dict[str, Array]:
        features = [feature for feature in features if feature.aggregate not in _BY_SUMS]
        if not features:
            return {}
        entity, instants, began, ended = queries
        # Queries between two changes see the same rows: compute each state once.
        states, first, place = np.unique(began * (len(span.begins) + 1) + ended, return_index=True, return_inverse=True)
        del states
        oldest = count_until(span.begins, span.offsets, entity[first], instants[first] - span.longest_us)
        sets = RowSets(span.by_begin, span.end_of_begun, oldest, began[first], instants[first])
        found: dict[str, Array] = {}
        for key in dict.fromkeys(_key(feature) for feature in features):
            same = [feature for feature in features if _key(feature) == key]
            for name, values in sets.aggregated(same, self._columns[key], self._rows).items():
                found[name] = values[place]
        return found

    def _superseded(self) -> Ints:
        """(rows,): the instant from which a later version of the row's event was known."""
        rows, until = self._rows, np.full(len(self._rows.happened), NEVER, np.int64)
        if rows.event is None or not len(until):
            return until
        several = np.flatnonzero((np.bincount(rows.event) > 1)[rows.event])
        columns = [rows.happened, rows.entity, *(sortable(values) for values in self._columns.values())]
        ranks = content_ranks([column[several] for column in columns])
        order = several[np.lexsort((ranks, rows.known[several], rows.event[several]))]
        same = np.diff(rows.event[order]) == 0
        until[order[:-1]] = np.where(same, rows.known[order][1:], NEVER)
        return until


class Span:
    """The rows that count for windows of one length, sorted by when they begin and by when they end to count."""

    def __init__(
        self, rows: SourceRows, begun: tuple[Ints, Array], superseded: Ints, over_us: int, tile_us: int
    ) -> None:
        """`begun`: when rows begin to count, and their order by entity and that."""
        begins, order = begun
        left = (rows.happened // tile_us + over_us // tile_us + 1) * tile_us
        ends = np.minimum(left, superseded)
        self.longest_us = over_us + tile_us
        """How long a row counts at most."""
        self.by_begin = order[(begins < ends)[order]]
        self.begins, self.end_of_begun = begins[self.by_begin], ends[self.by_begin]
        self.entity_by_begin = rows.entity[self.by_begin]
        by_end = order_by(self.entity_by_begin, self.end_of_begun)
        self.by_end, self.ends = self.by_begin[by_end], self.end_of_begun[by_end]
        self.entity_by_end = self.entity_by_begin[by_end]
        self.offsets = offsets_of(self.entity_by_begin, rows.entities)
        self._sums: dict[tuple[str, int], tuple[Array, Array, int]] = {}

    def summed(
        self, feature: CompiledFeature, key: str, columns: dict[str, Array], began: Ints, ended: Ints
    ) -> NDArray[np.float64]:
        """Count, sum, mean or standard deviation of the rows between."""
        number, _ = self._between(key, columns, 0, began, ended)
        if feature.aggregate == "count":
            return number.astype(np.float64)
        total, exponent = self._between(key, columns, 1, began, ended)
        if feature.aggregate == "sum":
            return ratio(total, np.ones_like(number), exponent)
        if feature.aggregate == "mean":
            return ratio(total, number, exponent)
        squares, _ = self._between(key, columns, 2, began, ended)
        wide, total = number.astype(object), total.astype(object)
        spread = wide * squares.astype(object) - total * total
        return np.sqrt(ratio(spread, np.where(number > 1, wide * (wide - 1), 0), 2 * exponent))

    def _between(self, key: str, columns: dict[str, Array], power: int, began: Ints, ended: Ints) -> tuple[Array, int]:
        """(sums of the power over rows that count, exponent of their unit)."""
        if (key, power) not in self._sums:
            self._sums[key, power] = self._prefixes(columns[key], power)
        begun, over, exponent = self._sums[key, power]
        return begun[began] - over[ended], exponent

    def _prefixes(self, values: Array, power: int) -> tuple[Array, Array, int]:
        missing = is_missing(values)
        if power == 0:
            whole, exponent = (~missing).astype(np.int64), 0
        else:
            whole, exponent = integers(np.where(missing, 0.0, values))
            if power == 2:
                whole = whole.astype(object) ** 2
        return prefix_sums(whole[self.by_begin]), prefix_sums(whole[self.by_end]), exponent


def _values(feature: CompiledFeature, rows: SourceRows) -> Array:
    """(rows,) what is aggregated; missing where a row is left out. Texts are replaced by numbers of their own."""
    if feature.tree is None:
        values: Array = np.ones(len(rows.happened))
    else:
        values = evaluate(feature.tree, rows.columns, rows.happened)
    if values.dtype == object:
        missing = is_missing(values)
        values = sortable(values).astype(np.float64)
        values[missing] = np.nan
    if feature.where is not None:
        condition = evaluate(feature.where, rows.columns, rows.happened)
        values = np.where(np.nan_to_num(condition) != 0, values, np.nan)
    return values


def _key(feature: CompiledFeature) -> str:
    """Features with the same key aggregate the same values."""
    return json.dumps([feature.tree, feature.where], sort_keys=True)
