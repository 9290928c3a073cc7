"""What `skylane bench` prints when it has measured: the figures, what was not reported, and the comparison."""

from collections import Counter
from statistics import median
from typing import Final

import grpc
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from skylane.bench.figures import Spread
from skylane.bench.lab.output.document import minute
from skylane.bench.lab.output.live import plain_table
from skylane.bench.lab.scenarios.comparison import Comparison, Figure, compare
from skylane.bench.lab.scenarios.record import ScenariosRun
from skylane.bench.lab.scenarios.screen import add_rounds, empty_table
from skylane.cli.live import bytes_text, count_text, time_text

CODES: Final = {str(code.value[0]): code.name for code in grpc.StatusCode}
REFUSED: Final = str(grpc.StatusCode.RESOURCE_EXHAUSTED.value[0])
COMPANY: Final = 0.25
"""Cores that others used, from which on it is lines."""
STYLES: Final = {True: "green", False: "red", None: "dim"}


def summary(run: ScenariosRun, baseline: ScenariosRun | None) -> RenderableType:
    """All of it."""
    table = empty_table()
    for scenario in run.scenarios:
        add_rounds(table, scenario.name, scenario.rounds)
    parts: list[RenderableType] = [Text(heading(run)), Text(""), table]
    if notes := in_time(run):
        parts += [Text(""), *map(Text, notes)]
    if warnings := company(run) + refusals(run) + losses(run) + closed(run):
        parts += [Text(""), *(Text(text, "yellow") for text in warnings)]
    if baseline is not None:
        compared = compare(run, baseline)
        parts += [Text(""), Text(versus(baseline, compared)), Text("")]
        parts += [_compared(compared)] if compared.lines else []
        parts += [Text(f"not compared: {reason}", "yellow") for reason in compared.left_out]
    return Group(*parts)


def heading(run: ScenariosRun) -> str:
    """Of what model what was measured, in a line."""
    return f"{run.model} version {run.version}, {terms(run)}"


def terms(run: ScenariosRun) -> str:
    """What was measured."""
    rounds, seconds, rate = (run.settings[name] for name in ("rounds", "seconds", "rate_per_s"))
    rows = "1 row" if run.rows == 1 else f"{run.rows} rows"
    return (
        f"{rows} in a request; medians of {rounds} round{'s' * (rounds != 1)} of "
        f"{seconds:g} s, schedules of {rate:,.0f}/s"
    )


def refusals(run: ScenariosRun) -> list[str]:
    """Which rounds are not reported, and why."""
    lines = []
    for scenario in run.scenarios:
        limited = [each for each in scenario.rounds if each.limited_by_generator]
        if limited:
            lines.append(
                f"{scenario.name}: {len(limited)} of {len(scenario.rounds)} rounds limited by the generator, not "
                f"reported: {limited[0].limited_by_generator}"
            )
    return lines


def company(run: ScenariosRun) -> list[str]:
    """Whether the machine had other work to do."""
    used = [each.other_cores for scenario in run.scenarios for each in scenario.rounds if each.other_cores is not None]
    if not used or median(used) < COMPANY:
        return []
    return [
        f"other programs used {median(used):.1f} of this machine's {run.machine.cores} cores meanwhile: latencies are "
        "theirs as well"
    ]


def losses(run: ScenariosRun) -> list[str]:
    """How requests ended that were not answered, by scenario."""
    lines = []
    for scenario in run.scenarios:
        ended = Counter[str]()
        for each in scenario.reported:
            ended[REFUSED] += each.refused
            ended.update(each.errors)
        named = ", ".join(f"{count:,} × {CODES.get(status, status)}" for status, count in ended.most_common() if count)
        if named:
            sent = sum(each.sent for each in scenario.reported)
            lines.append(f"{scenario.name}: of {sent:,} requests these were not answered: {named}")
    return lines


def closed(run: ScenariosRun) -> list[str]:
    """How many connections the server closed, by scenario."""
    lines = []
    for scenario in run.scenarios:
        if lost := sum(each.lost for each in scenario.rounds):
            were = "connection was" if lost == 1 else "connections were"
            lines.append(f"{scenario.name}: {lost:,} {were} closed by the server, and made again")
    return lines


def in_time(run: ScenariosRun) -> list[str]:
    """How many answers came in time, by scenario; nothing where no time was asked for."""
    limit_ms = run.settings.get("in_time_ms")
    if limit_ms is None:
        return []
    return [
        f"{scenario.name}: {count_text(median(each.goodput_per_s for each in scenario.reported))}/s were answered "
        f"within {limit_ms:g} ms"
        for scenario in run.scenarios
        if scenario.reported
    ]


def versus(baseline: ScenariosRun, compared: Comparison) -> str:
    """What it is compared with, in a line."""
    at = minute(baseline.started_at)
    harness = f"the harness alone was {compared.machine:.2f} × as fast as then"
    return f"Beside the run of {at} UTC at {baseline.commit}; {harness}"


def figure_text(figure: Figure, value: float) -> str:
    """A figure with its unit."""
    if figure.kind in ("time", "cost"):
        return time_text(value / 1e6)
    return bytes_text(value * 2**20) if figure.kind == "size" else f"{count_text(value)}/s"


def range_text(figure: Figure, rounds: Spread) -> str:
    """From the least to the greatest, the unit once where it is the same."""
    low, high = figure_text(figure, rounds.low), figure_text(figure, rounds.high)
    if low == high:
        return low
    number, _, unit = low.rpartition(" ")
    return f"{number} – {high}" if number and high.endswith(f" {unit}") else f"{low} – {high}"


def ratio_text(ratio: Spread) -> str:
    """A ratio and how far its rounds lie apart."""
    return f"{ratio.median:.2f} × ({ratio.low:.2f}–{ratio.high:.2f})"


def _compared(compared: Comparison) -> Table:
    table = plain_table()
    for name in ("SCENARIO", "FIGURE"):
        table.add_column(name, no_wrap=True)
    for name in ("THEN", "NOW", "RATIO (ROUNDS)"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("VERDICT")
    for line in compared.lines:
        verdict = line.verdict
        word = verdict.word + (f": {verdict.why}" if verdict.why else "")
        table.add_row(
            line.scenario, line.figure.name, figure_text(line.figure, line.before.median),
            figure_text(line.figure, line.now.median),
            ratio_text(verdict.ratio), Text(word, STYLES[verdict.better]),
        )  # fmt: skip
    return table
