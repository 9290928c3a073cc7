"""One run of the baselines: which models, which servers, which load generator, and what is measured."""

import argparse
import contextlib
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from skylane.bench import servers
from skylane.bench.client.generator import choose
from skylane.bench.lab.baselines import probes
from skylane.bench.lab.baselines.contestants import BASELINE
from skylane.bench.lab.baselines.record import OURS, BaselinesRun, Probe, Sample, Soak, marked
from skylane.bench.lab.baselines.rig import Rig
from skylane.bench.lab.baselines.scenario import Plan, Scenario
from skylane.bench.lab.baselines.scenarios import ALL, of_model
from skylane.bench.lab.baselines.screen import BaselinesScreen
from skylane.bench.lab.record import RunStart
from skylane.bench.workload import models
from skylane.bench.workload.golden import Unsuitable
from skylane.bench.workload.models import ModelSet

IDLE_CONNECTIONS: Final = 2000


def run(options: argparse.Namespace, screen: BaselinesScreen) -> BaselinesRun:
    """Measure. Raises Unsuitable, WrongAnswer, ServerFailed, GeneratorFailed: then there is no result."""
    wanted, start, generator = offered(options), RunStart(), choose(options.generator)
    plan = Plan(options.rounds, options.seconds)
    samples, measured, soak = list[Sample](), list[Probe](), None
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="skylane-bench-")))
        screen.status("making models")
        model_set = _models(options, folder, wanted, screen)
        chosen, skipped = select(wanted, model_set)
        if options.quick:
            chosen = [scenario.shortened() for scenario in chosen if scenario.quick]
        screen.status("starting servers")
        exchanges = [(contestant, each.rows) for each in chosen for contestant in each.contestants]
        rig = Rig(folder, exchanges, model_set, generator, stack)
        screen.begin(sum(scenario.samples_per_round() * scenario.rounds(plan) for scenario in chosen))
        for scenario in chosen:
            samples += scenario.measure(rig, plan, screen.report)
        if "idle" not in options.without:  # last: memory that connections took is not given back at once
            measured = _probe(rig, options, screen)
        if options.soak_minutes:
            soak = _soak(rig, options.soak_minutes, screen)
    return BaselinesRun(
        **start.conditions(),
        settings={
            "generator": generator.name, "rounds": plan.rounds, "seconds": plan.seconds, "quick": options.quick,
            "baselines": {each.name: each.baseline for each in chosen},
            "servers": {kind: list(servers.KINDS[kind].arguments) for kind in rig.servers},
        },
        scenarios={each.name: each.title for each in chosen},
        targets=tuple(target for each in chosen for target in each.targets),
        samples=tuple(marked(samples)), probes=tuple(measured), soak=soak, skipped=skipped,
    )  # fmt: skip


def offered(options: argparse.Namespace) -> list[Scenario]:
    """The scenarios to measure. Raises Unsuitable."""
    available = list(ALL)
    if options.models is not None:
        published = models.read(options.models) if options.models.is_dir() else {}
        available = [of_model(name) for name in published]
    names = [each.name for each in available]
    if not available:
        raise Unsuitable(f"--models {options.models}: no model has been published there")
    if unknown := set(options.only).difference(names):
        raise Unsuitable(f"--only {' '.join(sorted(unknown))}: no such scenario; there are {', '.join(names)}")
    return [scenario for scenario in available if scenario.name in options.only or not options.only]


def select(wanted: Sequence[Scenario], model_set: ModelSet) -> tuple[list[Scenario], dict[str, str]]:
    """The scenarios whose models are there, and why others are skipped."""
    chosen, skipped = list[Scenario](), dict[str, str]()
    for scenario in wanted:
        missing = {contestant.model for contestant in scenario.contestants} - model_set.by_name.keys()
        if missing:
            skipped[scenario.name] = f"no model {', '.join(missing)}: make it by `python -m examples.flights`"
        else:
            chosen.append(scenario)
    return chosen, skipped


def _models(options: argparse.Namespace, folder: Path, wanted: Sequence[Scenario], screen: BaselinesScreen) -> ModelSet:
    if options.models is None:
        names = {contestant.model for each in wanted for contestant in each.contestants} | {"logistic"}
        return models.make(folder, Path("models"), names, screen.status)
    pipelines = folder / "pipelines"
    pipelines.mkdir()
    return ModelSet(options.models, pipelines, models.read(options.models))


def _probe(rig: Rig, options: argparse.Namespace, screen: BaselinesScreen) -> list[Probe]:
    """What servers use without load: ours and the baseline."""
    measured = []
    for kind, label in (("native", OURS), ("grpc.aio batching", BASELINE)):
        if kind in rig.servers:
            server = rig.servers[kind]
            screen.status(f"idle: {label}")
            measured.append(probes.idle_cpu(server, label, 1 if options.quick else 10))
            measured.append(probes.idle_connections(server, label, 100 if options.quick else IDLE_CONNECTIONS))
    return measured


def _soak(rig: Rig, minutes: float, screen: BaselinesScreen) -> Soak:
    """Memory of our server under load."""
    model = rig.models.get("logistic", next(iter(rig.models.values())))
    return probes.soak(rig, OURS, model.name, minutes, screen.status)
