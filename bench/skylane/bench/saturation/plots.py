"""Pictures of a run, as SVG: `python -m skylane.bench.saturation.plots RESULTS.json --out docs/benchmarks`."""

import argparse
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from skylane.bench.figures import spread
from skylane.bench.saturation import results
from skylane.bench.saturation.drawing import Drawing
from skylane.bench.saturation.report import number, share, time_of, what
from skylane.bench.saturation.results import NULL, OURS, Metric, Run, Sample

WIDTH: Final = 860
LEFT: Final = 290
"""Where bars begin; names stand before."""
RIGHT: Final = WIDTH - 90
"""Where the longest bar ends; its value stands behind."""
ROW: Final = 22
TOP: Final = 44
SCENARIO: Final = "single"


@dataclass(frozen=True)
class LogScale:
    """Values from `low` to `high` on a logarithmic axis from LEFT to RIGHT."""

    low: float
    high: float

    def at(self, value: float) -> float:
        """Where the value lies."""
        share_ = math.log(value / self.low) / math.log(self.high / self.low)
        return LEFT + share_ * (RIGHT - LEFT)

    def ticks(self) -> list[float]:
        """Powers of ten in it."""
        first, last = math.ceil(math.log10(self.low)), math.floor(math.log10(self.high))
        return [10.0**power for power in range(first, last + 1)]


def plots(run: Run) -> dict[str, str]:
    """File name → SVG; only those that the run has figures for."""
    drawn: dict[str, Callable[[Run], str]] = {"cpu.svg": cpu, "latency.svg": latency, "targets.svg": targets}
    if SCENARIO not in run.scenarios:
        del drawn["cpu.svg"], drawn["latency.svg"]
    if not _measured_targets(run):
        del drawn["targets.svg"]
    if run.soak is not None:
        drawn["memory.svg"] = memory
    return {name: draw(run) for name, draw in drawn.items()}


# --- Bars and ranges per load -----------------------------------------------------------------------------------------


def cpu(run: Run) -> str:
    """Server CPU per request under each load, one bar for each server."""
    groups = _groups(run)
    most = max(_middle(run, load, name, "cpu_us") for load, names in groups for name in names)
    drawing = Drawing(WIDTH, _height(groups), "Server CPU for one request (logistic regression, one row)")

    def bar(load: str, name: str, y: float) -> None:
        value = _middle(run, load, name, "cpu_us")
        end = LEFT + value / most * (RIGHT - LEFT)
        drawing.rect(LEFT, y - 12, end - LEFT, 15, _look(name))
        drawing.text(end + 6, y, time_of(value), "strong" if name == OURS else "")

    _rows(drawing, groups, bar)
    return drawing.svg()


def latency(run: Run) -> str:
    """p50 to p99.9 under each load, on a logarithmic axis."""
    groups = _groups(run)
    seen = [sample for sample in run.samples if sample.scenario == SCENARIO]
    scale = LogScale(min(s.p50_us for s in seen) / 1.3, max(s.p999_us for s in seen) * 1.3)
    drawing = Drawing(WIDTH, _height(groups) + 20, "Latency at saturation: p50, p99 and p99.9 (logarithmic)")
    for tick in scale.ticks():
        drawing.line(scale.at(tick), TOP, scale.at(tick), _height(groups) - 8, "rule")
        drawing.text(scale.at(tick), _height(groups) + 8, time_of(tick), "soft", "middle")

    def row(load: str, name: str, y: float) -> None:
        p50, p99, p999 = (
            scale.at(spread([getattr(sample, metric) for sample in results.of(run, SCENARIO, load, name)]).median)
            for metric in ("p50_us", "p99_us", "p999_us")
        )
        drawing.line(p50, y - 5, p999, y - 5, f"range {_look(name)}")
        for x, radius in ((p50, 5), (p99, 4), (p999, 2)):
            drawing.dot(x, y - 5, _look(name), radius)

    _rows(drawing, groups, row)
    return drawing.svg()


def _groups(run: Run) -> list[tuple[str, list[str]]]:
    """Loads and the servers under each, in the order in which they ran."""
    samples: list[Sample] = [sample for sample in run.samples if sample.scenario == SCENARIO and sample.round == 0]
    loads = dict.fromkeys(sample.load for sample in samples)
    return [(load, [s.contender for s in samples if s.load == load and s.contender != NULL]) for load in loads]


def _height(groups: Sequence[tuple[str, list[str]]]) -> float:
    return TOP + sum((len(names) + 1) * ROW + 8 for _, names in groups) + 8


