"""`skylane bench`: scenarios against a server; a table, a file and a page come of it."""

import argparse
import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import grpc
import msgspec
import numpy as np

from skylane.bench.generator import GeneratorFailed
from skylane.bench.lab.knee.stand import model_directory
from skylane.bench.lab.measure.measuring import Subject
from skylane.bench.lab.measure.places import Place, place
from skylane.bench.lab.options import OUT, access_of, add_access, add_out, make, number, positive, told
from skylane.bench.lab.requests.asked import Asker
from skylane.bench.lab.requests.questions import Unsuitable, choose, golden
from skylane.bench.lab.requests.rows import Mixed, Rows, examples, recorded
from skylane.bench.lab.scenarios import record, rounds
from skylane.bench.lab.scenarios.page import page
from skylane.bench.lab.scenarios.plans import PLANS
from skylane.bench.lab.scenarios.record import Lab
from skylane.bench.lab.scenarios.screen import Screen, Silent
from skylane.bench.lab.scenarios.summary import summary
from skylane.bench.lab.screens.live import console
from skylane.bench.load.scenarios import Kind
from skylane.bench.machine import commit, libraries, machine
from skylane.bench.payloads import WrongAnswer
from skylane.bench.servers import ServerFailed
from skylane.bench.stopping import sigterm_interrupts
from skylane.client import Client, Model, SkylaneError

DEFAULT: Final = ("steady", "peak")

EPILOG: Final = f"""\
Rows are mixed from the examples in the model's manifest and do not repeat, or
come from --data in its order. Scenarios on a schedule send each request at its
instant, whatever became of the others, and count its latency from there, so
that a server that stalls shows it. What the load generator itself limits is
not reported.

scenarios:
{{scenarios}}

more:
  skylane bench knee    the highest rate that keeps a target
  skylane bench tune    the batching policy that keeps it at the highest rate

examples:
  skylane bench --models models --model flights_late
  skylane bench --address localhost:8500 --model flights_late --rate 2000
  skylane bench --scenario steady --baseline {OUT}/flights_late-20260102-030405.json
"""


class Unusable(Exception):
    """The command line cannot be used; the text says why."""


@sigterm_interrupts()
def main(argv: Sequence[str] | None = None) -> int:
    """Measure, and tell. Returns the exit code: 0 done, 1 not measured, 2 wrong usage."""
    options = _parser().parse_args(argv)
    try:
        baseline = _baseline(options.baseline)
        make(options.out)
        with tempfile.TemporaryDirectory() as folder:
            lab = _measured(options, baseline, Path(folder))
        path = _save(lab, baseline, options.out)
    except (Unusable, Unsuitable) as error:
        print(f"skylane bench: {error}", file=sys.stderr)
        return 2
    except (SkylaneError, grpc.RpcError) as error:
        print(f"skylane bench: {told(error, options.address)}", file=sys.stderr)
        return 1
    except (GeneratorFailed, ServerFailed, WrongAnswer) as error:
        print(f"skylane bench: {error}", file=sys.stderr)
        return 1
    if options.format == "json":
        print(path.read_text(), end="")
        return 0
    out = console()
    out.print(summary(lab, baseline))
    out.print(f"\nresults: {path}\nreport:  {path.with_suffix('.html')}", highlight=False, soft_wrap=True)
    return 0


def _measured(options: argparse.Namespace, baseline: Lab | None, folder: Path) -> Lab:
    plans = [PLANS[name] for name in dict.fromkeys(options.scenario or DEFAULT)]
    if options.address is None and not options.models.is_dir():
        raise Unusable(
            f"--models {options.models} is no directory: name the repository whose models are to be served, or with "
            "--address a server that runs"
        )
    access = access_of(options)
    if options.address is None and not any(options.models.glob("*/[0-9]*/manifest.json")):
        raise Unusable(f"--models {options.models} has no published model: `skylane convert` makes one")
    if options.address is None and options.model is not None:
        model_directory(options.models, options.model)
    started, began_at = datetime.now(UTC), time.monotonic()
    on = machine()
    with contextlib.ExitStack() as stack:
        with _waiting(options):
            where = stack.enter_context(place(options.address, options.models, folder, access))
        with where.access.client(where.address, 10) as client:
            model = choose(client, options.model)
            others = _others(client, model) if any(Kind.ANY in plan.mix for plan in plans) else {}
        checks = golden(model, options.rows)
        rows = Mixed(examples(model)) if options.data is None else recorded(options.data, model)
        asker = Asker(model, rows, options.rows, others, np.random.default_rng(rounds.SEED))
        rate = options.rate
        if rate is None and baseline is not None:
            rate = baseline.settings["rate_per_s"]
        order = rounds.Order(
            plans=plans, rounds=options.rounds, seconds=options.seconds, rate_per_s=rate,
            in_time_s=None if options.in_time_ms is None else options.in_time_ms / 1e3,
        )  # fmt: skip
        screen = stack.enter_context(_screen(options, order, where))
        subject = Subject(where.address, model.name, options.pid or where.pid, where.access)
        found = rounds.run(subject, checks, asker, order, folder, screen)
    return Lab(
        started_at=started.isoformat(timespec="seconds"),
        took_s=round(time.monotonic() - began_at, 1),
        commit=commit(),
        machine=on,
        libraries=libraries(),
        address=where.address,
        started_server=where.started,
        model=model.name,
        version=model.version,
        rows=options.rows,
        asked=rows.said,
        settings={
            "rounds": options.rounds, "seconds": options.seconds, "rate_per_s": found.rate_per_s,
            "rate_given": options.rate is not None, "in_time_ms": options.in_time_ms,
        },
        alone=found.alone,
        scenarios=found.scenarios,
    )  # fmt: skip


