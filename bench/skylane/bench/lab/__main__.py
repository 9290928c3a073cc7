"""`skylane bench`: scenarios against a server, shown as a table and saved as a file and a page."""

import argparse
import contextlib
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec
import numpy as np

from skylane.bench.arguments import number, positive
from skylane.bench.host.interrupts import sigterm_interrupts
from skylane.bench.lab import commands
from skylane.bench.lab.capacity.rig import model_directory
from skylane.bench.lab.measure.measurement import Endpoint
from skylane.bench.lab.measure.server_under_test import server_under_test
from skylane.bench.lab.output.live import console
from skylane.bench.lab.record import RunStart, load
from skylane.bench.lab.scenarios import rounds
from skylane.bench.lab.scenarios.page import page
from skylane.bench.lab.scenarios.plans import PLANS
from skylane.bench.lab.scenarios.record import ScenariosRun
from skylane.bench.lab.scenarios.screen import ScenariosScreen
from skylane.bench.lab.scenarios.summary import summary
from skylane.bench.lab.scenarios.workload import RequestSource
from skylane.bench.workload.golden import Unsuitable, choose, golden, ready_models
from skylane.bench.workload.rows import Mixed, Rows, examples, recorded
from skylane.bench.workload.scenarios import Kind
from skylane.client import Client, Model

DEFAULT: Final = ("steady", "peak")

EPILOG: Final = f"""\
Rows are mixed from the examples in the model's manifest and do not repeat, or
come from --data in its order. Scenarios on a schedule send each request when it
is due, whether or not earlier ones were answered, and count its latency from
that instant, so that a stalling server shows it. Figures that the load
generator limits are not reported.

scenarios:
{{scenarios}}

more:
  skylane bench capacity    the highest rate that keeps a target
  skylane bench tune       the batching policy that keeps it at the highest rate
  skylane bench baselines  this server beside the usual ways to serve

examples:
  skylane bench --models models --model flights_late
  skylane bench --address localhost:8500 --model flights_late --rate 2000
  skylane bench --scenario steady --baseline {commands.OUT}/flights_late-20260102-030405.json
"""


@sigterm_interrupts()
def main(argv: Sequence[str] | None = None) -> int:
    """Measure, and report. Returns the exit code: 0 done, 1 not measured, 2 wrong usage."""
    return commands.run_command(_parser(), _run, argv)


def _run(options: argparse.Namespace) -> int:
    """Measure, save, print. Raises what `run_command` reports."""
    baseline = _baseline(options.baseline)
    commands.make_out(options.out)
    with tempfile.TemporaryDirectory() as folder:
        run = _measured(options, baseline, Path(folder))
    path = commands.save_run(run, options, run.model, ".html", page(run, baseline))
    commands.show(options, summary(run, baseline), path)
    return 0


def _measured(options: argparse.Namespace, baseline: ScenariosRun | None, folder: Path) -> ScenariosRun:
    plans = [PLANS[name] for name in dict.fromkeys(options.scenario or DEFAULT)]
    access = commands.access_of(options)
    if options.address is None:
        _check_models(options)
    start = RunStart()
    with contextlib.ExitStack() as stack:
        with _waiting(options):
            server = stack.enter_context(server_under_test(options.address, options.models, folder, access))
        with server.access.client(server.address, 10) as client:
            model = choose(client, options.model)
            others = _others(client, model) if any(Kind.ANY in plan.mix for plan in plans) else {}
        checks = golden(model, options.rows)
        rows = Mixed(examples(model)) if options.data is None else recorded(options.data, model)
        source = RequestSource(model, rows, options.rows, others, np.random.default_rng(rounds.SEED))
        rate = options.rate
        if rate is None and baseline is not None:
            rate = baseline.settings["rate_per_s"]
        order = rounds.Order(
            plans=plans, rounds=options.rounds, seconds=options.seconds, rate_per_s=rate,
            in_time_s=None if options.in_time_ms is None else options.in_time_ms / 1e3,
        )  # fmt: skip
        quiet = console(sys.stderr, quiet=options.format == "json")
        screen = ScenariosScreen([plan.name for plan in plans], order.rounds, order.seconds, server.pid, quiet)
        endpoint = Endpoint(server.address, model.name, options.pid or server.pid, server.access)
        with screen:
            measured = rounds.run(endpoint, checks, source, order, folder, screen)
    return ScenariosRun(
        **start.conditions(), address=server.address, started_server=server.started, model=model.name,
        version=model.version, rows=options.rows, requests=rows.description,
        settings={
            "rounds": options.rounds, "seconds": options.seconds, "rate_per_s": measured.rate_per_s,
            "rate_given": options.rate is not None, "in_time_ms": options.in_time_ms,
        },
        alone=measured.alone, scenarios=measured.scenarios,
    )  # fmt: skip


