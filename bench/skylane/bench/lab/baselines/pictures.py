"""Pictures of a run of the baselines, as SVG files. Pure."""

from collections.abc import Callable, Sequence
from typing import Final

from skylane.bench.figures import spread
from skylane.bench.lab.baselines.record import NULL, OURS, BaselinesRun, Metric, of, reached, subject_of, values
from skylane.bench.lab.output.live import us_text
from skylane.bench.lab.output.numbers import number, ratio_text
from skylane.bench.lab.output.svg import Axis, Curve, Drawing, chart, from_zero

WIDTH: Final = 860
LEFT: Final = 290
"""Where bars begin; names stand before."""
RIGHT: Final = WIDTH - 90
"""Where the longest bar ends; its value stands behind."""
ROW: Final = 22
SCENARIO: Final = "single"


def pictures(run: BaselinesRun) -> dict[str, str]:
    """File name → SVG; only those that the run has figures for."""
    drawn: dict[str, Callable[[BaselinesRun], Drawing]] = {}
    if SCENARIO in run.scenarios:
        drawn |= {"cpu.svg": cpu, "latency.svg": latency}
    if _measured_targets(run):
        drawn["targets.svg"] = targets
    if run.soak is not None:
        drawn["memory.svg"] = memory
    return {name: draw(run).file() for name, draw in drawn.items()}


def cpu(run: BaselinesRun) -> Drawing:
    """Server CPU per request under each load, one bar for each server."""
    groups = _groups(run)
    most = max(_middle(run, load, name, "cpu_us") for load, names in groups for name in names)
    drawing = Drawing(WIDTH, _height(groups), "Server CPU for one request (logistic regression, one row)")

    def bar(load: str, name: str, y: float) -> None:
        value = _middle(run, load, name, "cpu_us")
        end = LEFT + value / most * (RIGHT - LEFT)
        drawing.rect(LEFT, y - 12, end - LEFT, 15, _look(name))
        drawing.text(end + 6, y, us_text(value), "strong" if name == OURS else None)

    _rows(drawing, groups, bar)
    return drawing


def latency(run: BaselinesRun) -> Drawing:
    """p50 to p99.9 under each load, on a logarithmic axis."""
    groups = _groups(run)
    samples = [sample for sample in run.samples if sample.scenario == SCENARIO]
    axis = Axis(min(s.p50_us for s in samples) / 1.3, max(s.p999_us for s in samples) * 1.3, log=True)
    drawing = Drawing(WIDTH, _height(groups) + 20, "Latency at saturation: p50, p99 and p99.9 (logarithmic)")
    for tick in axis.ticks():
        drawing.line(_x(axis, tick), 0, _x(axis, tick), _height(groups) - 8, "axis")
        drawing.text(_x(axis, tick), _height(groups) + 8, us_text(tick), "soft", "middle")

    def row(load: str, name: str, y: float) -> None:
        rounds = of(run, SCENARIO, load, name)
        p50, p99, p999 = (
            _x(axis, spread([getattr(sample, metric) for sample in rounds]).median)
            for metric in ("p50_us", "p99_us", "p999_us")
        )
        drawing.line(p50, y - 5, p999, y - 5, f"range {_look(name)}")
        for x, radius in ((p50, 5), (p99, 4), (p999, 2)):
            drawing.dot(x, y - 5, _look(name), radius)

    _rows(drawing, groups, row)
    return drawing


def targets(run: BaselinesRun) -> Drawing:
    """Each round's ratio as a multiple of its bound: left of the line is good."""
    measured = _measured_targets(run)
    multiples = [multiple for _, rounds, _ in measured for multiple in rounds]
    axis = Axis(min(0.5, *multiples) / 1.1, max(2.0, *multiples) * 1.1, log=True)
    bottom = len(measured) * ROW + 12
    drawing = Drawing(WIDTH, bottom + 24, "Targets: each round's ratio ÷ the bound (left of the line is met)")
    drawing.line(_x(axis, 1), 0, _x(axis, 1), bottom, "bound")
    for tick in (0.5, 1.0, 2.0, 4.0):
        if axis.low <= tick <= axis.high:
            drawing.text(_x(axis, tick), bottom + 14, f"{tick:g} ×", "soft", "middle")
    for place, (name, rounds, ratios) in enumerate(measured, 1):
        y = place * ROW
        drawing.text(LEFT - 10, y, name, anchor="end")
        drawing.text(RIGHT + 6, y, ratio_text(spread(ratios).median), "strong")
        for multiple in rounds:
            drawing.dot(_x(axis, multiple), y - 4, "ours" if multiple <= 1 else "bad", 3.5)
    return drawing


def memory(run: BaselinesRun) -> Drawing:
    """Resident memory under full load, from zero, so that growth looks as large as it is."""
    soak = run.soak
    assert soak is not None, "the caller checked"
    curve = Curve(list(zip(soak.seconds, soak.rss_mib, strict=True)), "now")
    label = f"Memory under load at {soak.load} ({soak.requests:,} requests)"
    across = Axis(0.0, max(soak.seconds[-1], 1.0))
    return chart([curve], across, from_zero(soak.rss_mib), label, _minutes, lambda mib: f"{number(mib)} MiB")


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.1f} min"


def _groups(run: BaselinesRun) -> list[tuple[str, list[str]]]:
    """Loads and the servers under each, in the order in which they ran."""
    samples = [sample for sample in run.samples if sample.scenario == SCENARIO and sample.round == 0]
    loads = dict.fromkeys(sample.load for sample in samples)
    return [(load, [s.contestant for s in samples if s.load == load and s.contestant != NULL]) for load in loads]


def _height(groups: Sequence[tuple[str, list[str]]]) -> float:
    return sum((len(names) + 1) * ROW + 8 for _, names in groups) + 8


def _rows(drawing: Drawing, groups: Sequence[tuple[str, list[str]]], draw: Callable[[str, str, float], None]) -> None:
    y = 0.0
    for load, names in groups:
        y += ROW
        connections, _, streams = load.partition("x")
        what = f"{connections} connection{'s' * (connections != '1')} × {streams} request{'s' * (streams != '1')}"
        drawing.text(16, y - 4, f"{what} in flight", "soft strong")
        for name in names:
            y += ROW
            drawing.text(LEFT - 10, y, name, "strong" if name == OURS else None, "end")
            draw(load, name, y)
        y += 8


def _x(axis: Axis, value: float) -> float:
    return LEFT + axis.at(value) * (RIGHT - LEFT)


def _look(name: str) -> str:
    return "ours" if name.startswith(OURS) else "other"


def _middle(run: BaselinesRun, load: str, name: str, metric: Metric) -> float:
    return spread(values(of(run, SCENARIO, load, name), metric)).median


def _measured_targets(run: BaselinesRun) -> list[tuple[str, list[float], list[float]]]:
    """What, each round's multiple of the bound (at most 1 is met), and each round's value. Of shares only."""
    measured = []
    for target in run.targets:
        ratios = reached(run, target)
        if ratios and target.theirs:
            bound = target.at_most
            multiples = [v / bound for v in ratios] if bound else [(target.at_least or 1.0) / v for v in ratios if v]
            measured.append((f"{target.scenario} {target.load} {subject_of(target)}", multiples, ratios))
    return measured