def _waiting(options: argparse.Namespace) -> contextlib.AbstractContextManager[object]:
    """Says that a server starts, if one does."""
    if options.address is not None or options.format == "json":
        return contextlib.nullcontext()
    return console(sys.stderr).status(f"starting a server of {options.models}")


def _others(client: Client, model: Model) -> dict[str, Rows]:
    """The server's other models that are ready and whose manifests keep examples."""
    found: dict[str, Rows] = {}
    for status in client.models():
        if status.name != model.name and any(each.state == "ready" for each in status.versions):
            with contextlib.suppress(Unsuitable):
                found[status.name] = Mixed(examples(client.model(status.name)))
    return found


def _screen(options: argparse.Namespace, order: rounds.Order, where: Place) -> Silent:
    if options.format == "json":
        return Silent()
    return Screen([plan.name for plan in order.plans], order.rounds, order.seconds, where.pid, console(sys.stderr))


def _baseline(path: Path | None) -> Lab | None:
    if path is None:
        return None
    try:
        return record.load(path)
    except OSError as error:
        raise Unusable(f"--baseline {path}: {error.strerror or error}") from error
    except msgspec.MsgspecError as error:
        raise Unusable(f"--baseline {path} is no result of `skylane bench`: {error}") from error


def _save(lab: Lab, baseline: Lab | None, out: Path) -> Path:
    path = out / f"{lab.model}-{datetime.fromisoformat(lab.started_at):%Y%m%d-%H%M%S}.json"
    record.save(lab, path)
    path.with_suffix(".html").write_text(page(lab, baseline), "utf-8")
    return path


def _parser() -> argparse.ArgumentParser:
    width = max(map(len, PLANS))
    listed = "\n".join(f"  {plan.name:{width}}  {plan.title}" for plan in PLANS.values())
    parser = argparse.ArgumentParser(
        prog="skylane bench",
        description="Measure what a server can do, and write a report.",
        epilog=EPILOG.format(scenarios=listed),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument_group("who is asked").add_argument
    add(
        "--address",
        metavar="HOST:PORT",
        help="a server that runs (default: one is started, of --models)",
    )
    add_access(add)
    add(
        "--models",
        type=Path,
        default=Path(os.environ.get("SKYLANE_MODELS", "models")),
        metavar="DIR",
        help="repository of the server that is started (default: models, or SKYLANE_MODELS)",
    )
    add("--model", metavar="NAME", help="model that is asked (default: the only one)")
    add(
        "--pid",
        type=positive,
        metavar="N",
        help="the server's process, whose CPU and memory to measure; a server on this machine is found by its port",
    )
    add = parser.add_argument_group("what is asked").add_argument
    names = ", ".join(DEFAULT)
    add(
        "--scenario",
        action="append",
        type=_scenario,
        metavar="NAME",
        help=f"one of those below; may be repeated (default: {names})",
    )
    add(
        "--rate",
        type=number,
        metavar="R",
        help="requests per second that are a schedule's full load (default: that of --baseline, or half of what a "
        "single caller gets)",
    )
    add("--data", type=Path, metavar="FILE", help="rows to send, as CSV with the model's columns")
    add("--rows", type=positive, default=1, metavar="N", help="rows in each request (default: 1)")
    add("--seconds", type=number, default=5.0, metavar="S", help="of each measurement (default: 5)")
    add("--rounds", type=positive, default=4, metavar="N", help="measurements of each scenario, in turn (default: 4)")
    add("--in-time-ms", type=number, metavar="MS", help="an answer that takes longer is not counted as good")
    add = parser.add_argument_group("what comes of it").add_argument
    add("--baseline", type=Path, metavar="FILE", help="an earlier result to compare with")
    add_out(add)
    return parser


def _scenario(text: str) -> str:
    if text not in PLANS:
        raise argparse.ArgumentTypeError(f"there is no scenario {text!r}; there are: {', '.join(PLANS)}")
    return text


if __name__ == "__main__":
    sys.exit(main())