def _check_models(options: argparse.Namespace) -> None:
    """Raises Unsuitable if --models cannot be served, or has no such model."""
    if not options.models.is_dir():
        raise Unsuitable(
            f"--models {options.models} is no directory: name the repository whose models are to be served, or with "
            "--address a server that runs"
        )
    if not any(options.models.glob("*/[0-9]*/manifest.json")):
        raise Unsuitable(f"--models {options.models} has no published model: `skylane convert` makes one")
    if options.model is not None:
        model_directory(options.models, options.model)


def _waiting(options: argparse.Namespace) -> contextlib.AbstractContextManager[object]:
    """Says that a server starts, if one does."""
    if options.address is not None or options.format == "json":
        return contextlib.nullcontext()
    return console(sys.stderr).status(f"starting a server of {options.models}")


def _others(client: Client, model: Model) -> dict[str, Rows]:
    """The server's other models that are ready and whose manifests keep examples."""
    others: dict[str, Rows] = {}
    for name in ready_models(client):
        if name != model.name:
            with contextlib.suppress(Unsuitable):
                others[name] = Mixed(examples(client.model(name)))
    return others


def _baseline(path: Path | None) -> ScenariosRun | None:
    if path is None:
        return None
    try:
        return load(path, ScenariosRun)
    except OSError as error:
        raise Unsuitable(f"--baseline {path}: {error.strerror or error}") from error
    except msgspec.MsgspecError as error:
        raise Unsuitable(f"--baseline {path} is no result of `skylane bench`: {error}") from error


def _parser() -> argparse.ArgumentParser:
    width = max(map(len, PLANS))
    listed = "\n".join(f"  {plan.name:{width}}  {plan.title}" for plan in PLANS.values())
    command = commands.parser(
        "skylane bench", "Measure what a server can do, and write a report.", EPILOG.format(scenarios=listed)
    )
    add = command.add_argument_group("server").add_argument
    add("--address", metavar="HOST:PORT", help="a server that runs (default: one is started, of --models)")
    commands.add_access(add)
    commands.add_repository(add, "repository of the server that is started")
    add("--model", metavar="NAME", help="model that is asked (default: the only one)")
    add(
        "--pid",
        type=positive,
        metavar="N",
        help="the server's process, whose CPU and memory to measure; a server on this machine is found by its port",
    )
    add = command.add_argument_group("requests").add_argument
    add(
        "--scenario",
        action="append",
        type=_scenario,
        metavar="NAME",
        help=f"one of those below; may be repeated (default: {', '.join(DEFAULT)})",
    )
    add(
        "--rate",
        type=number,
        metavar="R",
        help="requests per second that are a schedule's full load (default: that of --baseline, or half of what a "
        "single caller gets)",
    )
    commands.add_requests(add)
    add("--seconds", type=number, default=5.0, metavar="S", help="of each measurement (default: 5)")
    add("--rounds", type=positive, default=4, metavar="N", help="measurements of each scenario, in turn (default: 4)")
    add("--in-time-ms", type=number, metavar="MS", help="an answer that takes longer is not counted as good")
    add = command.add_argument_group("result").add_argument
    add("--baseline", type=Path, metavar="FILE", help="an earlier result to compare with")
    commands.add_out(add)
    return command


def _scenario(text: str) -> str:
    if text not in PLANS:
        raise argparse.ArgumentTypeError(f"there is no scenario {text!r}; there are: {', '.join(PLANS)}")
    return text


if __name__ == "__main__":
    sys.exit(main())
