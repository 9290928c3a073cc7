"""`skylane bench knee`: the highest rate that a server sustains, and the measurements that show it."""

import argparse
import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import grpc
from rich.console import Console

from bench.generator import GeneratorFailed
from bench.lab import knee_record
from bench.lab.knee_page import page, said, table
from bench.lab.knee_record import Knee, Knees
from bench.lab.knee_screen import Screen, Silent
from bench.lab.knee_search import Goal, Step, Verdict, next_rate
from bench.lab.knee_stand import Asked, Stand, lasts_s, model_directory, served
from bench.lab.lines import number, positive, told
from bench.lab.places import Place, process_at
from bench.lab.questions import Unsuitable
from bench.machine import commit, libraries, machine
from bench.payloads import WrongAnswer
from bench.servers import ServerFailed
from skylane import policy as policies
from skylane.client import SkylaneError

OUT: Final = Path("bench-results")
LOG_WIDTH: Final = 120
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


def guarded(command: str, work: Callable[[argparse.Namespace], int], options: argparse.Namespace) -> int:
    """Run it; what goes wrong is a line on stderr and the exit code."""
    try:
        return work(options)
    except Unsuitable as error:
        print(f"skylane bench {command}: {error}", file=sys.stderr)
        return 2
    except (SkylaneError, grpc.RpcError) as error:
        print(f"skylane bench {command}: {told(error, options.address)}", file=sys.stderr)
    except (GeneratorFailed, ServerFailed, WrongAnswer) as error:
        print(f"skylane bench {command}: {error}", file=sys.stderr)
    return 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this command."""
    add = parser.add_argument_group("who is asked").add_argument
    add(
        "--address",
        metavar="HOST:PORT",
        help="a server that runs, without TLS and tokens (default: one is started for each model and policy)",
    )
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


def add_repository(add: Callable[..., object]) -> None:
    """Where models are."""
    add(
        "--models",
        type=Path,
        default=Path(os.environ.get("SKYLANE_MODELS", "models")),
        metavar="DIR",
        help="repository of the model; it is copied, and served from there (default: models, or SKYLANE_MODELS)",
    )


def add_asked(add: Callable[..., object]) -> None:
    """What is asked."""
    add("--rows", type=positive, default=1, metavar="N", help="rows in each request (default: 1)")
    add(
        "--data",
        type=Path,
        metavar="FILE",
        help="CSV with the model's columns: its rows are sent in their order, and repeat as they do there (default: "
        "rows mixed from the examples in the manifest, all different)",
    )


def add_goal(add: Callable[..., object]) -> None:
    """What is to be kept."""
    add(
        "--target-p99-ms",
        type=number,
        required=True,
        metavar="MS",
        help="99 of 100 answers come within so many milliseconds of the instant at which the request was due",
    )
    add("--lost", type=_share, default=0.1, metavar="PERCENT", help="may be refused or fail (default: 0.1)")


def add_out(add: Callable[..., object]) -> None:
    """Where it goes."""
    add("--out", type=Path, default=OUT, metavar="DIR", help=f"for the result and the report (default: {OUT})")
    add("--format", choices=("table", "json"), default="table", help="what is printed (default: table)")


def run(options: argparse.Namespace) -> int:
    """Search, save, print. Raises what `guarded` tells."""
    plans = list(_plans(options))
    started, began_at, on = datetime.now(UTC), time.monotonic(), machine()
    goal = Goal(
        target_p99_ms=options.target_p99_ms, lost_share_max=options.lost / 100, precision=options.precision / 100,
        steps_max=options.steps,
    )  # fmt: skip
    knees, asked = list[Knee](), ""
    console = Console(stderr=True, width=None if sys.stderr.isatty() else LOG_WIDTH)
    with tempfile.TemporaryDirectory() as folder, screen_of(options, console) as screen:
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


def screen_of(options: argparse.Namespace, console: Console) -> Silent:
    """What shows how it goes."""
    return Silent() if options.format == "json" else Screen(console)


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
    return contextlib.nullcontext(Place(options.address, process_at(options.address), started=False))


def _save(found: Knees, out: Path) -> Path:
    names = "-".join(dict.fromkeys(knee.model for knee in found.knees))
    path = out / f"knee-{names}-{datetime.fromisoformat(found.started_at):%Y%m%d-%H%M%S}.json"
    try:
        knee_record.save(found, path)
        path.with_suffix(".html").write_text(page(found), "utf-8")
    except OSError as error:
        raise Unsuitable(f"--out {out}: {error.strerror or error}") from error
    return path


def _tell(found: Knees, path: Path, form: str) -> None:
    if form == "json":
        print(path.read_text(), end="")
        return
    console = Console(width=None if sys.stdout.isatty() else LOG_WIDTH)
    console.print(table(found))
    console.print(f"\nresults: {path}\nreport:  {path.with_suffix('.html')}", highlight=False, soft_wrap=True)


def _share(text: str) -> float:
    value = float(text)
    if not 0 <= value < 100:
        raise argparse.ArgumentTypeError(f"expected 0 or more and less than 100 percent, got {text}")
    return value


# argparse names the type in its message: "invalid percentage value: 'x'".
_share.__name__ = "percentage"

if __name__ == "__main__":
    sys.exit(main())
