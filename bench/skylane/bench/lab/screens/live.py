"""A part of the terminal that is drawn anew while something is measured; in a log, lines. And figures as text."""

import sys
from types import TracebackType
from typing import Final, Self, TextIO

from rich.console import Console, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from skylane.cli.live import time_text

REDRAWS_PER_S: Final = 2
"""Drawing costs CPU on the machine that is measured."""
LOG_WIDTH: Final = 120
BAR: Final = 30
"""Width of a bar for progress."""


class Silent:
    """Tells nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        return

    def says(self, text: str) -> None:
        """Something begins that is no measurement."""


class Told:
    """Draws what `frame` gives, on a terminal; elsewhere only lines are printed. The drawing goes at the end."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._text = ""
        """What was said last."""
        self._live = Live(
            console=console, get_renderable=self.frame, refresh_per_second=REDRAWS_PER_S, transient=True
        )  # fmt: skip

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._live.stop()

    def frame(self) -> RenderableType:
        """What is drawn now."""
        return Text(self._text, "dim")

    def says(self, text: str) -> None:
        """Something begins that is no measurement."""
        self._text = text
        self._log(text)

    def _log(self, text: str) -> None:
        """A line where nothing is drawn."""
        if not self._console.is_terminal:
            self._print(text)

    def _print(self, text: str) -> None:
        """A line that stays."""
        self._console.print(text, highlight=False, markup=False, overflow="ignore", crop=False, soft_wrap=True)


def console(stream: TextIO | None = None) -> Console:
    """Of stdout by default: as wide as the terminal, or as a line of a log."""
    stream = stream or sys.stdout
    return Console(file=stream, width=None if stream.isatty() else LOG_WIDTH)


def plain_table() -> Table:
    """Without lines, as all tables of the lab are."""
    return Table(box=None, header_style="dim", pad_edge=False)


def us_text(us: float | None) -> str:
    """Microseconds with a unit that fits."""
    return time_text(None if us is None else us / 1e6)


def rate_text(rate_per_s: float) -> str:
    """A rate as it was asked for, four digits."""
    return f"{rate_per_s:,.0f}/s" if rate_per_s >= 1000 else f"{rate_per_s:.4g}/s"
