"""`skylane bench tune`: policies are tried against the one that a model has, and the best becomes its model.toml."""

import argparse
import contextlib
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from skylane import policy as policies
from skylane.bench.arguments import number, positive
from skylane.bench.host.interrupts import sigterm_interrupts
from skylane.bench.lab import commands
from skylane.bench.lab.capacity.rig import model_directory
from skylane.bench.lab.capacity.search import Goal
from skylane.bench.lab.output.live import console
from skylane.bench.lab.record import RunStart
from skylane.bench.lab.tune.model_toml import difference
from skylane.bench.lab.tune.outcome import result_text, tuned, write
from skylane.bench.lab.tune.policies import KEYS, OWN, Candidate, singles
from skylane.bench.lab.tune.record import TuneRun
from skylane.bench.lab.tune.screen import TuneScreen, stages_table
from skylane.bench.lab.tune.search import LAST_ROUNDS, Result, Stage, next_stage
from skylane.bench.lab.tune.trials import Trials, run_stage
from skylane.bench.workload.golden import Unsuitable

EPILOG: Final = """\
Each policy is served by a server of its own, from a copy of the model; they
are measured in turn, one rate at a time, so that what disturbs the machine
disturbs all of them. First all, with one key changed in each; then the better
ones and combinations; at last the best two beside what you have, from nothing
measured before. What does not win every search is not called better, and then
model.toml stays as it is. Published versions are not touched.

examples:
  skylane bench tune --model flights_late --target-p99-ms 20
  skylane bench tune --model flights_late --target-p99-ms 20 --write
  skylane bench tune --model flights_late --target-p99-ms 20 --data asked.csv
"""


@sigterm_interrupts()
def main(argv: Sequence[str] | None = None) -> int:
    """Search, and report. Returns the exit code: 0 done, 1 not measured, 2 wrong usage."""
    command = commands.parser(
        "skylane bench tune",
        "Find the model.toml under which a model sustains the highest rate that keeps a target.",
        EPILOG,
    )
    add_arguments(command)
    return commands.run_command(command, run, argv)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this command."""
    add = parser.add_argument_group("model").add_argument
    commands.add_repository(add, "repository of the model; it is copied, and served from there")
    add("--model", required=True, metavar="NAME", help="model that is tuned")
    add(
        "--keys",
        nargs="+",
        choices=KEYS,
        default=KEYS,
        metavar="KEY",
        help=f"of model.toml that may be changed (default: all of {', '.join(KEYS)}; the last two, the cache's, with "
        "--data only)",
    )
    commands.add_requests(parser.add_argument_group("requests").add_argument)
    add = parser.add_argument_group("target").add_argument
    commands.add_goal(add)
    add("--seconds", type=number, default=1.0, metavar="S", help="of each measurement, at least (default: 1)")
    add("--steps", type=positive, default=20, metavar="N", help="measurements at most, for each search (default: 20)")
    add = parser.add_argument_group("result").add_argument
    add("--write", action="store_true", help="change model.toml, if something is better (default: show the change)")
    commands.add_out(add)
    parser.set_defaults(address=None)


def run(options: argparse.Namespace) -> int:
    """Search, save, print. Raises what `run_command` reports."""
    path = model_directory(options.models, options.model) / "model.toml"
    before = path.read_text("utf-8") if path.exists() else ""
    policy = _decoded(before, path)
    commands.make_out(options.out)
    start = RunStart()
    goal = Goal(
        target_p99_ms=options.target_p99_ms, lost_share_max=options.lost / 100, votes=1, steps_max=options.steps
    )
    allowed = _candidates(options, policy, start.machine.cores)
    screen = TuneScreen(console(sys.stderr, quiet=options.format == "json"))
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack, screen:
        trials = Trials(options, before, Path(folder), stack)
        while isinstance(stage := next_stage(allowed, trials.stages), Stage):
            run_stage(stage, trials, goal, screen)
        result, rig = stage, trials.rigs[OWN]
    sentence = result_text(result, options.target_p99_ms)
    machine = start.machine
    conditions = (
        f"{LAST_ROUNDS} searches of each, in turn, on {machine.cores} cores of {machine.cpu}, {start.at:%Y-%m-%d}."
    )
    after = tuned(before, result, policy, f"{sentence} {conditions}")
    written = after is not None and options.write
    if after is not None and options.write:
        write(after, path)
    tuning = TuneRun(
        **start.conditions(), model=options.model, version=rig.model.version, rows=options.rows, requests=rig.requests,
        alone_per_s=rig.alone.requests_per_s,
        settings={
            "target_p99_ms": options.target_p99_ms, "lost_percent_max": options.lost, "seconds": options.seconds,
            "steps_max": options.steps, "last_rounds": LAST_ROUNDS,
        },
        result=sentence, before_toml=before, after_toml=after, written=written, trials=tuple(trials.records),
    )  # fmt: skip
    saved = commands.save_run(tuning, options, f"tune-{tuning.model}", ".toml", after)
    if options.format != "json":
        _print(tuning, trials, result, path, saved)
    return 0


def _candidates(options: argparse.Namespace, policy: policies.Policy, cores: int) -> list[Candidate]:
    """The policies with one key changed that may be tried. Raises Unsuitable if there is none."""
    candidates = singles(policy, options.target_p99_ms, cores, repeats=options.data is not None)
    allowed = [candidate for candidate in candidates if candidate.changes[0].key in options.keys]
    if not allowed:
        raise Unsuitable(f"--keys {' '.join(options.keys)}: nothing else to try; enabled and max_mb need --data FILE")
    return allowed


def _decoded(content: str, path: Path) -> policies.Policy:
    try:
        return policies.decode(content.encode())
    except policies.BadPolicy as error:
        raise Unsuitable(f"{path}: {error}") from error


def _print(tuning: TuneRun, trials: Trials, result: Result, path: Path, saved: Path) -> None:
    out = console()
    out.print(stages_table(trials.stages, best=result.best))
    lines = [f"\n{tuning.result}\n"]
    if tuning.after_toml is not None:
        lines.append(difference(tuning.before_toml, tuning.after_toml, str(path)))
        if tuning.written:
            lines.append(f"{path} was written. Your comments were kept: check whether they still hold.")
        else:
            lines.append(f"Nothing was changed: use --write, or copy {saved.with_suffix('.toml')}.")
    for line in (*lines, f"evidence: {saved}"):
        out.print(line, highlight=False, markup=False, soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main())
