"""The monitor's state: one SQLite file, one process. What was read and what was derived from it are written together.

A pass reads new rows, adds them to their blocks and moves the positions of the readers in one transaction. So a process
that is killed anywhere continues with each row counted exactly once.
"""

import fcntl
import json
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

FORMAT: Final = 1
"""Changes when a release cannot read the file of an earlier one."""

_SCHEMA: Final = """
CREATE TABLE about (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE position (
    kind TEXT, directory TEXT, model TEXT, value TEXT NOT NULL, PRIMARY KEY (kind, directory, model)
) WITHOUT ROWID;
CREATE TABLE part (
    id INTEGER PRIMARY KEY, model TEXT NOT NULL, block INTEGER NOT NULL, rows INTEGER NOT NULL, content BLOB NOT NULL
);
CREATE INDEX part_of_block ON part (model, block);
CREATE TABLE inputs (
    model TEXT, version INTEGER, block INTEGER, content BLOB NOT NULL, PRIMARY KEY (model, version, block)
) WITHOUT ROWID;
CREATE TABLE derived (
    model TEXT, kind TEXT, version INTEGER, block INTEGER, value TEXT NOT NULL,
    PRIMARY KEY (model, kind, version, block)
) WITHOUT ROWID;
CREATE TABLE dirty (model TEXT, block INTEGER, PRIMARY KEY (model, block)) WITHOUT ROWID;
CREATE TABLE report (
    id INTEGER PRIMARY KEY, model TEXT NOT NULL, kind TEXT NOT NULL, version INTEGER NOT NULL, block INTEGER NOT NULL,
    recorded_at INTEGER NOT NULL, value TEXT NOT NULL, UNIQUE (model, kind, version, block)
);
CREATE INDEX report_by_time ON report (model, recorded_at);
"""


class StateUnusable(Exception):
    """The file cannot be used as the monitor's state; the message gives the reason and the remedy."""


@dataclass(frozen=True)
class Part:
    """Some rows of a block, as an Arrow IPC stream."""

    id: int
    rows: int
    content: bytes


@dataclass(frozen=True)
class Report:
    """What was reported of a block when it had ended. It never changes."""

    model: str
    kind: str
    version: int
    block: int
    """Start of the block, in microseconds since 1970."""
    recorded_at: int
    """When it was written, in microseconds since 1970."""
    value: Any


