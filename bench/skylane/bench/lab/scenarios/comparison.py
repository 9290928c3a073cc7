"""Two runs side by side: what may be compared, and the verdicts. Pure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from skylane.bench.figures import Spread, spread
from skylane.bench.lab.scenarios.record import Round, Scenario, ScenariosRun
from skylane.bench.lab.scenarios.verdicts import Kind, Verdict, verdict

RATE_DIFFERS: Final = 0.01
"""Schedules whose rates differ by no more than that are the same."""


@dataclass(frozen=True)
class Figure:
    """Something that is compared."""

    name: str
    kind: Kind
    """Of "time" and "cost" are microseconds, of "rate" requests per second, of "size" MiB."""
    of: Callable[[Round], float | None]


FIGURES: Final = (
    Figure("p50", "time", lambda round_: round_.p50_us),
    Figure("p99", "time", lambda round_: round_.p99_us),
    Figure("p99.9", "time", lambda round_: round_.p999_us),
    Figure("answered", "rate", lambda round_: round_.answered_per_s),
    Figure("CPU/request", "cost", lambda round_: round_.cpu_us),
    Figure("memory", "size", lambda round_: round_.rss_mib),
)


@dataclass(frozen=True)
class Line:
    """One figure of one scenario, in both runs."""

    scenario: str
    figure: Figure
    now: Spread
    before: Spread
    verdict: Verdict


@dataclass(frozen=True)
class Comparison:
    """All that could be compared, and why the rest could not."""

    lines: tuple[Line, ...]
    left_out: tuple[str, ...]
    machine: float
    """How many times as fast as then the harness did its own work."""


def compare(now: ScenariosRun, before: ScenariosRun) -> Comparison:
    """This run beside an earlier one."""
    machine = median(each.requests_per_s for each in now.alone) / median(each.requests_per_s for each in before.alone)
    if reason := _why_not(now, before):
        return Comparison((), (reason,), machine)
    earlier, lines, left_out = {each.name: each for each in before.scenarios}, list[Line](), list[str]()
    for scenario in now.scenarios:
        other = earlier.get(scenario.name)
        if other is None:
            left_out.append(f"{scenario.name}: the earlier run did not have it")
        elif reason := _why_not_scenario(scenario, other):
            left_out.append(f"{scenario.name}: {reason}")
        else:
            lines += _lines(scenario, other, machine)
    return Comparison(tuple(lines), tuple(left_out), machine)


def _why_not(now: ScenariosRun, before: ScenariosRun) -> str:
    if now.model != before.model:
        return f"the earlier run measured {before.model}, this one {now.model}"
    if now.rows != before.rows:
        return f"requests of the earlier run had {before.rows} rows, those of this one {now.rows}"
    if (now.machine.cpu, now.machine.cores) != (before.machine.cpu, before.machine.cores):
        return f"the earlier run was on another machine: {before.machine.cores} cores, {before.machine.cpu}"
    return ""


def _why_not_scenario(now: Scenario, before: Scenario) -> str:
    if not now.reported or not before.reported:
        return f"{'this' if not now.reported else 'the earlier'} run's figures were limited by the generator"
    ours, theirs = (median(each.offered_per_s for each in side.reported) for side in (now, before))
    if now.loop == "open" and abs(ours / theirs - 1) > RATE_DIFFERS:
        return f"the earlier run sent {theirs:,.0f} requests/s, this one {ours:,.0f}; give the same --rate"
    return ""


def _lines(now: Scenario, before: Scenario, machine: float) -> list[Line]:
    lines = []
    for figure in FIGURES:
        if figure.kind == "rate" and now.loop == "open":
            continue  # what is answered on a schedule is what was sent
        ours, theirs = _values(now.reported, figure), _values(before.reported, figure)
        if ours and theirs:
            found = verdict(ours, theirs, figure.kind, machine)
            lines.append(Line(now.name, figure, spread(ours), spread(theirs), found))
    return lines


def _values(rounds: Sequence[Round], figure: Figure) -> list[float]:
    return [value for each in rounds if (value := figure.of(each))]
