"""`skylane bench capacity`: the highest rate that a server sustains, and the measurements that show it."""

import argparse
import contextlib
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from skylane import policy as policies
from skylane.bench.arguments import number, positive
from skylane.bench.host.interrupts import sigterm_interrupts
from skylane.bench.lab import commands
from skylane.bench.lab.capacity.page import page, table, verdict_text
from skylane.bench.lab.capacity.record import Capacity, CapacityRun
from skylane.bench.lab.capacity.rig import RequestSpec, Rig, duration_s, model_directory, served
from skylane.bench.lab.capacity.screen import CapacityScreen
from skylane.bench.lab.capacity.search import Goal, Step, Verdict, next_rate
from skylane.bench.lab.measure.server_under_test import ServerUnderTest, server_under_test
from skylane.bench.lab.output.live import console
from skylane.bench.lab.record import RunStart
from skylane.bench.workload.golden import Unsuitable

AS_IT_IS: Final = "model.toml"
"""What a policy is called that the model has already."""
DEFAULTS: Final = "defaults"
"""And one without the file."""
UNSETTLED: Final = ("unknown", "unsettled")

EPILOG: Final = """\
Requests are sent on a schedule, whether or not earlier ones were answered (an
open loop). The rate doubles until the target breaks; then the gap is halved
until it is narrow, and both sides of it are measured again, so that chance does
not decide. If the generator cannot send a rate on schedule, that is not taken
for the server's limit: the result then says "at least".

examples:
  skylane bench capacity --model flights_late --target-p99-ms 20
  skylane bench capacity --model wine --target-p99-ms 5 --policy small.toml --policy large.toml
  skylane bench capacity --address localhost:8500 --model wine --target-p99-ms 5
  skylane bench capacity --model flights_late --target-p99-ms 20 --data asked.csv
"""


@sigterm_interrupts()
def main(argv: Sequence[str] | None = None) -> int:
    """Search, and report. Returns the exit code: 0 done, 1 not measured or not settled, 2 wrong usage."""
    command = commands.parser(
        "skylane bench capacity", "Find the highest rate of requests that keeps a target for latency.", EPILOG
    )
    add_arguments(command)
    return commands.run_command(command, run, argv)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this command."""
    add = parser.add_argument_group("server").add_argument
    add(
        "--address",
        metavar="HOST:PORT",
        help="a server that runs (default: one is started for each model and policy)",
    )
    commands.add_access(add)
    commands.add_repository(add, "repository of the model; it is copied, and served from there")
    add("--model", action="append", required=True, metavar="NAME", help="model that is asked; may be repeated")
    add(
        "--policy",
        action="append",
        type=Path,
        metavar="FILE",
        help="a model.toml to serve it with; may be repeated (default: the one that it has)",
    )
    commands.add_requests(parser.add_argument_group("requests").add_argument)
    add = parser.add_argument_group("search").add_argument
    commands.add_goal(add)
    add("--precision", type=number, default=5.0, metavar="PERCENT", help="width of the last gap (default: 5)")
    add("--seconds", type=number, default=3.0, metavar="S", help="of each measurement, at least (default: 3)")
    add("--steps", type=positive, default=40, metavar="N", help="measurements at most, for each search (default: 40)")
    commands.add_out(parser.add_argument_group("result").add_argument)


def run(options: argparse.Namespace) -> int:
    """Search, save, print. Raises what `run_command` reports."""
    plans, _ = list(_plans(options)), commands.access_of(options)
    commands.make_out(options.out)
    start, capacities, requests = RunStart(), list[Capacity](), ""
    goal = Goal(
        target_p99_ms=options.target_p99_ms, lost_share_max=options.lost / 100, precision=options.precision / 100,
        steps_max=options.steps,
    )  # fmt: skip
    shown = CapacityScreen(console(sys.stderr, quiet=options.format == "json"))
    with tempfile.TemporaryDirectory() as folder, shown as screen:
        for name, policy, content in plans:
            screen.status(f"starting a server of {name}" if options.address is None else f"asking {options.address}")
            with _server(options, name, content, Path(folder)) as server:
                rig = Rig(server, RequestSpec(model=name, rows=options.rows, data=options.data), Path(folder))
                requests = rig.requests
                screen.status(f"{name}, {policy}")
                verdict, steps = find(rig, rig.goal(goal), options.seconds, Path(folder), screen)
            screen.settled(f"{name}, {policy}: {verdict_text(verdict, goal)}")
            capacities.append(
                Capacity(
                    model=name, version=rig.model.version, policy=policy, policy_toml=content,
                    alone_per_s=rig.alone.requests_per_s, verdict=verdict, steps=tuple(steps),
                )
            )  # fmt: skip
    result = CapacityRun(
        **start.conditions(), address=options.address, rows=options.rows, requests=requests,
        settings={
            "target_p99_ms": options.target_p99_ms, "lost_percent_max": options.lost,
            "precision_percent": options.precision, "seconds": options.seconds, "votes": goal.votes,
        },
        capacities=tuple(capacities),
    )  # fmt: skip
    name = "-".join(("capacity", *dict.fromkeys(options.model)))
    commands.show(options, table(result), commands.save_run(result, options, name, ".html", page(result)))
    return int(any(capacity.verdict.kind in UNSETTLED for capacity in capacities))


def find(rig: Rig, goal: Goal, seconds: float, folder: Path, screen: CapacityScreen) -> tuple[Verdict, list[Step]]:
    """Measure until the search ends. Raises GeneratorFailed."""
    steps, progress = list[Step](), folder / "progress"
    while isinstance(rate := next_rate(steps, goal), float):
        screen.begins(rate, duration_s(rate, goal, seconds), progress)
        steps.append(rig.step(rate, goal, seconds, progress))
        screen.ended(steps[-1], goal)
    return rate, steps


def _plans(options: argparse.Namespace) -> Iterator[tuple[str, str, str | None]]:
    """Model, name of the policy, and its text. Raises Unsuitable."""
    if options.address is not None and options.policy:
        raise Unsuitable("--policy: the server at --address has its policy; leave one of the two out")
    for name in dict.fromkeys(options.model):
        if options.address is not None:
            yield name, "as it is served", None
            continue
        own = model_directory(options.models, name) / "model.toml"
        if not options.policy:
            yield name, AS_IT_IS if own.exists() else DEFAULTS, own.read_text("utf-8") if own.exists() else ""
        for path in options.policy or ():
            yield name, path.name, _policy(path)


def _policy(path: Path) -> str:
    try:
        content = path.read_bytes()
        policies.decode(content)
    except OSError as error:
        raise Unsuitable(f"--policy {path}: {error.strerror or error}") from error
    except policies.BadPolicy as error:
        raise Unsuitable(f"--policy {path}: {error}") from error
    return content.decode()


def _server(
    options: argparse.Namespace, name: str, content: str | None, folder: Path
) -> contextlib.AbstractContextManager[ServerUnderTest]:
    if options.address is None:
        return served(options.models, name, content, folder)
    return server_under_test(options.address, options.models, folder, commands.access_of(options))


if __name__ == "__main__":
    sys.exit(main())
