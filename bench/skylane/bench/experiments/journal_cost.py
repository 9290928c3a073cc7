"""What the journal costs: a server without it, the same once more, one that records some rows, one that records all.

    python -m skylane.bench.experiments.journal_cost --models models --model diabetes --raw results.json

The servers run side by side and are loaded in turn for short rounds, in another order each time. Of each, the lower
quartile of CPU time for a request is shown, since what disturbs a round only adds to it, and the median of the paired
ratios to the first server, with the 95 % interval of a bootstrap over rounds. The second server has no reason to
differ: its interval shows what the measurement can tell apart. Every answer of a server that records has its id, so the
servers that record send 27 bytes more.

A round is a burst after a pause, in which a server records more than its budget. Therefore the budget is 600 rows a
second, and how many it recorded for each second of load is shown: about 2,000.
"""

import argparse
import json
import os
import random
import re
import shutil
import statistics
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from skylane.bench.client.generator import Generator, Load, choose
from skylane.bench.experiments.cpu_comparison import parser
from skylane.bench.figures import ratios
from skylane.bench.host.interrupts import sigterm_interrupts
from skylane.bench.lab.baselines.contestants import Served
from skylane.bench.lab.baselines.scenario import Plan
from skylane.bench.lab.baselines.scenarios import rounds_under
from skylane.bench.servers import Kind, Server, running
from skylane.bench.workload.models import read

LOADS: Final = (Load(8, 8), Load(64, 1), Load(1, 1))
OFF: Final = "off"
BUDGETS: Final = {OFF: None, "off, once more": None, "some rows": 600, "all rows": 10_000_000}
"""Server → rows that it records in a second."""
RESAMPLES: Final = 10_000
WARM_UPS: Final = 2
"""Runs before the rounds, of about the same length, see rounds_under."""


@dataclass(frozen=True)
class Compared:
    """One server under one load, beside the first."""

    load: str
    server: str
    cpu_us: Sequence[float]
    """Of the server's process for a request, round by round."""
    lower_quartile_us: float
    ratio: float
    ratio_low: float
    ratio_high: float
    recorded: float
    """Rows for each second of load."""


def compared(load: str, server: str, cpu_us: Sequence[float], base: Sequence[float], recorded: float) -> Compared:
    """The figures of rounds; chance has a fixed seed."""
    paired, chance = ratios(cpu_us, base), random.Random(0)
    medians = sorted(statistics.median(chance.choices(paired, k=len(paired))) for _ in range(RESAMPLES))
    return Compared(
        load=load,
        server=server,
        cpu_us=[round(each, 4) for each in cpu_us],
        lower_quartile_us=round(statistics.quantiles(cpu_us, n=4)[0], 3),
        ratio=round(statistics.median(paired), 4),
        ratio_low=round(medians[round(0.025 * RESAMPLES)], 4),
        ratio_high=round(medians[round(0.975 * RESAMPLES) - 1], 4),
        recorded=round(recorded),
    )


def measured(options: argparse.Namespace, generator: Generator) -> Iterator[Compared]:
    """Every load and server, as it is known."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        kinds = [_kind(options, folder, name, budget) for name, budget in BUDGETS.items()]
        exchange = read(folder / _slug(OFF))[options.model].exchange("grpc", 1)
        servers = [stack.enter_context(running(kind, folder, models=folder / _slug(kind.name))) for kind in kinds]
        for server in servers:
            server.wait_ready(exchange)
        drivers = [Served(each.kind.name, each, "", exchange, generator, folder) for each in servers]
        for load in LOADS:
            before = {server.kind.name: _recorded(server) for server in servers}
            samples = rounds_under("", load, drivers, Plan(options.rounds, options.seconds), lambda _: None)
            cpu_us = {name: [each.cpu_us for each in samples if each.contestant == name] for name in BUDGETS}
            for name, values in cpu_us.items():
                server = next(each for each in servers if each.kind.name == name)
                seconds = (options.rounds + WARM_UPS) * options.seconds
                yield compared(load.name, name, values, cpu_us[OFF], (_recorded(server) - before[name]) / seconds)


def _recorded(server: Server) -> int:
    """Rows that were recorded up to now."""
    with urllib.request.urlopen(f"http://127.0.0.1:{server.http_port}/metrics", timeout=10) as answer:
        page = answer.read().decode()
    found = re.search(r'^skylane_journal_rows_total\{.*result="kept"\} (\S+)', page, re.MULTILINE)
    return int(float(found[1])) if found else 0


def _kind(options: argparse.Namespace, folder: Path, name: str, budget: int | None) -> Kind:
    """A server of the model alone, without its cache: a cached answer would cost less than a batch."""
    models = folder / _slug(name)
    shutil.copytree(options.models / options.model, models / options.model)
    monitor = "" if budget is None else f"[monitor]\njournal = true\nrows_per_second = {budget}\nmax_mb = 256\n"
    (models / options.model / "model.toml").write_text(monitor)
    journal = () if budget is None else ("--journal", os.fspath(folder / f"journal-{_slug(name)}"))
    server = (
        "-m",
        "skylane.server",
        "--models",
        "{models}",
        "--port",
        "{port}",
        "--http-port",
        "{http_port}",
        "--poll-s",
        "0",
        *journal,
    )
    return Kind(name, "grpc", server)


def _slug(name: str) -> str:
    return "".join(each if each.isalnum() else "-" for each in name)


@sigterm_interrupts()
def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, and write the raw figures. Returns the exit code."""
    command = parser("python -m skylane.bench.experiments.journal_cost", __doc__.partition("\n")[0])
    command.set_defaults(rounds=61, seconds=0.8)
    command.add_argument("--raw", type=Path, help="file for the figures of every round, as JSON")
    options = command.parse_args(argv)
    generator, results = choose("auto"), list[Compared]()
    head = f"CPU of the server for a request to {options.model}, {options.rounds} rounds, {generator.name}"
    print(f"{head}, {os.cpu_count()} CPUs")
    for each in measured(options, generator):
        results.append(each)
        beside = f"  × {each.ratio:.4f} ({each.ratio_low:.4f} to {each.ratio_high:.4f})" if each.server != OFF else ""
        kept = f", {each.recorded:.0f} rows/s" if each.recorded else ""
        print(f"{each.load:>5}  {each.server:<16} {each.lower_quartile_us:8.3f} µs{beside}{kept}", flush=True)
    if options.raw:
        content = {"what": head, "results": [asdict(each) for each in results]}
        options.raw.write_text(json.dumps(content, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
