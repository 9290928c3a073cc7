"""What a person sees while it is measured: a table that fills on a terminal, a line for each measurement in a log."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from skylane.bench.figures import known_median
from skylane.bench.host import processes
from skylane.bench.lab.output.live import Current, Screen, log_line, plain_table, progress_row, us_text
from skylane.bench.lab.scenarios.record import Round
from skylane.cli.live import count_text, share_text

STARTUP_S: Final = 1.3
"""Of each measurement, for starting the generator and a share of measuring it alone; only the bar needs it."""
COLUMNS: Final = ("SENT/S", "ANSWERED/S", "P50", "P99", "P99.9", "ERRORS", "CPU/REQ", "ROWS/BATCH", "CACHE")
NOT_REPORTED: Final = "not reported"
REDRAW_S: Final = 0.3
"""Rates are those of at least so long."""
REFUSAL: Final = f"limited by the generator: {NOT_REPORTED}"


@dataclass(kw_only=True)
class _Current(Current):
    name: str
    round: int
    before: tuple[float, int, int] = (0.0, 0, 0)
    """Seconds since it began when it was last drawn, and what was sent and answered until then."""
    rates: tuple[float, float] = (0.0, 0.0)

    def updated_rates(self) -> tuple[float, float]:
        """Requests sent and answered per second lately."""
        (sent, answered), (then, sent_before, answered_before) = self.counts, self.before
        passed_s = self.passed_s - then
        if passed_s > REDRAW_S:
            self.rates = ((sent - sent_before) / passed_s, (answered - answered_before) / passed_s)
            self.before = (then + passed_s, sent, answered)
        return self.rates


class ScenariosScreen(Screen[_Current]):
    """A table with a row for each scenario."""

    def __init__(self, names: Sequence[str], rounds: int, seconds: float, pid: int | None, console: Console) -> None:
        self._names, self._rounds, self._seconds, self._pid = names, rounds, seconds, pid
        self._measured: dict[str, list[Round]] = {name: [] for name in names}
        self._server = (0.0, 0.0)
        """When the server's CPU was last read, and what it had used."""
        self._cores = 0.0
        super().__init__(console)

    def status(self, text: str) -> None:
        self._status, self._current = text, None
        if not text.startswith("round"):
            self._log(text)

    def begins(self, name: str, round_: int, progress: Path) -> None:
        """A scenario is measured."""
        self._begin(_Current(progress=progress, name=name, round=round_))

    def ended(self, name: str, measured: Round) -> None:
        """A scenario has been measured."""
        self._measured[name].append(measured)
        self._current = None
        self._log(f"{name:12} round {measured.round + 1} of {self._rounds}: {line(measured)}")

    def frame(self) -> RenderableType:
        current, done = self._current, sum(map(len, self._measured.values()))
        share = min(current.passed_s / (self._seconds + STARTUP_S), 1.0) if current else 0.0
        total = self._rounds * len(self._names)
        left_s = max(total - done - share, 0) * (self._seconds + STARTUP_S)
        bar = progress_row(
            total, done + share, f"{done} of {total} measured", f"about {left_s:.0f} s left", self._usage()
        )
        return Group(self._table(), Text(""), bar)

    def _usage(self) -> Text:
        """What the server uses while it is measured."""
        if self._current is None or self._pid is None:
            return Text("" if self._current else self._status, "dim")
        at, used_s = time.monotonic(), processes.cpu_s(self._pid)
        if at - self._server[0] > REDRAW_S:
            self._cores = (used_s - self._server[1]) / (at - self._server[0]) if self._server[0] else 0.0
            self._server = (at, used_s)
        return Text(f"server: {self._cores:.2f} cores, {processes.rss_mib(self._pid):.0f} MiB", "dim")

    def _table(self) -> Table:
        table, current = empty_table(), self._current
        for name in self._names:
            if current and name == current.name:
                sent, answered = current.updated_rates()
                cells = [f"{name} {current.round + 1}/{self._rounds}", count_text(sent), count_text(answered)]
                table.add_row(*cells, style="cyan")
            else:
                add_rounds(table, name, self._measured[name])
        return table


def empty_table() -> Table:
    """The columns of the live and of the last table."""
    table = plain_table()
    table.add_column("SCENARIO", no_wrap=True)
    for name in COLUMNS:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def add_rounds(table: Table, name: str, rounds: Sequence[Round]) -> None:
    """A row of medians over the rounds that may be reported, or why there is none."""
    reported = [each for each in rounds if not each.limited_by_generator]
    if not rounds:
        table.add_row(Text(name, "dim"))
    elif not reported:
        table.add_row(name, Text(NOT_REPORTED, "yellow"))
    else:
        table.add_row(name, *cells(reported))


def cells(rounds: Sequence[Round]) -> list[Text]:
    """The figures of COLUMNS, medians over these rounds."""
    failed = sum(each.sent - each.answered for each in rounds)
    return [
        Text(count_text(known_median(each.offered_per_s for each in rounds))),
        Text(count_text(known_median(each.answered_per_s for each in rounds))),
        Text(us_text(known_median(each.p50_us for each in rounds))),
        Text(us_text(known_median(each.p99_us for each in rounds))),
        Text(us_text(known_median(each.p999_us for each in rounds))),
        Text(share_text(failed / max(sum(each.sent for each in rounds), 1)), "red" if failed else ""),
        Text(us_text(known_median(each.cpu_us for each in rounds))),
        Text(count_text(known_median(each.batch_rows for each in rounds))),
        Text(share_text(known_median(each.hit_share for each in rounds))),
    ]


def line(each: Round) -> str:
    """One measurement, for a log."""
    if each.limited_by_generator:
        return f"{REFUSAL}: {each.limited_by_generator}"
    return log_line(COLUMNS, [cell.plain for cell in cells([each])])
