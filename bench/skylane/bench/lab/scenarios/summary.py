"""What `skylane bench` prints when it has measured: the figures, what was not reported, and the comparison."""

from collections import Counter
from statistics import median
from typing import Final

import grpc
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from skylane.bench.figures import Spread
from skylane.bench.lab.scenarios.comparison import Comparison, Figure, compare
from skylane.bench.lab.scenarios.record import Lab
from skylane.bench.lab.scenarios.screen import add_rounds, empty_table
from skylane.bench.lab.screens.document import minute
from skylane.bench.lab.screens.live import plain_table
from skylane.cli.live import bytes_text, count_text, time_text

CODES: Final = {str(code.value[0]): code.name for code in grpc.StatusCode}
REFUSED: Final = str(grpc.StatusCode.RESOURCE_EXHAUSTED.value[0])
COMPANY: Final = 0.25
"""Cores that others used, from which on it is told."""
STYLES: Final = {True: "green", False: "red", None: "dim"}


def summary(lab: Lab, baseline: Lab | None) -> RenderableType:
    """All of it."""
    table = empty_table()
    for scenario in lab.scenarios:
        add_rounds(table, scenario.name, scenario.rounds)
    parts: list[RenderableType] = [Text(heading(lab)), Text(""), table]
    if notes := in_time(lab):
        parts += [Text(""), *map(Text, notes)]
    if warnings := company(lab) + refusals(lab) + losses(lab) + closed(lab):
        parts += [Text(""), *(Text(text, "yellow") for text in warnings)]
    if baseline is not None:
        compared = compare(lab, baseline)
        parts += [Text(""), Text(versus(baseline, compared)), Text("")]
        parts += [_compared(compared)] if compared.lines else []
        parts += [Text(f"not compared: {reason}", "yellow") for reason in compared.left_out]
    return Group(*parts)


def heading(lab: Lab) -> str:
    """Of what model what was measured, in a line."""
    return f"{lab.model} version {lab.version}, {terms(lab)}"


def terms(lab: Lab) -> str:
    """What was measured."""
    rounds, seconds, rate = (lab.settings[name] for name in ("rounds", "seconds", "rate_per_s"))
    rows = "1 row" if lab.rows == 1 else f"{lab.rows} rows"
    return (
        f"{rows} in a request; medians of {rounds} round{'s' * (rounds != 1)} of "
        f"{seconds:g} s, schedules of {rate:,.0f}/s"
    )


def refusals(lab: Lab) -> list[str]:
    """Which rounds are not reported, and why."""
    told = []
    for scenario in lab.scenarios:
        limited = [found for found in scenario.rounds if found.limited_by_generator]
        if limited:
            told.append(
                f"{scenario.name}: {len(limited)} of {len(scenario.rounds)} rounds limited by the generator, not "
                f"reported: {limited[0].limited_by_generator}"
            )
    return told


def company(lab: Lab) -> list[str]:
    """Whether the machine had other work to do."""
    used = [each.other_cores for scenario in lab.scenarios for each in scenario.rounds if each.other_cores is not None]
    if not used or median(used) < COMPANY:
        return []
    return [
        f"other programs used {median(used):.1f} of this machine's {lab.machine.cores} cores meanwhile: latencies are "
        "theirs as well"
    ]


def losses(lab: Lab) -> list[str]:
    """How requests ended that were not answered, by scenario."""
    told = []
    for scenario in lab.scenarios:
        ended = Counter[str]()
        for found in scenario.reported:
            ended[REFUSED] += found.refused
            ended.update(found.errors)
        named = ", ".join(f"{count:,} × {CODES.get(status, status)}" for status, count in ended.most_common() if count)
        if named:
            sent = sum(found.sent for found in scenario.reported)
            told.append(f"{scenario.name}: of {sent:,} requests these were not answered: {named}")
    return told


def closed(lab: Lab) -> list[str]:
    """How many connections the server closed, by scenario."""
    told = []
    for scenario in lab.scenarios:
        if lost := sum(found.lost for found in scenario.rounds):
            were = "connection was" if lost == 1 else "connections were"
            told.append(f"{scenario.name}: {lost:,} {were} closed by the server, and made again")
    return told


def in_time(lab: Lab) -> list[str]:
    """How many answers came in time, by scenario; nothing where no time was asked for."""
    limit_ms = lab.settings.get("in_time_ms")
    if limit_ms is None:
        return []
    return [
        f"{scenario.name}: {count_text(median(each.goodput_per_s for each in scenario.reported))}/s were answered "
        f"within {limit_ms:g} ms"
        for scenario in lab.scenarios
        if scenario.reported
    ]


def versus(baseline: Lab, compared: Comparison) -> str:
    """What it is compared with, in a line."""
    at = minute(baseline.started_at)
    harness = f"the harness alone was {compared.machine:.2f} × as fast as then"
    return f"Beside the run of {at} UTC at {baseline.commit}; {harness}"


def figure_text(figure: Figure, value: float) -> str:
    """A figure with its unit."""
    if figure.kind in ("time", "cost"):
        return time_text(value / 1e6)
    return bytes_text(value * 2**20) if figure.kind == "size" else f"{count_text(value)}/s"


def range_text(figure: Figure, found: Spread) -> str:
    """From the least to the greatest, the unit once where it is the same."""
    low, high = figure_text(figure, found.low), figure_text(figure, found.high)
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
        found = line.verdict
        word = found.word + (f": {found.why}" if found.why else "")
        table.add_row(
            line.scenario, line.figure.name, figure_text(line.figure, line.before.median),
            figure_text(line.figure, line.now.median),
            ratio_text(found.ratio), Text(word, STYLES[found.better]),
        )  # fmt: skip
    return table