def _rows(drawing: Drawing, groups: Sequence[tuple[str, list[str]]], draw: Callable[[str, str, float], None]) -> None:
    y: float = TOP
    for load, names in groups:
        y += ROW
        connections, _, streams = load.partition("x")
        what = f"{connections} connection{'s' * (connections != '1')} × {streams} request{'s' * (streams != '1')}"
        drawing.text(16, y - 4, f"{what} in flight", "soft strong")
        for name in names:
            y += ROW
            drawing.text(LEFT - 10, y, name, "strong" if name == OURS else "", "end")
            draw(load, name, y)
        y += 8


def _look(name: str) -> str:
    return "ours" if name.startswith(OURS) else "other"


def _middle(run: Run, load: str, name: str, metric: Metric) -> float:
    return spread(results.values(results.of(run, SCENARIO, load, name), metric)).median


# --- Targets ----------------------------------------------------------------------------------------------------------


def _measured_targets(run: Run) -> list[tuple[str, list[float], list[float]]]:
    """What, each round's multiple of the bound (at most 1 is met), and each round's value. Of shares only."""
    found = []
    for target in run.targets:
        values = results.reached(run, target)
        if values and target.theirs:
            bound = target.at_most
            multiples = [v / bound for v in values] if bound else [(target.at_least or 1.0) / v for v in values if v]
            found.append((f"{target.scenario} {target.load} {what(target)}", multiples, values))
    return found


def targets(run: Run) -> str:
    """Each round's ratio as a multiple of its bound: left of the line is good."""
    found = _measured_targets(run)
    multiples = [multiple for _, rounds, _ in found for multiple in rounds]
    scale = LogScale(min(0.5, *multiples) / 1.1, max(2.0, *multiples) * 1.1)
    bottom = TOP + len(found) * ROW + 12
    drawing = Drawing(WIDTH, bottom + 24, "Targets: each round's ratio ÷ the bound (left of the line is met)")
    drawing.line(scale.at(1), TOP, scale.at(1), bottom, "bound")
    for tick in (0.5, 1.0, 2.0, 4.0):
        if scale.low <= tick <= scale.high:
            drawing.text(scale.at(tick), bottom + 14, f"{tick:g} ×", "soft", "middle")
    for index, (name, rounds, values) in enumerate(found, 1):
        y = TOP + index * ROW
        drawing.text(LEFT - 10, y, name, "", "end")
        drawing.text(RIGHT + 6, y, share(spread(values).median), "strong")
        for multiple in rounds:
            drawing.dot(scale.at(multiple), y - 4, "ours" if multiple <= 1 else "bad", 3.5)
    return drawing.svg()


# --- Memory -----------------------------------------------------------------------------------------------------------


def memory(run: Run) -> str:
    """Resident memory under full load, from zero, so that growth looks as large as it is."""
    soak = run.soak
    assert soak is not None, "the caller looked"
    height, bottom, left = 240, 200, 84
    most, longest = max(soak.rss_mib) * 1.2, max(soak.seconds[-1], 1.0)
    drawing = Drawing(WIDTH, height, f"Memory under load at {soak.load} ({soak.requests:,} requests)")
    for share_ in (0.0, 0.25, 0.5, 0.75, 1.0):
        y = bottom - share_ * (bottom - TOP)
        drawing.line(left, y, RIGHT, y, "rule")
        drawing.text(left - 8, y + 4, f"{number(most * share_)} MiB" if share_ else "0", "soft", "end")
        drawing.text(left + share_ * (RIGHT - left), bottom + 18, f"{longest * share_ / 60:.1f} min", "soft", "middle")
    drawing.path(
        [
            (left + at / longest * (RIGHT - left), bottom - mib / most * (bottom - TOP))
            for at, mib in zip(soak.seconds, soak.rss_mib, strict=True)
        ]
    )
    return drawing.svg()


def main(argv: Sequence[str] | None = None) -> int:
    """Draw all pictures of a run. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m skylane.bench.saturation.plots", description=__doc__)
    parser.add_argument("results", type=Path, help="a file of bench/results")
    parser.add_argument(
        "--out", type=Path, default=Path("docs/benchmarks"), metavar="DIR", help="(default: %(default)s)"
    )
    options = parser.parse_args(argv)
    options.out.mkdir(parents=True, exist_ok=True)
    for name, content in plots(results.load(options.results)).items():
        (options.out / name).write_text(content)
        print(options.out / name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
