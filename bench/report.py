"""Tables of a run, for a terminal and as Markdown. `python -m bench.report RESULTS.json --write docs/benchmarks.md`.

Both are made from the same cells, so that they cannot differ.
"""

import argparse
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rich import box
from rich.console import Console
from rich.table import Table

from bench import results
from bench.figures import Spread, spread, verdict
from bench.probes import growth
from bench.results import NULL, OURS, Metric, Run, Sample, Target

BEGIN: Final = "<!-- results: written by `python -m bench.report`, do not edit -->"
END: Final = "<!-- end of results -->"
WIDTH: Final = 100
MARK: Final = "*"
"""After a rate that tells about the load generator."""


@dataclass(frozen=True)
class Grid:
    """A table before anybody knows where it is shown. The first `words` columns are text, the others numbers."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    words: int = 1
    note: str = ""


def grids(run: Run) -> list[Grid]:
    """All tables of a run: the verdicts first, then each scenario, then what no load yields."""
    found = [_targets(run)] if run.targets else []
    found += [_scenario(run, name, title) for name, title in run.scenarios.items()]
    if run.probes or run.soak:
        found.append(_probes(run))
    return found


# --- Cells ------------------------------------------------------------------------------------------------------------


def number(value: float) -> str:
    """Three significant digits or all before the point: 0.123, 4.57, 57.1, 12,345."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def share(ratio: float) -> str:
    """A ratio as people say it: 1/13 or 1/13.2 up to one half, else 0.87."""
    return f"1/{1 / ratio:.1f}".removesuffix(".0") if 0 < ratio <= 0.5 else f"{ratio:.2f}"


def between(found: Spread) -> str:
    """The least and the greatest."""
    return f"{share(found.low)} … {share(found.high)}"


def time_of(us: float) -> str:
    """Microseconds with a unit that keeps them short."""
    return f"{number(us)} µs" if us < 1000 else f"{number(us / 1000)} ms"


_METRICS: Final[dict[Metric, str]] = {
    "cpu_us": "CPU",
    "p50_us": "p50",
    "p99_us": "p99",
    "wall_us": "time",
    "requests_per_s": "rate",
    "rss_mib": "memory",
}


# --- Tables -----------------------------------------------------------------------------------------------------------


def _targets(run: Run) -> Grid:
    rows = []
    for target in run.targets:
        found = results.compare(run, target.scenario, target.load, target.metric, target.ours, target.theirs)
        if found is not None:
            name = f"{target.scenario} {target.load}"
            ours = "" if target.ours == OURS else f"{target.ours.removeprefix(f'{OURS}, ')}: "
            what = f"{ours}{_METRICS[target.metric]} to {target.theirs}"
            judgement = verdict(found, target.at_most)
            rows.append((name, what, wanted(target), share(found.median), between(found), judgement))
    return Grid(
        "Targets",
        ("load", "ratio", "at most", "median", "rounds", "met"),
        tuple(rows),
        words=6,
        note="Of skylane's to others'. Each round has its own ratio: the median, the least and the greatest.",
    )


def noise(run: Run) -> str:
    """How busy others kept the machine, in a sentence."""
    others = [sample.other_cores for sample in run.samples]
    if not others:
        return ""
    found = spread(others)
    disturbed = " Expect noise." if found.median > 0.1 else ""
    used = f"{found.median:.1f} of its {run.machine.cores} cores (at most {found.high:.1f})"
    return f"Meanwhile others used {used}.{disturbed}"


def wanted(target: Target) -> str:
    """The bound, and in parentheses the one that we hope for."""
    stretch = f" ({share(target.stretch)})" if target.stretch else ""
    return share(target.at_most) + stretch


def _scenario(run: Run, name: str, title: str) -> Grid:
    baseline = str(run.settings["baselines"].get(name, ""))
    rows, limited = list[tuple[str, ...]](), False
    loads = list(dict.fromkeys(sample.load for sample in run.samples if sample.scenario == name))
    for load in loads:
        here = [sample for sample in run.samples if (sample.scenario, sample.load) == (name, load)]
        for contender in dict.fromkeys(sample.contender for sample in sorted(here, key=lambda s: s.round)):
            samples = results.of(run, name, load, contender)
            ratio = results.compare(run, name, load, "cpu_us", contender, baseline)
            rows.append((load, contender, *_figures(samples), share(ratio.median) if ratio else ""))
            limited = limited or any(sample.limited for sample in samples)
    note = f"CPU: of the server, per request. ratio: of that to {baseline}."
    note += f" {MARK} The load generator limits this rate; CPU per request stands." * limited
    header = ("load", "server", "req/s", "p50", "p99", "p99.9", "CPU", "RSS MiB", "ratio")
    return Grid(f"{name}: {title}", header, tuple(rows), words=2, note=note)


