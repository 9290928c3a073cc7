"""Puts the values of a view, as known at an instant, into the online store."""

from dataclasses import dataclass
from pathlib import Path

from skylane.features.compiled import CompiledView
from skylane.features.compiled.views import WINDOW
from skylane.features.evaluation.rows import NEVER
from skylane.features.evaluation.views import evaluator
from skylane.features.online.packing import packed
from skylane.features.online.store import Store
from skylane.features.training.sources import Source, read_source


@dataclass(frozen=True)
class Materialized:
    """What was stored of a view."""

    entities: int
    source_rows: int
    skipped_source_rows: int


def materialize(store: Store, view: CompiledView, instant: int, root: str | Path = ".") -> Materialized:
    """Store what was known by an instant, in microseconds since 1970, and how it changes until the next time.

    Doing it again with the same source and instant changes nothing. Killed at any point, the store holds the values of
    before or the new ones. Raises SourceError, StoreError.
    """
    source = read_source(view, Path(root))
    entities = store_values(store, view, source, instant)
    return Materialized(entities, len(source.rows.happened) + source.skipped, source.skipped)


def store_values(store: Store, view: CompiledView, source: Source, instant: int) -> int:
    """The same for rows that are read already. Returns the number of entities."""
    values = evaluator(view, source.rows.known_by(instant))
    entity, instants = values.steps(instant, steps_until(view, instant))
    return store.replace(
        view, instant, packed(view, source.keys.texts(), entity, instants, values.at(entity, instants))
    )


def steps_until(view: CompiledView, instant: int) -> int:
    """Until when changes are stored: a window is not served longer than its ttl after it was materialised."""
    return instant + (view.ttl_us or 0) if view.kind == WINDOW else NEVER
