"""What a person sees while it is measured: a table that fills on a terminal, a line for each measurement in a log."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

from rich.console import Console, Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from skylane.bench import processes
from skylane.bench.lab.scenarios.record import Round
from skylane.bench.lab.screens import live
from skylane.bench.lab.screens.live import BAR, plain_table, us_text
from skylane.bench.sending import progress_of
from skylane.cli.live import count_text, share_text

STARTUP_S: Final = 1.3
"""Of each measurement, for starting the generator and a share of measuring it alone; only the bar needs it."""
COLUMNS: Final = ("SENT/S", "ANSWERED/S", "P50", "P99", "P99.9", "ERRORS", "CPU/REQ", "ROWS/BATCH", "CACHE")
NOT_REPORTED: Final = "not reported"
REFUSAL: Final = f"limited by the generator: {NOT_REPORTED}"


@dataclass
class _Now:
    """What is being measured."""

    name: str
    round: int
    progress: Path
    began_at: float
    before: tuple[float, int, int]
    """Instant of the last look, and what was sent and answered until then."""


class Silent(live.Silent):
    """See skylane.bench.lab.scenarios.rounds.Watcher. Tells nothing."""

    def begins(self, name: str, round_: int, progress: Path) -> None:
        """Nothing."""

    def ended(self, name: str, found: Round) -> None:
        """Nothing."""


class Screen(live.Told, Silent):
    """See skylane.bench.lab.scenarios.rounds.Watcher."""

    def __init__(self, names: Sequence[str], rounds: int, seconds: float, pid: int | None, console: Console) -> None:
        self._names, self._rounds, self._seconds, self._pid = names, rounds, seconds, pid
        self._found: dict[str, list[Round]] = {name: [] for name in names}
        self._now: _Now | None = None
        self._rates = (0.0, 0.0)
        self._server = (0.0, 0.0)
        """Instant of the last look, and the CPU that the server had used."""
        self._cores = 0.0
        super().__init__(console)

    def says(self, text: str) -> None:
        """See Watcher."""
        self._text, self._now = text, None
        if not text.startswith("round"):
            self._log(text)

    def begins(self, name: str, round_: int, progress: Path) -> None:
        """See Watcher."""
        progress.unlink(missing_ok=True)
        at = time.monotonic()
        self._now = _Now(name, round_, progress, at, (at, 0, 0))
        self._rates = (0.0, 0.0)

    def ended(self, name: str, found: Round) -> None:
        """See Watcher."""
        self._found[name].append(found)
        self._now = None
        self._log(f"{name:12} round {found.round + 1} of {self._rounds}: {line(found)}")

    def frame(self) -> RenderableType:
        """See live.Told."""
        now = self._now
        done = sum(map(len, self._found.values()))
        share = min((time.monotonic() - now.began_at) / (self._seconds + STARTUP_S), 1.0) if now else 0.0
        total = self._rounds * len(self._names)
        left_s = max(total - done - share, 0) * (self._seconds + STARTUP_S)
        bar = Table.grid(padding=(0, 2))
        bar.add_row(
            ProgressBar(total, done + share, BAR),
            f"{done} of {total} measured",
            f"about {left_s:.0f} s left",
            self._what(),
        )
        return Group(self._table(now), Text(""), bar)

    def _what(self) -> Text:
        if self._pid is None:
            return Text(self._text if self._now is None else "", "dim")
        at, used_s = time.monotonic(), processes.cpu_s(self._pid)
        if at - self._server[0] > 0.3:
            self._cores = (used_s - self._server[1]) / (at - self._server[0]) if self._server[0] else 0.0
            self._server = (at, used_s)
        server = f"server: {self._cores:.2f} cores, {processes.rss_mib(self._pid):.0f} MiB"
        return Text(server if self._now else self._text, "dim")

    def _table(self, now: _Now | None) -> Table:
        table = empty_table()
        for name in self._names:
            if now and name == now.name:
                sent, answered = self._rate(now)
                cells = [f"{name} {now.round + 1}/{self._rounds}", count_text(sent), count_text(answered)]
                table.add_row(*cells, style="cyan")
            else:
                add_rounds(table, name, self._found[name])
        return table

    def _rate(self, now: _Now) -> tuple[float, float]:
        at = time.monotonic()
        sent, answered, _ = progress_of(now.progress)
        then, sent_before, answered_before = now.before
        if at - then > 0.3:
            passed = at - then
            self._rates = ((sent - sent_before) / passed, (answered - answered_before) / passed)
            now.before = (at, sent, answered)
        return self._rates


def empty_table() -> Table:
    """The columns of the live and of the last table."""
    table = plain_table()
    table.add_column("SCENARIO", no_wrap=True)
    for name in COLUMNS:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def add_rounds(table: Table, name: str, rounds: Sequence[Round]) -> None:
    """A row of medians over the rounds that may be reported, or why there is none."""
    reported = [found for found in rounds if not found.limited_by_generator]
    if not rounds:
        table.add_row(Text(name, "dim"))
    elif not reported:
        table.add_row(name, Text(NOT_REPORTED, "yellow"))
    else:
        table.add_row(name, *cells(reported))


def cells(rounds: Sequence[Round]) -> list[Text]:
    """The figures of COLUMNS, medians over these rounds."""

    def middle(values: Sequence[float | None]) -> float | None:
        known = [value for value in values if value is not None]
        return median(known) if known else None

    def time_of(values: Sequence[float | None]) -> Text:
        return Text(us_text(middle(values)))

    failed = sum(found.sent - found.answered for found in rounds)
    return [
        Text(count_text(middle([found.offered_per_s for found in rounds]))),
        Text(count_text(middle([found.answered_per_s for found in rounds]))),
        time_of([found.p50_us for found in rounds]),
        time_of([found.p99_us for found in rounds]),
        time_of([found.p999_us for found in rounds]),
        Text(share_text(failed / max(sum(found.sent for found in rounds), 1)), "red" if failed else ""),
        time_of([found.cpu_us for found in rounds]),
        Text(count_text(middle([found.batch_rows for found in rounds]))),
        Text(share_text(middle([found.hit_share for found in rounds]))),
    ]


def line(found: Round) -> str:
    """One measurement, for a log."""
    if found.limited_by_generator:
        return f"{REFUSAL}: {found.limited_by_generator}"
    shown = zip(COLUMNS, cells([found]), strict=True)
    return "  ".join(f"{name.lower()} {cell.plain}" for name, cell in shown if cell.plain != "–")
