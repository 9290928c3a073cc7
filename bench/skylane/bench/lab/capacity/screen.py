"""What a person sees while the highest rate is looked for: a growing table on a terminal, a line for each in a log."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from skylane.bench.lab.capacity.search import Goal, Outcome, Step, outcome
from skylane.bench.lab.output.live import Current, Screen, log_line, plain_table, progress_row, rate_text, us_text
from skylane.cli.live import count_text, share_text

SHOWN_MAX: Final = 14
"""Steps on a terminal; earlier ones leave at the top."""
WHY_WIDTH: Final = 36
"""Of what made a measurement not count; the log, the page and the file have all of it."""
STYLES: Final[dict[Outcome, str]] = {"kept": "green", "broken": "red", "limited": "yellow"}
COLUMNS: Final = ("RATE", "SENT", "P50", "P99", "LOST", "CPU/REQ", "ROWS/BATCH", "CACHE")


@dataclass(kw_only=True)
class _Current(Current):
    rate_per_s: float
    seconds: float


class CapacityScreen(Screen[_Current]):
    """The measurements of the search under way, and the end of each search."""

    def __init__(self, console: Console) -> None:
        self._steps: list[tuple[Step, Goal]] = []
        super().__init__(console)

    def begins(self, rate_per_s: float, seconds: float, progress: Path) -> None:
        """A rate is measured for so long."""
        self._begin(_Current(progress=progress, rate_per_s=rate_per_s, seconds=seconds))

    def ended(self, step: Step, goal: Goal) -> None:
        """A rate has been measured."""
        self._steps.append((step, goal))
        self._current = None
        self._log(line(step, goal))

    def settled(self, text: str) -> None:
        """A search has ended; the next begins with no steps."""
        self._steps.clear()
        self._print(text)

    def frame(self) -> RenderableType:
        current = self._current
        bar: RenderableType = Text(self._status, "dim")
        if current is not None:
            shown = f"{rate_text(current.rate_per_s)} for {current.seconds:.3g} s: {current.counts_text}"
            bar = progress_row(current.seconds, current.passed_s, Text(shown), bar)
        return Group(steps_table(self._steps[-SHOWN_MAX:]), Text(""), bar) if self._steps else bar


def steps_table(steps: Sequence[tuple[Step, Goal]]) -> Table:
    """Steps, at least one, in the order in which they were measured, and what each says."""
    table, rows = plain_table(), [cells(step) for step, _ in steps]
    for name, column in zip(COLUMNS, zip(*rows, strict=True), strict=True):
        table.add_column(name, justify="right", no_wrap=True, min_width=max(map(len, (name, *column))))
    table.add_column("TARGET", no_wrap=True, max_width=WHY_WIDTH)
    for row, (step, goal) in zip(rows, steps, strict=True):
        table.add_row(*map(Text, row), Text(why(step, goal), STYLES[outcome(step, goal)]))
    return table


def cells(step: Step) -> list[str]:
    """The figures of COLUMNS."""
    return [
        rate_text(step.rate_per_s), f"{step.sent:,}", us_text(step.p50_us), us_text(step.p99_us),
        share_text(step.lost_share), us_text(step.cpu_us), count_text(step.batch_rows), share_text(step.hit_share),
    ]  # fmt: skip


def line(step: Step, goal: Goal) -> str:
    """One measurement, for a log."""
    return f"{log_line(COLUMNS, cells(step))}  {why(step, goal)}"


def why(step: Step, goal: Goal) -> str:
    """What a measurement says, and what made it say so."""
    match outcome(step, goal):
        case "kept":
            return "kept"
        case "limited":
            return f"not counted: {step.limited}"
        case "broken":
            return "broken: requests lost" if step.lost_share > goal.lost_share_max else "broken"
