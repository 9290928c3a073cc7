"""`skylane bench knee`: the highest rate that a server sustains, and the measurements that show it."""

import argparse
import contextlib
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from skylane import policy as policies
from skylane.bench.lab.knee import record
from skylane.bench.lab.knee.page import page, said, table
from skylane.bench.lab.knee.record import Knee, Knees
from skylane.bench.lab.knee.screen import Screen, Silent
from skylane.bench.lab.knee.search import Goal, Step, Verdict, next_rate
from skylane.bench.lab.knee.stand import Asked, Stand, lasts_s, model_directory, served
from skylane.bench.lab.measure.places import Place, process_at
from skylane.bench.lab.options import (
    access_of,
    add_access,
    add_asked,
    add_goal,
    add_out,
    add_repository,
    guarded,
    make,
    number,
    positive,
)
from skylane.bench.lab.requests.questions import Unsuitable
from skylane.bench.lab.screens.live import console
from skylane.bench.machine import commit, libraries, machine
from skylane.bench.stopping import sigterm_interrupts

AS_IT_IS: Final = "model.toml"
"""What a policy is called that the model has already."""
DEFAULTS: Final = "defaults"
"""And one without the file."""
UNSETTLED: Final = ("unknown", "unsettled")

EPILOG: Final = """\
Requests come when they come, whatever became of those before (an open loop).
The rate doubles until the target breaks; then the gap is halved until it is
narrow, and both sides of it are measured again, so that luck is outvoted. A
rate that the generator could not send properly is never taken for the
server's limit: then it says "at least".

examples:
  skylane bench knee --model flights_late --target-p99-ms 20
  skylane bench knee --model wine --target-p99-ms 5 --policy small.toml --policy large.toml
  skylane bench knee --address localhost:8500 --model wine --target-p99-ms 5
  skylane bench knee --model flights_late --target-p99-ms 20 --data asked.csv
"""


@sigterm_interrupts()
def main(argv: Sequence[str] | None = None) -> int:
    """Search, and tell. Returns the exit code: 0 done, 1 not measured or not settled, 2 wrong usage."""
    parser = argparse.ArgumentParser(
        prog="skylane bench knee",
        description="Find the highest rate of requests that keeps a target for latency.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_arguments(parser)
    return guarded("knee", run, parser.parse_args(argv))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this command."""
    add = parser.add_argument_group("who is asked").add_argument
    add(
        "--address",
        metavar="HOST:PORT",
        help="a server that runs (default: one is started for each model and policy)",
    )
    add_access(add)
    add_repository(add)
    add("--model", action="append", required=True, metavar="NAME", help="model that is asked; may be repeated")
    add(
        "--policy",
        action="append",
        type=Path,
        metavar="FILE",
        help="a model.toml to serve it with; may be repeated (default: the one that it has)",
    )
    add_asked(parser.add_argument_group("what is asked").add_argument)
    add = parser.add_argument_group("how the limit is found").add_argument
    add_goal(add)
    add("--precision", type=number, default=5.0, metavar="PERCENT", help="width of the last gap (default: 5)")
    add("--seconds", type=number, default=3.0, metavar="S", help="of each measurement, at least (default: 3)")
    add("--steps", type=positive, default=40, metavar="N", help="measurements at most, for each search (default: 40)")
    add_out(parser.add_argument_group("what comes of it").add_argument)


def run(options: argparse.Namespace) -> int:
    """Search, save, print. Raises what `guarded` tells."""
    plans, _ = list(_plans(options)), access_of(options)
    make(options.out)
    started, began_at, on = datetime.now(UTC), time.monotonic(), machine()
    goal = Goal(
        target_p99_ms=options.target_p99_ms, lost_share_max=options.lost / 100, precision=options.precision / 100,
        steps_max=options.steps,
    )  # fmt: skip
    knees, asked = list[Knee](), ""
    shown = Silent() if options.format == "json" else Screen(console(sys.stderr))
    with tempfile.TemporaryDirectory() as folder, shown as screen:
        for name, policy, content in plans:
            screen.says(f"starting a server of {name}" if options.address is None else f"asking {options.address}")
            with _place(options, name, content, Path(folder)) as where:
                stand = Stand(where, Asked(model=name, rows=options.rows, data=options.data), Path(folder))
                asked = stand.said
                screen.says(f"{name}, {policy}")
                reached = stand.goal(goal)
                verdict, steps = find(stand, reached, options.seconds, Path(folder), screen)
            screen.settled(f"{name}, {policy}: {said(verdict, goal)}")
            knees.append(
                Knee(
                    model=name, version=stand.model.version, policy=policy, policy_toml=content,
                    alone_per_s=stand.alone.requests_per_s, verdict=verdict, steps=tuple(steps),
                )
            )  # fmt: skip
    found = Knees(
        started_at=started.isoformat(timespec="seconds"), took_s=round(time.monotonic() - began_at, 1),
        commit=commit(), machine=on, libraries=libraries(), address=options.address, rows=options.rows, asked=asked,
        settings={
            "target_p99_ms": options.target_p99_ms, "lost_percent_max": options.lost,
            "precision_percent": options.precision, "seconds": options.seconds, "votes": goal.votes,
        },
        knees=tuple(knees),
    )  # fmt: skip
    _tell(found, _save(found, options.out), options.format)
    return int(any(knee.verdict.kind in UNSETTLED for knee in knees))


def find(stand: Stand, goal: Goal, seconds: float, folder: Path, screen: Silent) -> tuple[Verdict, list[Step]]:
    """Measure until the search ends. Raises GeneratorFailed."""
    steps = list[Step]()
    while isinstance(asked := next_rate(steps, goal), float):
        screen.begins(asked, lasts_s(asked, goal, seconds), progress := folder / "progress")
        steps.append(stand.step(asked, goal, seconds, progress))
        screen.ended(steps[-1], goal)
    return asked, steps


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


def _place(
    options: argparse.Namespace, name: str, content: str | None, folder: Path
) -> contextlib.AbstractContextManager[Place]:
    if options.address is None:
        return served(options.models, name, content, folder)
    return contextlib.nullcontext(
        Place(options.address, process_at(options.address), started=False, access=access_of(options))
    )


def _save(found: Knees, out: Path) -> Path:
    names = "-".join(dict.fromkeys(knee.model for knee in found.knees))
    path = out / f"knee-{names}-{datetime.fromisoformat(found.started_at):%Y%m%d-%H%M%S}.json"
    try:
        record.save(found, path)
        path.with_suffix(".html").write_text(page(found), "utf-8")
    except OSError as error:
        raise Unsuitable(f"--out {out}: {error.strerror or error}") from error
    return path


def _tell(found: Knees, path: Path, form: str) -> None:
    if form == "json":
        print(path.read_text(), end="")
        return
    out = console()
    out.print(table(found))
    out.print(f"\nresults: {path}\nreport:  {path.with_suffix('.html')}", highlight=False, soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main())
