"""Where rows come from: files (sources.py) and the journal (journalled.py)."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from pathlib import Path
from threading import Event
from typing import Protocol

import pyarrow as pa

from skylane.score.sources import Format


class Rows(Protocol):
    """The rows of one source. Read once."""

    @property
    def schema(self) -> pa.Schema:
        """Of its batches."""

    @property
    def file_schema(self) -> pa.Schema:
        """Of those columns that may be written to the output."""

    @property
    def texts(self) -> frozenset[str]:
        """Columns without a type of their own."""

    @property
    def unreadable(self) -> Sequence[str]:
        """Of each line that is no row, why; complete when the batches were read."""

    @property
    def rows(self) -> int | None:
        """How many there are, where that is known."""

    def batches(self) -> Iterator[pa.RecordBatch]:
        """In order. Raises ScoreError for rows that cannot be read."""

    def begin_hash(self, pool: Executor, stop: Event, /) -> Callable[[], str]:
        """Hash the content beside the reading. The result is called when the batches were read; it returns what
        `Source.sha256` returns for the content that was read, or raises ScoreError if that changed meanwhile."""


class Source(Protocol):
    """One input, which becomes one output."""

    @property
    def path(self) -> Path:
        """Where it is."""

    @property
    def relative(self) -> str:
        """The output's path below the output directory, with slashes."""

    @property
    def format(self) -> Format:
        """Its own, which the output has unless another is asked for."""

    def renamed(self, relative: str) -> "Source":
        """The same, for an output of another name."""

    def open(self) -> Rows:
        """Raises ScoreError if it cannot be read."""

    def sha256(self) -> str:
        """Of its content."""