class State:
    """The tables, and the transactions in which they change."""

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        """Open or create the file. Raises StateUnusable, also if another process has it open for writing."""
        self.path = path
        self._lock = -1 if read_only else _lock(path)
        try:
            self._database = _connect(path, read_only=read_only)
        except StateUnusable:
            self._unlock()
            raise

    def close(self) -> None:
        """Close the file and let other processes use it."""
        self._database.close()
        self._unlock()

    def __enter__(self) -> "State":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _unlock(self) -> None:
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All changes within happen together, or none. Raises StateUnusable if the disk refuses them."""
        try:
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._database.execute("ROLLBACK")
                raise
            self._database.execute("COMMIT")
        except sqlite3.Error as error:
            raise StateUnusable(f"{self.path}: {error}") from error

    def about(self, name: str) -> Any:
        """A value about the whole state; None if it was never set."""
        found = self._one("SELECT value FROM about WHERE name = ?", name)
        return None if found is None else json.loads(found[0])

    def set_about(self, name: str, value: Any) -> None:
        """Replace it."""
        self._run("INSERT OR REPLACE INTO about VALUES (?, ?)", name, json.dumps(value))

    def exclude(self, model: str, reason: str, rows: int) -> None:
        """Count rows that are in no figure."""
        counts = self.excluded(model)
        self.set_about(f"excluded {model}", counts | {reason: counts.get(reason, 0) + rows})

    def excluded(self, model: str) -> dict[str, int]:
        """Reason → rows that are in no figure."""
        return self.about(f"excluded {model}") or {}

    # --- positions ---------------------------------------------------------------------------------------------------

    def position(self, kind: str, directory: str, model: str) -> Any:
        """Where a reader stopped; None if it never read."""
        found = self._one(
            "SELECT value FROM position WHERE kind = ? AND directory = ? AND model = ?", kind, directory, model
        )
        return None if found is None else json.loads(found[0])

    def set_position(self, kind: str, directory: str, model: str, value: Any) -> None:
        """Where a reader goes on."""
        self._run("INSERT OR REPLACE INTO position VALUES (?, ?, ?, ?)", kind, directory, model, json.dumps(value))

    def positions(self, kind: str) -> dict[str, dict[str, Any]]:
        """Directory → model → where the reader stopped."""
        made: dict[str, dict[str, Any]] = {}
        for directory, model, value in self._all("SELECT directory, model, value FROM position WHERE kind = ?", kind):
            made.setdefault(directory, {})[model] = json.loads(value)
        return made

    # --- rows of blocks ----------------------------------------------------------------------------------------------

    def models(self) -> list[str]:
        """Models that have rows."""
        return [name for (name,) in self._all("SELECT DISTINCT model FROM part ORDER BY model")]

    def blocks(self, model: str) -> list[tuple[int, int]]:
        """Start and number of rows of each block, the oldest first."""
        return self._all("SELECT block, SUM(rows) FROM part WHERE model = ? GROUP BY block ORDER BY block", model)

    def parts(self, model: str, block: int) -> list[Part]:
        """All rows of a block, in the order in which they were read."""
        found = self._all("SELECT id, rows, content FROM part WHERE model = ? AND block = ? ORDER BY id", model, block)
        return [Part(*each) for each in found]

    def size(self, model: str, block: int) -> tuple[int, int]:
        """How many parts a block has, and how many rows."""
        parts, rows = self._one("SELECT COUNT(*), SUM(rows) FROM part WHERE model = ? AND block = ?", model, block)
        return parts, rows or 0

    def add_part(self, model: str, block: int, rows: int, content: bytes) -> None:
        """Add rows to a block, whose figures are then out of date."""
        self._run("INSERT INTO part (model, block, rows, content) VALUES (?, ?, ?, ?)", model, block, rows, content)
        self.mark(model, block)

    def replace_parts(self, model: str, block: int, rows: int, content: bytes) -> None:
        """One part in place of all of a block."""
        self._run("DELETE FROM part WHERE model = ? AND block = ?", model, block)
        self.add_part(model, block, rows, content)

    def remove_before(self, model: str, block: int) -> None:
        """Forget the rows of older blocks. What was derived from them and reported stays."""
        self._run("DELETE FROM part WHERE model = ? AND block < ?", model, block)
        self._run("DELETE FROM dirty WHERE model = ? AND block < ?", model, block)

    def mark(self, model: str, block: int) -> None:
        """The figures of this block are out of date."""
        self._run("INSERT OR IGNORE INTO dirty VALUES (?, ?)", model, block)

    def marked(self, model: str) -> list[int]:
        """Blocks whose figures are out of date, the oldest first."""
        return [block for (block,) in self._all("SELECT block FROM dirty WHERE model = ? ORDER BY block", model)]

    def unmark(self, model: str, block: int) -> None:
        """The figures of this block are up to date."""
        self._run("DELETE FROM dirty WHERE model = ? AND block = ?", model, block)

    # --- statistics of inputs, figures, reports ----------------------------------------------------------------------

    def inputs(self, model: str, version: int, block: int) -> bytes | None:
        """Statistics of the rows that a version received in a block."""
        found = self._one(
            "SELECT content FROM inputs WHERE model = ? AND version = ? AND block = ?", model, version, block
        )
        return None if found is None else bytes(found[0])

    def set_inputs(self, model: str, version: int, block: int, content: bytes) -> None:
        """Replace these statistics."""
        self._run("INSERT OR REPLACE INTO inputs VALUES (?, ?, ?, ?)", model, version, block, content)

    def input_blocks(self, model: str, version: int) -> list[int]:
        """Blocks in which a version received rows, the oldest first."""
        found = self._all("SELECT block FROM inputs WHERE model = ? AND version = ? ORDER BY block", model, version)
        return [block for (block,) in found]

    def versions(self, model: str) -> list[int]:
        """Versions that received rows."""
        found = self._all("SELECT DISTINCT version FROM inputs WHERE model = ? ORDER BY version", model)
        return [version for (version,) in found]

    def derived(self, model: str, kind: str) -> dict[tuple[int, int], Any]:
        """(Version, block) → the latest value of this kind."""
        found = self._all(
            "SELECT version, block, value FROM derived WHERE model = ? AND kind = ? ORDER BY block, version",
            model,
            kind,
        )
        return {(version, block): json.loads(value) for version, block, value in found}

    def set_derived(self, model: str, kind: str, version: int, block: int, value: Any) -> None:
        """Replace a value."""
        self._run("INSERT OR REPLACE INTO derived VALUES (?, ?, ?, ?, ?)", model, kind, version, block, _json(value))

    def write_report(self, report: Report) -> bool:
        """Keep a report; False if there is one of this block already, which stays as it was written."""
        done = self._database.execute(
            "INSERT OR IGNORE INTO report (model, kind, version, block, recorded_at, value) VALUES (?, ?, ?, ?, ?, ?)",
            (report.model, report.kind, report.version, report.block, report.recorded_at, _json(report.value)),
        )
        return done.rowcount == 1

    def reports(self, model: str, kind: str, *, recorded_by: int | None = None) -> Sequence[Report]:
        """Reports of a kind in the order of their blocks, as far as they had been written at that instant."""
        found = self._all(
            "SELECT model, kind, version, block, recorded_at, value FROM report WHERE model = ? AND kind = ? "
            "AND recorded_at <= ? ORDER BY block, version",
            model,
            kind,
            2**62 if recorded_by is None else recorded_by,
        )
        return [
            Report(model, kind, version, block, recorded_at, json.loads(value))
            for model, kind, version, block, recorded_at, value in found
        ]

    def _one(self, statement: str, *values: Any) -> Any:
        return self._database.execute(statement, values).fetchone()

    def _all(self, statement: str, *values: Any) -> list[Any]:
        return self._database.execute(statement, values).fetchall()

    def _run(self, statement: str, *values: Any) -> None:
        self._database.execute(statement, values)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def _lock(path: Path) -> int:
    """Hold a lock beside the file until the process ends, however it ends."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = os.open(path.with_name(f"{path.name}.lock"), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StateUnusable(f"--state {path}: {error.strerror}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise StateUnusable(
            f"--state {path}: another `skylane monitor` uses this file; stop it, or give this one a file of its own"
        ) from None
    return lock


def _connect(path: Path, *, read_only: bool) -> sqlite3.Connection:
    if read_only and not path.is_file():
        raise StateUnusable(f"--state {path}: no such file; `skylane monitor --once` makes it")
    try:
        if not read_only:
            os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
        mode = "ro" if read_only else "rw"
        database = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode={mode}",
            uri=True,
            isolation_level=None,
            check_same_thread=False,
            timeout=30,
        )
        if not read_only:
            database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = NORMAL")
        version = database.execute("PRAGMA user_version").fetchone()[0]
        if version == 0 and not read_only:
            _create(database)
        elif version != FORMAT:
            database.close()
            raise StateUnusable(
                f"--state {path}: its format is {version}, this release has {FORMAT}; use another file: the figures "
                "are made anew from the journal"
            )
    except (sqlite3.Error, OSError) as error:
        raise StateUnusable(f"--state {path}: {error}; use another file, or remove this one") from error
    return database


def _create(database: sqlite3.Connection) -> None:
    database.executescript(f"BEGIN IMMEDIATE;{_SCHEMA}PRAGMA user_version = {FORMAT};COMMIT;")
