"""The part of the terminal that is redrawn while something is measured; in a log, lines. And figures as text."""

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Final, Generic, Self, TextIO, TypeVar

from rich.console import Console, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from skylane.bench.client.sending import progress_of
from skylane.cli.live import time_text

REDRAWS_PER_S: Final = 2
"""Drawing costs CPU on the machine that is measured."""
LOG_WIDTH: Final = 120
BAR: Final = 30
"""Width of a progress bar."""


@dataclass(kw_only=True)
class Current:
    """The measurement under way."""

    progress: Path
    """The file that the load generator keeps; see `skylane.bench.client.sending.progress_of`."""
    began_at: float = field(default_factory=time.monotonic)

    @property
    def passed_s(self) -> float:
        """Seconds since it began."""
        return time.monotonic() - self.began_at

    @property
    def counts_text(self) -> str:
        """How many requests were sent and answered so far, in words."""
        sent, answered = self.counts
        return f"{sent:,} sent, {answered:,} answered"

    @property
    def counts(self) -> tuple[int, int]:
        """Requests sent and answered so far."""
        sent, answered, _ = progress_of(self.progress)
        return sent, answered


C = TypeVar("C", bound=Current)


class Screen(Generic[C]):
    """Draws what `frame` returns on a terminal; elsewhere only lines are printed. The drawing is removed at the end.

    A quiet console shows nothing.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._status = ""
        self._current: C | None = None
        self._live = Live(console=console, get_renderable=self.frame, refresh_per_second=REDRAWS_PER_S, transient=True)

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._live.stop()

    def frame(self) -> RenderableType:
        """What is drawn now."""
        return Text(self._status, "dim")

    def status(self, text: str) -> None:
        """A step begins that is not a measurement."""
        self._status, self._current = text, None
        self._log(text)

    def _begin(self, current: C) -> None:
        """A measurement begins."""
        current.progress.unlink(missing_ok=True)
        self._current = current

    def _log(self, text: str) -> None:
        """A line where nothing is drawn."""
        if not self._console.is_terminal:
            self._print(text)

    def _print(self, text: str) -> None:
        """A line that stays."""
        self._console.print(text, highlight=False, markup=False, overflow="ignore", crop=False, soft_wrap=True)


def console(stream: TextIO | None = None, *, quiet: bool = False) -> Console:
    """Of stdout by default: as wide as the terminal, or as a line of a log."""
    stream = stream or sys.stdout
    return Console(file=stream, width=None if stream.isatty() else LOG_WIDTH, quiet=quiet)


def plain_table() -> Table:
    """Without lines, as all tables of the lab are."""
    return Table(box=None, header_style="dim", pad_edge=False)


def progress_row(total: float, done: float, *cells: RenderableType) -> Table:
    """A bar, and beside it what it is about."""
    row = Table.grid(padding=(0, 2))
    row.add_row(ProgressBar(total, min(done, total), BAR), *cells)
    return row


def log_line(columns: Sequence[str], cells: Sequence[str]) -> str:
    """The cells of a table's row that are known, each after the name of its column."""
    return "  ".join(f"{name.lower()} {cell}" for name, cell in zip(columns, cells, strict=True) if cell != "–")


def us_text(us: float | None) -> str:
    """Microseconds with a unit that fits."""
    return time_text(None if us is None else us / 1e6)


def rate_text(rate_per_s: float) -> str:
    """A rate as it was asked for, four digits."""
    return f"{rate_per_s:,.0f}/s" if rate_per_s >= 1000 else f"{rate_per_s:.4g}/s"
