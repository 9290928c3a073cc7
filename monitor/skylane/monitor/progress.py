"""How far a pass is, as a line on a terminal, or a line every few seconds in a log."""

import time
from collections.abc import Callable
from typing import Final, TextIO

TERMINAL_S: Final = 0.2
"""Least time between two lines on a terminal, where each replaces the one before."""
LOG_S: Final = 10.0
"""The same elsewhere."""
ERASE_LINE: Final = "\r\x1b[2K"


class Progress:
    """Counts of one pass. Call `rows` and `blocks` for work that was done, and `end` after the pass."""

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream, self._clock, self._terminal = stream, clock, stream.isatty()
        self._rows = self._blocks = 0
        self._shown_at = clock()
        self._on_screen = False

    def rows(self, count: int) -> None:
        """So many more rows were read."""
        self._rows += count
        self._show()

    def blocks(self, count: int) -> None:
        """Figures or verdicts of so many more blocks were computed."""
        self._blocks += count
        self._show()

    def end(self) -> None:
        """Remove the line from a terminal."""
        if self._on_screen:
            self._stream.write(ERASE_LINE)
            self._stream.flush()
            self._on_screen = False

    def _show(self) -> None:
        if self._clock() - self._shown_at < (TERMINAL_S if self._terminal else LOG_S):
            return
        self._shown_at = self._clock()
        text = f"skylane monitor: {self._rows:,} rows read, {self._blocks:,} blocks computed"
        self._stream.write(f"{ERASE_LINE}{text}" if self._terminal else f"{text}\n")
        self._stream.flush()
        self._on_screen = self._terminal