def _figures(samples: Sequence[Sample]) -> tuple[str, ...]:
    """Medians over the rounds."""

    def middle(metric: Metric) -> float:
        return spread(results.values(list(samples), metric)).median

    tail = spread([sample.p999_us for sample in samples]).median
    mark = MARK if any(sample.limited for sample in samples) else ""
    latencies = (time_of(us) for us in (middle("p50_us"), middle("p99_us"), tail))
    rss_mib = middle("rss_mib")
    return (
        f"{number(middle('requests_per_s'))}{mark}",
        *latencies,
        time_of(middle("cpu_us")),
        f"{rss_mib:.0f}" if rss_mib else "–",
    )


def _probes(run: Run) -> Grid:
    rows = [
        (
            probe.name,
            probe.contender,
            f"{number(probe.value)} {probe.unit}",
            "" if probe.at_most is None else f"{number(probe.at_most)} {probe.unit}",
            probe.note,
        )
        for probe in run.probes
    ]
    if run.soak is not None:
        soak = run.soak
        note = f"{soak.requests:,} requests in {soak.seconds[-1] / 60:.1f} minutes at {soak.load}"
        grown = f"{growth(soak.rss_mib) * 100:+.1f} %"
        rows.append(("memory over time", soak.contender, grown, "+5 %", note))
    return Grid("Without load, and over time", ("what", "server", "measured", "at most", "how"), tuple(rows), words=5)


# --- Where they go ----------------------------------------------------------------------------------------------------


def show(run: Run, console: Console) -> None:
    """Print all tables."""
    for grid in grids(run):
        table = Table(title=grid.title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
        for index, name in enumerate(grid.header):
            table.add_column(name, justify="left" if index < grid.words else "right")
        before = grid.rows[0][0] if grid.rows else ""
        for row in grid.rows:
            if row[0] != before and grid.words == 2:
                table.add_section()
            before = row[0]
            table.add_row(*row, style="dim" if NULL in row else None)
        console.print(table)
        console.print(f"{grid.note}\n", style="dim", highlight=False, markup=False)
    console.print(noise(run), highlight=False)
    for what, why in run.skipped.items():
        console.print(f"Skipped {what}: {why}", highlight=False, markup=False)


def markdown(run: Run, source: str) -> str:
    """All tables as Markdown, and where they come from."""
    machine = run.machine
    parts = [
        f"Measured {run.started_at[:10]} at commit `{run.commit}` on {machine.cpu}, {machine.cores} cores, "
        f"{machine.kernel}, Python {machine.python}. {noise(run)} "
        f"Generator: {run.settings['generator']}; {run.settings['rounds']} rounds of {run.settings['seconds']:g} s. "
        f"All samples: [{Path(source).name}]({source})."
    ]
    for grid in grids(run):
        lines = [f"### {grid.title}", "", _line(grid.header)]
        lines.append(_line("---" if index < grid.words else "---:" for index in range(len(grid.header))))
        lines += [_line(cell.replace("|", "\\|").replace(MARK, "\\*") for cell in row) for row in grid.rows]
        if grid.note:
            lines += ["", grid.note.replace(MARK, "\\*")]
        parts.append("\n".join(lines))
    if run.skipped:
        parts.append("\n".join(f"- Skipped {what}: {why}" for what, why in run.skipped.items()))
    return "\n\n".join(parts) + "\n"


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def insert(page: str, content: str) -> str:
    """The page with everything between the two markers replaced. Raises ValueError if they are not there."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page needs the lines {BEGIN} and {END}")
    return f"{before}{BEGIN}\n\n{content}\n{END}{after}"


def main(argv: Sequence[str] | None = None) -> int:
    """Print a run, or write it into a page. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.report", description="Show a run that was saved.")
    parser.add_argument("results", type=Path, help="a file of bench/results")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="Markdown page to put the tables into")
    options = parser.parse_args(argv)
    run = results.load(options.results)
    if options.write is None:
        show(run, Console(width=None if sys.stdout.isatty() else WIDTH))
        return 0
    source = os.path.relpath(options.results, options.write.parent)  # pathlib learns `walk_up` in 3.12
    options.write.write_text(insert(options.write.read_text(), markdown(run, source)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
