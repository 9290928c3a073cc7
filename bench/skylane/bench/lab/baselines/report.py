"""Tables of a run, for a terminal and as Markdown; and its pictures.

    python -m skylane.bench.lab.baselines.report RESULTS.json --write docs/benchmarks.md --pictures docs/benchmarks

Terminal and page are made from the same cells, so that they cannot differ.
"""

import argparse
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from rich import box
from rich.console import Console
from rich.table import Table

from skylane.bench.figures import spread, verdict
from skylane.bench.lab import record
from skylane.bench.lab.baselines import pictures
from skylane.bench.lab.baselines.probes import growth
from skylane.bench.lab.baselines.record import NULL, BaselinesRun, Sample, Target, compare, of, reached, subject_of
from skylane.bench.lab.output.live import console, us_text
from skylane.bench.lab.output.numbers import number, ratio_text
from skylane.cli.live import share_text

BEGIN: Final = "<!-- results: written by `python -m skylane.bench.lab.baselines.report`, do not edit -->"
END: Final = "<!-- end of results -->"
WIDTH: Final = 110
MARK: Final = "*"
"""After a rate that is the load generator's."""


@dataclass(frozen=True)
class Grid:
    """A table, independent of where it is shown. The first `words` columns are text, the others numbers."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    words: int = 1
    note: str = ""


def grids(run: BaselinesRun) -> list[Grid]:
    """All tables of a run: the targets first, then each scenario, then the figures without load."""
    tables = [_targets(run)] if run.targets else []
    tables += [_scenario(run, name, title) for name, title in run.scenarios.items()]
    if run.probes or run.soak:
        tables.append(_probes(run))
    return tables


# --- Tables -----------------------------------------------------------------------------------------------------------


def _targets(run: BaselinesRun) -> Grid:
    rows = []
    for target in run.targets:
        if values := reached(run, target):
            reached_ = spread(values)
            judgement = verdict(reached_, target.at_most, target.at_least)
            shown = partial(_shown, target)
            across = f"{shown(reached_.low)} … {shown(reached_.high)}"
            rows.append(
                (
                    f"{target.scenario} {target.load}",
                    subject_of(target),
                    bound_text(target),
                    shown(reached_.median),
                    across,
                    judgement,
                )
            )
    return Grid(
        "Targets",
        ("load", "what", "bound", "median", "rounds", "met"),
        tuple(rows),
        words=6,
        note="A ratio is of skylane's to the other's, formed in each round. Median, least and greatest of the rounds.",
    )


def _shown(target: Target, value: float) -> str:
    """A share, or the metric with its unit."""
    if target.theirs:
        return ratio_text(value)
    if target.metric.endswith("_us"):
        return us_text(value)
    return share_text(value) if target.metric.endswith("_share") else f"{number(value)} s"


def noise(run: BaselinesRun) -> str:
    """How busy others kept the machine, in a sentence."""
    others = [sample.other_cores for sample in run.samples if sample.generator_cores]  # where all of ours is known
    if not others:
        return ""
    cores = spread(others)
    disturbed = " Expect noise." if cores.median > 0.1 else ""
    used = f"{cores.median:.1f} of its {run.machine.cores} cores (at most {cores.high:.1f})"
    return f"Meanwhile others used {used}.{disturbed}"


def bound_text(target: Target) -> str:
    """The bound, and in parentheses the one that we hope for."""
    stretch = f" ({ratio_text(target.stretch)})" if target.stretch else ""
    if target.at_least is not None:
        return f"≥ {_shown(target, target.at_least)}{stretch}"
    assert target.at_most is not None, "a target has a bound"
    return f"≤ {_shown(target, target.at_most)}{stretch}"


def _scenario(run: BaselinesRun, name: str, title: str) -> Grid:
    baseline = str(run.settings["baselines"].get(name, ""))
    loads = list(dict.fromkeys(sample.load for sample in run.samples if sample.scenario == name))
    rows, limited = list[dict[str, str]](), False
    for load in loads:
        here = [sample for sample in run.samples if (sample.scenario, sample.load) == (name, load)]
        for contestant in dict.fromkeys(sample.contestant for sample in sorted(here, key=lambda s: s.round)):
            samples = of(run, name, load, contestant)
            ratio = compare(run, name, load, "cpu_us", contestant, baseline) if baseline else None
            cells = {"load": load, "server": contestant} | _figures(samples)
            rows.append(cells | {"ratio": ratio_text(ratio.median) if ratio else ""})
            limited = limited or any(sample.limited for sample in samples)
    scheduled = any(row["sent/s"] for row in rows)
    hidden = {"p99.9"} if scheduled else set()  # of a second of load there are too few
    header = tuple(column for column in _columns(rows) if column not in hidden)
    notes = [_NOTES[column].format(baseline=baseline) for column in header if column in _NOTES]
    notes += [f"{MARK} The load generator limits this rate; CPU per request stands."] * limited
    cells_ = tuple(tuple(row[column] or "–" for column in header) for row in rows)
    return Grid(f"{name}: {title}", header, cells_, words=2, note=" ".join(notes))


def _columns(rows: Sequence[Mapping[str, str]]) -> list[str]:
    """Those in which a row has something."""
    return [column for column in rows[0] if any(row[column] for row in rows)] if rows else []


_NOTES: Final = {
    "CPU": "CPU: of the server, per request.",
    "ratio": "ratio: of CPU to {baseline}.",
    "batch": "batch: rows of one execution, as the server counts them.",
    "sent/s": "sent/s: on a schedule; req/s: answered within a second of it.",
    "refusal": "refusal: p99 until it came.",
    "hits": "hits: answered from the cache.",
    "MiB": "MiB: of memory, resident.",
}


def _figures(samples: Sequence[Sample]) -> dict[str, str]:
    """Column → median over the rounds; empty where there is none."""

    def cell(field: str, shown: Callable[[float], str]) -> str:
        values = [value for sample in samples if (value := getattr(sample, field))]
        return shown(spread(values).median) if values else ""

    mark = MARK if any(sample.limited for sample in samples) else ""
    return {
        "sent/s": cell("offered_per_s", number),
        "req/s": cell("requests_per_s", number) + mark,
        "refused": cell("refused_share", share_text),
        "refusal": cell("refused_p99_us", us_text),
        "p50": cell("p50_us", us_text),
        "p99": cell("p99_us", us_text),
        "p99.9": cell("p999_us", us_text),
        "CPU": cell("cpu_us", us_text),
        "batch": cell("batch_rows", number),
        "hits": cell("hit_share", share_text),
        "MiB": cell("rss_mib", "{:.0f}".format),
    }


def _probes(run: BaselinesRun) -> Grid:
    rows = [
        (
            probe.name,
            probe.contestant,
            f"{number(probe.value)} {probe.unit}",
            "" if probe.at_most is None else f"{number(probe.at_most)} {probe.unit}",
            "" if probe.at_most is None else ("yes" if probe.value <= probe.at_most else "no"),
            probe.note,
        )
        for probe in run.probes
    ]
    if run.soak is not None:
        soak = run.soak
        note = f"{soak.requests:,} requests in {soak.seconds[-1] / 60:.1f} minutes at {soak.load}"
        grown = f"{growth(soak.rss_mib) * 100:+.1f} %"
        flat = "yes" if growth(soak.rss_mib) <= 0.05 else "no"
        rows.append(("memory over time", soak.contestant, grown, "+5 %", flat, note))
    header = ("what", "server", "measured", "at most", "met", "how")
    return Grid("Without load, and over time", header, tuple(rows), words=6)


# --- Where they go ----------------------------------------------------------------------------------------------------


def show(run: BaselinesRun, console: Console) -> None:
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


def markdown(run: BaselinesRun, source: str) -> str:
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
    """Print a run, or write it into a page and as pictures. Returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m skylane.bench.lab.baselines.report", description="Show a run that was saved."
    )
    parser.add_argument("results", type=Path, help="a file of bench/results")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="Markdown page to put the tables into")
    parser.add_argument("--pictures", type=Path, metavar="DIR", help="directory to put the pictures into, as SVG")
    options = parser.parse_args(argv)
    run = record.load(options.results, BaselinesRun)
    if options.write is not None:
        source = os.path.relpath(options.results, options.write.parent)  # pathlib learns `walk_up` in 3.12
        options.write.write_text(insert(options.write.read_text(), markdown(run, source)))
    if options.pictures is not None:
        options.pictures.mkdir(parents=True, exist_ok=True)
        for name, content in pictures.pictures(run).items():
            (options.pictures / name).write_text(content)
    if options.write is None and options.pictures is None:
        show(run, console())
    return 0


if __name__ == "__main__":
    sys.exit(main())
