"""As-of tables: the row of an entity that happened last, among those that had happened and were known."""

import numpy as np

from skylane.features.compiled import CompiledView
from skylane.features.evaluation.expressions import evaluate
from skylane.features.evaluation.rows import (
    ABSENT,
    EXPIRED,
    Array,
    Ints,
    SourceRows,
    Values,
    content_ranks,
    count_until,
    inverse,
    offsets_of,
    order_by,
)


class TableEvaluator:
    """Values at any instant. The order of the rows does not matter.

    Among rows that happened at the same instant the one that was known last counts; among those also known at the same
    instant, the one with the largest values.
    """

    def __init__(self, view: CompiledView, rows: SourceRows) -> None:
        self._view, self._happened = view, rows.happened
        self._values = {
            feature.name: evaluate(feature.tree or {}, rows.columns, rows.happened) for feature in view.features
        }
        begins = np.maximum(rows.happened, rows.known)
        ranks = _ranks(rows, list(self._values.values()))
        order = np.lexsort((ranks, begins, rows.entity))
        self._begins, entity = begins[order], rows.entity[order]
        self._offsets = offsets_of(entity, rows.entities)
        # A rank within an entity never exceeds those of the next, so that the maximum so far starts anew with each.
        best = np.maximum.accumulate(ranks[order] + entity * len(ranks)) - entity * len(ranks)
        self._winner = np.argsort(ranks)[best] if len(ranks) else np.zeros(0, np.int64)

    def at(self, entity: Ints, instants: Ints) -> Values:
        """Values (queries,) of entities, −1 for one that has no rows."""
        position = count_until(self._begins, self._offsets, entity, instants)
        begin = np.where(entity >= 0, self._offsets[entity], 0)
        absent = position <= begin
        row = self._winner[np.where(absent, 0, position - 1)] if len(self._winner) else np.zeros(len(entity), np.int64)
        happened = self._happened[row] if len(self._winner) else np.zeros(len(entity), np.int64)
        expired = ~absent & (instants - happened > (self._view.ttl_us or 0))
        missing = absent | expired
        features = {name: _taken(values, row, missing) for name, values in self._values.items()}
        status = np.where(absent, ABSENT, np.where(expired, EXPIRED, 0)).astype(np.uint8)
        return Values(features, status, np.where(absent, 0, happened))

    def steps(self, begin: int, end: int) -> tuple[Ints, Ints]:
        """(entities, instants): `begin` for each entity with a known row, and when later rows begin, until `end`."""
        entity = np.repeat(np.arange(len(self._offsets) - 1), np.diff(self._offsets))
        later = (self._begins > begin) & (self._begins <= end)
        return steps_of(entity[self._begins <= begin], entity[later], self._begins[later], begin)


def steps_of(present: Ints, later: Ints, instants: Ints, begin: int) -> tuple[Ints, Ints]:
    """Pairs of entity and instant, each once and sorted: `begin` for those present, and what comes later."""
    first = np.unique(present)
    entity = np.concatenate([first, later])
    instants = np.concatenate([np.full(len(first), begin, np.int64), instants])
    order = order_by(entity, instants)
    entity, instants = entity[order], instants[order]
    new = np.ones(len(order), np.bool_)
    new[1:] = (np.diff(entity) != 0) | (np.diff(instants) != 0)
    return entity[new], instants[new]


def _ranks(rows: SourceRows, values: list[Array]) -> Ints:
    """Rank of each row by what decides between rows of an entity."""
    order = np.lexsort((rows.known, rows.happened))
    tied = (np.diff(rows.known[order]) == 0) & (np.diff(rows.happened[order]) == 0)
    if tied.any():
        order = np.lexsort((content_ranks(values), rows.known, rows.happened))
    return inverse(order)


def _taken(values: Array, row: Ints, missing: Array) -> Array:
    taken = values[row] if len(values) else np.zeros(len(row), values.dtype)
    taken[missing] = None if values.dtype == object else np.nan
    return taken
