"""What a person sees while the highest rate is looked for: a growing table on a terminal, a line for each in a log."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from bench.lab.knee_search import Goal, Outcome, Step, outcome
from bench.sending import progress_of
from skylane.cli.live import count_text, share_text, time_text

REDRAWS_PER_S: Final = 2
"""Drawing costs CPU on the machine that is measured."""
SHOWN_MAX: Final = 14
"""Steps on a terminal; earlier ones leave at the top."""
BAR: Final = 30
WHY_WIDTH: Final = 36
"""Of what made a measurement not count; the log, the page and the file have all of it."""
STYLES: Final[dict[Outcome, str]] = {"kept": "green", "broken": "red", "limited": "yellow"}
COLUMNS: Final = ("RATE", "SENT", "P50", "P99", "LOST", "CPU/REQ", "ROWS/BATCH", "CACHE")


@dataclass
class _Now:
    rate_per_s: float
    seconds: float
    progress: Path
    began_at: float


class Silent:
    """Tells nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        return

    def says(self, text: str) -> None:
        """Something begins that is no measurement."""

    def begins(self, rate_per_s: float, seconds: float, progress: Path) -> None:
        """A rate is measured for so long; see `bench.sending.progress_of` for the file."""

    def ended(self, step: Step, goal: Goal) -> None:
        """It has been measured."""

    def settled(self, text: str) -> None:
        """A search has ended; the next begins with no steps."""


class Screen(Silent):
    """Tells all of it."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._steps: list[tuple[Step, Goal]] = []
        self._text = ""
        self._now: _Now | None = None
        self._live = Live(console=console, get_renderable=self._frame, refresh_per_second=REDRAWS_PER_S, transient=True)

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._live.stop()

    def says(self, text: str) -> None:
        """See Silent."""
        self._text, self._now = text, None
        if not self._console.is_terminal:
            self._print(text)

    def begins(self, rate_per_s: float, seconds: float, progress: Path) -> None:
        """See Silent."""
        progress.unlink(missing_ok=True)
        self._now = _Now(rate_per_s, seconds, progress, time.monotonic())

    def ended(self, step: Step, goal: Goal) -> None:
        """See Silent."""
        self._steps.append((step, goal))
        self._now = None
        if not self._console.is_terminal:
            self._print(line(step, goal))

    def settled(self, text: str) -> None:
        """See Silent."""
        self._steps.clear()
        self._print(text)

    def _print(self, text: str) -> None:
        self._console.print(text, highlight=False, markup=False, overflow="ignore", crop=False, soft_wrap=True)

    def _frame(self) -> RenderableType:
        bar = Table.grid(padding=(0, 2))
        if self._now is None:
            bar.add_row(Text(self._text, "dim"))
        else:
            now, passed = self._now, time.monotonic() - self._now.began_at
            sent, answered, _ = progress_of(now.progress)
            bar.add_row(
                ProgressBar(now.seconds, min(passed, now.seconds), BAR),
                Text(f"{rate_text(now.rate_per_s)} for {now.seconds:.3g} s: {sent:,} sent, {answered:,} answered"),
                Text(self._text, "dim"),
            )
        return Group(steps_table(self._steps[-SHOWN_MAX:]), Text(""), bar) if self._steps else bar


def steps_table(steps: Sequence[tuple[Step, Goal]]) -> Table:
    """Steps, at least one, in the order in which they were measured, and what each says."""
    table, rows = Table(box=None, header_style="dim", pad_edge=False), [cells(step) for step, _ in steps]
    for name, column in zip(COLUMNS, zip(*rows, strict=True), strict=True):
        table.add_column(name, justify="right", no_wrap=True, min_width=max(map(len, (name, *column))))
    table.add_column("TARGET", no_wrap=True, max_width=WHY_WIDTH)
    for row, (step, goal) in zip(rows, steps, strict=True):
        table.add_row(*map(Text, row), Text(why(step, goal), STYLES[outcome(step, goal)]))
    return table


def cells(step: Step) -> list[str]:
    """The figures of COLUMNS."""
    return [
        rate_text(step.rate_per_s), f"{step.sent:,}", _time(step.p50_us), _time(step.p99_us),
        share_text(step.lost_share), _time(step.cpu_us), count_text(step.batch_rows), share_text(step.hit_share),
    ]  # fmt: skip


def line(step: Step, goal: Goal) -> str:
    """One measurement, for a log."""
    shown = zip(COLUMNS, cells(step), strict=True)
    figures = "  ".join(f"{name.lower()} {cell}" for name, cell in shown if cell != "–")
    return f"{figures}  {why(step, goal)}"


def why(step: Step, goal: Goal) -> str:
    """What a measurement says, and what made it say so."""
    match outcome(step, goal):
        case "kept":
            return "kept"
        case "limited":
            return f"not counted: {step.limited}"
        case "broken":
            return "broken: requests lost" if step.lost_share > goal.lost_share_max else "broken"


def rate_text(rate_per_s: float) -> str:
    """A rate as it was asked for, four digits."""
    return f"{rate_per_s:,.0f}/s" if rate_per_s >= 1000 else f"{rate_per_s:.4g}/s"


def _time(us: float | None) -> str:
    return time_text(None if us is None else us / 1e6)
