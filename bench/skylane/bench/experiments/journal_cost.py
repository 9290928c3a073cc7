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
import statistics
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from skylane.bench.client.generator import Generator, Load, choose
from skylane.bench.experiments.cpu_comparison import SERVER, parser, started
from skylane.bench.figures import ratios
from skylane.bench.host.interrupts import sigterm_interrupts
from skylane.bench.servers import Kind, Server

LOADS: Final = (Load(8, 8), Load(64, 1), Load(1, 1))
OFF: Final = "off"
BUDGETS: Final = {OFF: None, "off, once more": None, "some rows": 600, "all rows": 10_000_000}
"""Server → rows that it records in a second."""
POLICY: Final = "[monitor]\njournal = true\nrows_per_second = {}\nmax_mb = 256\n"
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
    kinds = [_kind(name, budget) for name, budget in BUDGETS.items()]
    policies = {name: POLICY.format(budget) for name, budget in BUDGETS.items() if budget is not None}
    seconds = (options.rounds + WARM_UPS) * options.seconds
    with started(options, kinds, policies) as side_by_side:
        for load in LOADS:
            before = {name: _recorded(server) for name, server in side_by_side.servers.items()}
            cpu_us = side_by_side.cpu_us(generator, list(BUDGETS), load)
            for name, values in cpu_us.items():
                recorded = _recorded(side_by_side.servers[name]) - before[name]
                yield compared(load.name, name, values, cpu_us[OFF], recorded / seconds)


def _recorded(server: Server) -> int:
    """Rows that were recorded up to now."""
    with urllib.request.urlopen(f"http://127.0.0.1:{server.http_port}/metrics", timeout=10) as answer:
        page = answer.read().decode()
    found = re.search(r'^skylane_journal_rows_total\{.*result="kept"\} (\S+)', page, re.MULTILINE)
    return int(float(found[1])) if found else 0


def _kind(name: str, budget: int | None) -> Kind:
    journal = () if budget is None else ("--journal", "{own}/journal")
    return Kind(name, "grpc", ("-m", "skylane.server", *SERVER, *journal))


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
