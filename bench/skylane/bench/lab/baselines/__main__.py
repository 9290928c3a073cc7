"""`skylane bench baselines`: this server beside the usual ways to serve, on this machine, now."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from skylane.bench.arguments import number, positive
from skylane.bench.client.generator import Choice
from skylane.bench.host.interrupts import sigterm_interrupts
from skylane.bench.lab.baselines import report
from skylane.bench.lab.baselines.run import run
from skylane.bench.lab.baselines.scenarios import ALL
from skylane.bench.lab.baselines.screen import BaselinesScreen
from skylane.bench.lab.commands import parser, run_command
from skylane.bench.lab.output.live import console
from skylane.bench.lab.record import save

EPILOG: Final = """\
Servers take turns under each load, and every ratio is formed within a round, so that a busy machine disturbs both
sides. Rates of a closed loop on one machine include the load generator's own CPU; CPU per request does not.

scenarios:
{scenarios}

examples:
  skylane bench baselines                        everything, about ten minutes
  skylane bench baselines --quick                does it work at all? a minute or so; figures mean little
  skylane bench baselines --only single --rounds 7
  skylane bench baselines --models models        your own models, as they are published and configured
  python -m skylane.bench.lab.baselines.report bench/results/<file>.json
                                                 the tables of a run again
"""


@sigterm_interrupts()
def main(argv: Sequence[str] | None = None) -> int:
    """Measure, show, save. Returns the exit code."""
    return run_command(_parser(), _run, argv)


def _run(options: argparse.Namespace) -> int:
    if options.quick:
        options.rounds, options.seconds = min(options.rounds, 2), min(options.seconds, 0.1)
    with BaselinesScreen(console(sys.stderr)) as screen:
        result = run(options, screen)
    path = options.out / f"{result.started_at[:10]}-{result.commit.rstrip('+')}.json"
    save(result, path)
    out = console()
    report.show(result, out)
    out.print(f"All samples are in {path}", highlight=False)
    return 0


def _parser() -> argparse.ArgumentParser:
    width = max(len(each.name) for each in ALL)
    listed = "\n".join(f"  {each.name:{width}}  {each.title}" for each in ALL)
    command = parser(
        "skylane bench baselines",
        "Measure this server beside the usual ways to serve.",
        EPILOG.format(scenarios=listed),
    )
    command.set_defaults(address=None)
    add = command.add_argument
    add("--quick", action="store_true", help="2 rounds of a tenth of a second, one load each")
    add("--only", nargs="+", metavar="SCENARIO", default=[], help="of those below (default: all)")
    add("--models", type=Path, metavar="DIR", help="measure the models of this repository instead of made-up ones")
    add("--rounds", type=positive, default=7, help="(default: %(default)s)")
    add("--seconds", type=number, default=0.8, help="of load for each server in each round (default: %(default)s)")
    choices: tuple[Choice, ...] = ("auto", "h2load", "own")
    add("--generator", choices=choices, default="auto", help="auto: h2load where it is installed, else our own")
    add("--soak-minutes", type=float, default=0.0, metavar="N", help="then full load for N minutes, watching memory")
    add("--without", nargs="+", choices=("idle",), default=[], help="leave out the figures without load")
    add("--out", type=Path, default=Path("bench/results"), metavar="DIR", help="(default: %(default)s)")
    return command


if __name__ == "__main__":
    sys.exit(main())
