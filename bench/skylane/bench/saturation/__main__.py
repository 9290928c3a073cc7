"""`python -m skylane.bench.saturation`: this server beside the usual ways to serve, on this machine, now."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from skylane.bench.generator import Choice, GeneratorFailed
from skylane.bench.payloads import WrongAnswer
from skylane.bench.saturation import report, results, scenarios
from skylane.bench.saturation.harness import NothingToMeasure, behaviours, run
from skylane.bench.saturation.progress import Progress
from skylane.bench.servers import ServerFailed
from skylane.bench.stopping import sigterm_interrupts

EPILOG: Final = """\
Servers take turns under each load, and every ratio is formed within a round, so that a busy machine disturbs both
sides. Rates of a closed loop on one machine include the load generator's own CPU; CPU per request does not.

examples:
  python -m skylane.bench.saturation                        everything, about ten minutes
  python -m skylane.bench.saturation --quick                does it work at all? a minute or so; figures mean little
  python -m skylane.bench.saturation --only single --rounds 7
  python -m skylane.bench.saturation --models models        your own models, as they are published and configured
  python -m skylane.bench.saturation.report bench/results/<file>.json
                                                    the tables of a run again
"""


@sigterm_interrupts()
def main(argv: Sequence[str] | None = None) -> int:
    """Measure, show, save. Returns the exit code."""
    options = _parser().parse_args(argv)
    if options.quick:
        options.rounds, options.seconds = min(options.rounds, 2), min(options.seconds, 0.1)
    with Progress() as progress:
        try:
            measured = run(options, progress)
        except NothingToMeasure as error:
            progress.failed(str(error))
            return 2
        except (WrongAnswer, ServerFailed, GeneratorFailed) as error:
            progress.failed(str(error))
            return 1
        except KeyboardInterrupt:
            progress.failed("stopped; nothing was saved")
            return 130
    report.show(measured, progress.out)
    path = options.out / f"{measured.started_at[:10]}-{measured.commit.rstrip('+')}.json"
    results.save(measured, path)
    progress.out.print(f"All samples are in {path}", highlight=False)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m skylane.bench.saturation",
        description="Measure this server beside the usual ways to serve.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--quick", action="store_true", help="2 rounds of a tenth of a second, one load each")
    add(
        "--only",
        nargs="+",
        metavar="SCENARIO",
        default=[],
        help=f"of {', '.join([*(each.name for each in scenarios.ALL), *(each.name for each in behaviours())])}",
    )
    add("--models", type=Path, metavar="DIR", help="measure the models of this repository instead of made-up ones")
    add("--rounds", type=int, default=7, help="(default: %(default)s)")
    add("--seconds", type=float, default=0.8, help="of load for each server in each round (default: %(default)s)")
    choices: tuple[Choice, ...] = ("auto", "h2load", "own")
    add("--generator", choices=choices, default="auto", help="auto: h2load where it is installed, else our own")
    add("--soak-minutes", type=float, default=0.0, metavar="N", help="then full load for N minutes, watching memory")
    add("--without", nargs="+", choices=("idle",), default=[], help="leave out the figures without load")
    add("--out", type=Path, default=Path("bench/results"), metavar="DIR", help="(default: %(default)s)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
