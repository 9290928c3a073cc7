"""Shows how far a run is: a bar on a terminal, lines in a log."""

import sys
import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from skylane.score.layout import REJECTED
from skylane.score.records import PartitionRecord
from skylane.score.run import Summary

PLAIN_WIDTH = 120
"""Width of a line, in characters, where the output is not a terminal."""
LISTED_MAX = 100
"""Files that get a line each. Of more, those get one of which rows were rejected."""
LINE_S = 10.0
"""Seconds between two lines of progress where there is no terminal."""


class Reporter:
    """Prints progress to stderr and the result to stdout. Use as a context."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._console = Console(quiet=quiet, stderr=True, width=None if sys.stderr.isatty() else PLAIN_WIDTH)
        columns = (
            TextColumn("scoring"), BarColumn(), MofNCompleteColumn(), TextColumn("rows"),
            TextColumn("{task.fields[rate]}"), TimeRemainingColumn(),
        )  # fmt: skip
        self._bar = Progress(*columns, console=self._console, transient=True, disable=not self._console.is_terminal)
        self._task = self._bar.add_task("scoring", total=None, rate="")
        self._done, self._skipped, self._scored, self._began_at = 0, 0, 0, time.monotonic()
        self._said_at = self._began_at
        self._partitions = 0

    def begin(self, partitions: int, rows: int | None) -> None:
        """See Progress."""
        self._partitions, self._began_at = partitions, time.monotonic()
        self._bar.update(self._task, total=rows)

    def rows(self, count: int) -> None:
        """See Progress."""
        self._done += count
        now = time.monotonic()
        rate = f"{self._done / max(now - self._began_at, 1e-3):,.0f}/s"
        self._bar.update(self._task, completed=self._done + self._skipped, rate=rate)
        if not self._console.is_terminal and now - self._said_at >= LINE_S:
            self._said_at = now
            files = f", {self._scored} of {_files(self._partitions)}" if self._partitions > 1 else ""
            self._console.print(f"{self._done:,} rows{files}, {rate}", highlight=False)

    def partition(self, name: str, record: PartitionRecord, *, was_done: bool) -> None:
        """See Progress."""
        self._scored += 1
        if was_done:
            self._skipped += record.rows
            self._bar.update(self._task, completed=self._done + self._skipped)
        if not 1 < self._partitions <= LISTED_MAX and not record.rejected:
            return
        state = "unchanged" if was_done else f"{record.rows:,} rows"
        rejected = f", {record.rejected:,} rejected" if record.rejected else ""
        if self._partitions > 1:
            self._console.print(
                f"{self._scored}/{self._partitions} {name}: {state}{rejected}", highlight=False, markup=False
            )

    def finish(self, summary: Summary, output: str) -> None:
        """Say what was done."""
        if self._quiet:
            return
        seconds = time.monotonic() - self._began_at
        if not summary.scored:
            print(f"nothing to do: {_files(summary.unchanged)} in {output} complete and unchanged")
        else:
            unchanged = f"; {_files(summary.unchanged)} unchanged" if summary.unchanged else ""
            rate = f"{summary.scored_rows / max(seconds, 1e-3):,.0f} rows/s"
            done = f"{summary.scored_rows:,} rows in {_files(summary.scored)}"
            print(f"{done}, {seconds:.1f} s, {rate}{unchanged}: {output}")
        if summary.rejected:
            print(f"{summary.rejected:,} rows were rejected: see the column _reason of the files in {REJECTED}/")

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._bar.stop()


def _files(count: int) -> str:
    return "1 file" if count == 1 else f"{count:,} files"
