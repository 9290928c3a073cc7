"""The online store in SQLite: one packed row for each entity of a view, replaced as a whole when it is materialised.

Views are stored by their hash, so that an old and a new definition live beside each other. Readers see a view either
before or after it was materialised, never between, whenever the writer is killed.
"""

import json
import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from skylane.features.compiled import CompiledView
from skylane.features.compiled.views import WINDOW
from skylane.features.errors import StoreError
from skylane.features.evaluation.rows import ABSENT, EXPIRED, Array, Ints
from skylane.features.online.packing import StoredRow, unpacked, unpacked_texts

ENTITIES_MAX: Final = 10_000
"""Entities of one look-up: SQLite takes 32,766 parameters."""
CACHE_KIB_MAX: Final = 65_536
"""What a store keeps of the file in memory. It is not mapped: a file that is cut short must not end a server."""
_APPLICATION_ID: Final = 0x534B4C46
_SCHEMA: Final = f"""
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS views(
    hash TEXT PRIMARY KEY, name TEXT NOT NULL, definition TEXT NOT NULL,
    materialised_at INTEGER NOT NULL, entities INTEGER NOT NULL
);
PRAGMA application_id={_APPLICATION_ID};
COMMIT;
"""


@dataclass(frozen=True)
class Freshness:
    """How current a view is."""

    materialised_at: int
    """The instant, in microseconds since 1970, whose knowledge the values are of."""
    entities: int


@dataclass
class Counts:
    """Look-ups of a view, in entities."""

    entities: int = 0
    absent: int = 0
    expired: int = 0


@dataclass(frozen=True)
class Served:
    """What is served for entities at an instant."""

    view: CompiledView = field(repr=False)
    numbers: NDArray[np.float64]
    """(entities, features that are numbers) in the order of the view, NaN where missing."""
    texts: dict[str, Array]
    """Feature that is a text → (entities,) objects, None where missing."""
    status: NDArray[np.uint8]
    """(entities,) OK, ABSENT or EXPIRED, as in skylane.features.evaluation.rows."""
    happened: Ints
    """(entities,) when the row of a table happened; 0 without one, and for windows."""
    materialised_at: int

    @cached_property
    def features(self) -> dict[str, Array]:
        """Feature → (entities,), in the order of the view."""
        numbers = {feature.name: self.numbers[:, place] for place, feature in enumerate(self.view.numbers)}
        columns = numbers | self.texts
        return {feature.name: columns[feature.name] for feature in self.view.features}


class Store:
    """Values as they are served. One for each thread."""

    def __init__(self, path: str | Path, *, create: bool = False, now: Callable[[], float] = time.time) -> None:
        """`now`: the Unix time. Raises StoreError if there is no such store; `create` makes one."""
        self._now = now
        self.counts: dict[str, Counts] = {}
        """View → its look-ups so far."""
        self._queries: dict[tuple[str, int], str] = {}
        if not create and not Path(path).is_file():
            raise StoreError(
                f"{path}: expected an online store, there is no such file: run skylane features materialize"
            )
        if create:
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))  # readable by its owner alone
        try:
            self._connection = sqlite3.connect(path, isolation_level=None, timeout=30.0)
            self._connection.execute(f"PRAGMA cache_size=-{CACHE_KIB_MAX}")
            (mark,) = self._connection.execute("PRAGMA application_id").fetchone()
            (tables,) = self._connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
            if mark != _APPLICATION_ID and (tables or not create):
                self._connection.close()
                raise StoreError(f"{path}: expected an online store, it is another database")
            if create:
                self._connection.execute("PRAGMA journal_mode=WAL")
                self._connection.executescript(_SCHEMA)
        except sqlite3.Error as error:
            raise StoreError(f"{path}: expected an online store: {error}") from None

    def get(self, view: CompiledView, entities: Sequence[str], instant: int | None = None) -> Served:
        """The values for keys (as online.keys.key_text makes them) at an instant, now by default.

        Values are those that were known when the view was materialised. A table's value is missing once its row is
        older than the ttl; those of a window once the view was materialised longer ago. Raises StoreError.
        """
        rows, texts, materialised_at = self._rows(view, entities)
        at = max(int(self._now() * 1e6) if instant is None else instant, materialised_at)
        found = unpacked(view, [rows.get(entity, b"") for entity in entities], at)
        ttl_us, status = view.ttl_us or 0, np.zeros(len(entities), np.uint8)
        if view.kind == WINDOW:
            expired = np.full(len(entities), at - materialised_at > ttl_us)
            missing, happened = expired, np.zeros(len(entities), np.int64)
            default = np.array([feature.default for feature in view.numbers])
            numbers = np.where(found.absent[:, None], default, found.numbers)
        else:
            expired = ~found.absent & (at - found.happened > ttl_us)
            missing, numbers = found.absent | expired, found.numbers
            happened = np.where(found.absent, 0, found.happened)
            status[found.absent] = ABSENT
        if missing.any():
            numbers = np.where(missing[:, None], np.nan, numbers)
            status[expired] = EXPIRED
        columns: dict[str, Array] = {}
        if view.texts:
            columns = unpacked_texts(view, [texts.get(entity) for entity in entities], found.steps, missing)
        self._count(view.name, status)
        return Served(view, numbers, columns, status, happened, materialised_at)

    def freshness(self, view: CompiledView) -> Freshness | None:
        """When the view was materialised; None if it never was."""
        row = self._execute("SELECT materialised_at, entities FROM views WHERE hash = ?", (view.hash,)).fetchone()
        return None if row is None else Freshness(*row)

    def replace(self, view: CompiledView, materialised_at: int, rows: Iterable[StoredRow]) -> int:
        """Replace all rows of a view in one transaction and return their number.

        Raises StoreError if the store knows more than was known by then.
        """
        try:
            return self._replace(view, materialised_at, rows)
        except sqlite3.Error as error:
            raise StoreError(f"{view.name}: the store cannot be written: {error}") from None

    def _replace(self, view: CompiledView, materialised_at: int, rows: Iterable[StoredRow]) -> int:
        table = _table(view)
        self._execute("BEGIN IMMEDIATE")
        try:
            fresh = self.freshness(view)
            if fresh is not None and fresh.materialised_at > materialised_at:
                raise StoreError(
                    f"{view.name}: it is materialised with what was known by {_shown(fresh.materialised_at)}, expected "
                    f"that instant or a later one, received {_shown(materialised_at)}"
                )
            self._execute(
                f"CREATE TABLE IF NOT EXISTS {table}"
                "(entity TEXT PRIMARY KEY, numbers BLOB NOT NULL, texts TEXT) WITHOUT ROWID"
            )
            self._execute(f"DELETE FROM {table}")
            count = self._connection.executemany(f"INSERT INTO {table} VALUES (?, ?, ?)", rows).rowcount
            count = max(0, count)
            definition = json.dumps(view.as_json(), sort_keys=True)
            self._execute(
                "INSERT OR REPLACE INTO views VALUES (?, ?, ?, ?, ?)",
                (view.hash, view.name, definition, materialised_at, count),
            )
            self._execute("COMMIT")
        finally:
            if self._connection.in_transaction:
                self._execute("ROLLBACK")
        return count

    def close(self) -> None:
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _rows(
        self, view: CompiledView, entities: Sequence[str]
    ) -> tuple[dict[str | None, Any], dict[str | None, str], int]:
        """(entity → its numbers, entity → its texts, when the view was materialised), all of one instant."""
        if not 0 < len(entities) <= ENTITIES_MAX:
            raise StoreError(f"{view.name}: entities: expected 1 to {ENTITIES_MAX}, received {len(entities)}")
        key = view.hash, len(entities)
        query = self._queries.get(key)
        if query is None:
            places = ",".join("?" * len(entities))
            query = self._queries[key] = (
                f"SELECT NULL, materialised_at{', NULL' * bool(view.texts)} FROM views WHERE hash = ? UNION ALL "
                f"SELECT entity, numbers{', texts' * bool(view.texts)} FROM {_table(view)} WHERE entity IN ({places})"
            )
        try:
            found = self._connection.execute(query, (view.hash, *entities)).fetchall()
        except sqlite3.OperationalError as error:
            if self.freshness(view) is not None:
                raise StoreError(f"{view.name}: {error}") from None
            found = []
        rows: dict[str | None, Any] = {row[0]: row[1] for row in found} if view.texts else dict(found)
        texts = {row[0]: row[2] for row in found} if view.texts else {}
        materialised_at: int | None = rows.pop(None, None)
        if materialised_at is None:
            raise StoreError(
                f"{view.name}: this definition of the view is not in the store: run skylane features materialize"
            )
        return rows, texts, materialised_at

    def _count(self, view: str, status: NDArray[np.uint8]) -> None:
        counts = self.counts.setdefault(view, Counts())
        counts.entities += len(status)
        if status.any():
            counts.absent += int((status == ABSENT).sum())
            counts.expired += int((status == EXPIRED).sum())

    def _execute(self, statement: str, values: tuple[object, ...] = ()) -> sqlite3.Cursor:
        return self._connection.execute(statement, values)


def _table(view: CompiledView) -> str:
    return f"rows_{view.hash[:32]}"


def _shown(instant: int) -> str:
    return str(np.datetime64(instant, "us")) + "Z"
