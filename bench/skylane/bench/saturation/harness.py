"""The composition: which models, which servers, which load generator, and what is measured."""

import argparse
import contextlib
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from skylane.bench import machine, servers, subjects
from skylane.bench.generator import Generator, choose
from skylane.bench.payloads import grpc_reply
from skylane.bench.saturation import probes, results, scenarios
from skylane.bench.saturation.behaviours import Behaviour, Stage
from skylane.bench.saturation.neighbour import Neighbour
from skylane.bench.saturation.overload import Overload
from skylane.bench.saturation.progress import Progress
from skylane.bench.saturation.repeats import Repeats
from skylane.bench.saturation.results import NULL, OURS, Probe, Run, Sample, Soak
from skylane.bench.saturation.rounds import AcrossSocket, Contestant, InProcess, Plan, Served, measure
from skylane.bench.saturation.scenarios import Contender, Scenario
from skylane.bench.servers import Server
from skylane.bench.subjects import Subjects
from skylane.manifest import MODEL_FILE

IDLE_CONNECTIONS: Final = 2000
QUICK_BEHAVIOURS: Final = 2
"""Those that --quick tries: the first, which take the least time."""
BEHAVIOUR_ROUNDS: Final = 3
"""At most: one of overload takes seconds."""


def behaviours() -> list[Behaviour]:
    """What is shown beside the scenarios."""
    return [Overload(), Neighbour(), Repeats(100, "forest"), Repeats(300, "forest_large")]


class NothingToMeasure(Exception):
    """The command line asks for what there is not; the message names what there is."""


class Harness:
    """The servers that run, and how to reach each contender through them."""

    def __init__(
        self,
        folder: Path,
        chosen: Sequence[Scenario],
        shown: Sequence[Behaviour],
        known: Subjects,
        generator: Generator,
        stack: contextlib.ExitStack,
    ) -> None:
        """Start every server that the scenarios need. They are stopped by the stack, in any event."""
        self._folder, self._subjects, self._generator, self._stack = folder, known, generator, stack
        answers = folder / "answers"
        answers.mkdir()
        self._write_answers(answers, chosen)
        everything: list[Scenario | Behaviour] = [*chosen, *shown]
        kinds = {contender.kind for each in everything for contender in each.contenders}
        places = {"models": known.repository, "pipelines": known.pipelines, "answers": answers}
        self.servers: dict[str, Server] = {
            kind: stack.enter_context(servers.running(servers.KINDS[kind], folder, **places))
            for kind in sorted(kinds - scenarios.NO_SERVERS)
        }
        asked = [(contender, scenario.rows) for scenario in chosen for contender in scenario.contenders]
        asked += [(contender, 1) for behaviour in shown for contender in behaviour.contenders]
        for contender, rows in asked:
            if contender.kind in self.servers:
                server = self.servers[contender.kind]
                server.wait_ready(known.by_name[contender.model].exchange(server.kind.protocol, rows))

    def contestant(self, contender: Contender, rows: int) -> Contestant:
        """Something that can be put under load."""
        subject = self._subjects.by_name[contender.model]
        if contender.kind == scenarios.IN_PROCESS:
            return InProcess(contender.label, subjects.bare_session(subject.path), subject.rows(rows))
        if contender.kind == scenarios.BARE_SOCKET:
            inputs = subject.rows(rows)
            size = sum(answer.nbytes for answer in subject.answers(inputs).values())
            return self._stack.enter_context(
                contextlib.closing(AcrossSocket(contender.label, subject.path / MODEL_FILE, inputs, size))
            )
        server = self.servers[contender.kind]
        exchange = subject.exchange(server.kind.protocol, rows)
        return Served(contender.label, server, contender.model, exchange, self._generator, self._folder)

    def soak(self, minutes: float, progress: Progress) -> Soak:
        """Memory of our server under load."""
        known = self._subjects.by_name
        subject = known.get("logistic", next(iter(known.values())))
        server = self.servers["native"]
        return probes.soak(
            server,
            OURS,
            subject.name,
            subject.exchange("grpc", 1),
            self._generator,
            self._folder,
            minutes,
            progress.say,
        )

    def _write_answers(self, directory: Path, chosen: Sequence[Scenario]) -> None:
        """What the server that does nothing knows."""
        for scenario in chosen:
            for contender in scenario.contenders:
                if contender.label == NULL:
                    subject = self._subjects.by_name[contender.model]
                    exchange = subject.exchange("grpc", scenario.rows)
                    stem = directory / f"{contender.model}-{scenario.rows}"
                    stem.with_suffix(".request").write_bytes(exchange.body[5:])
                    stem.with_suffix(".reply").write_bytes(grpc_reply(contender.model, exchange.expected))


def run(options: argparse.Namespace, progress: Progress) -> Run:
    """Measure. Raises NothingToMeasure, WrongAnswer, ServerFailed, GeneratorFailed: then there is no report."""
    began_at, started_at = time.monotonic(), datetime.now(UTC)
    wanted, shown = offered(options)
    here, commit = machine.machine(), machine.commit()
    generator = choose(options.generator)
    plan = Plan(options.rounds, options.seconds)
    samples, found, soak = list[Sample](), list[Probe](), None
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="skylane-bench-")))
        progress.say("making models")
        known = _subjects(options, folder, [*wanted, *shown], progress)
        chosen, skipped = select(wanted, known)
        if options.quick:
            chosen, shown = [_shortened(scenario) for scenario in chosen], shown[:QUICK_BEHAVIOURS]
        progress.say("starting servers")
        harness = Harness(folder, chosen, shown, known, generator, stack)
        measured: list[Scenario | Behaviour] = [*chosen, *shown]
        few = replace(plan, rounds=1 if options.quick else min(plan.rounds, BEHAVIOUR_ROUNDS))
        each = sum(len(s.loads) * len(s.contenders) for s in chosen) * plan.rounds
        progress.begin(each + sum(behaviour.samples for behaviour in shown) * few.rounds)
        for scenario in chosen:
            contestants = [harness.contestant(contender, scenario.rows) for contender in scenario.contenders]
            for load in scenario.loads:
                samples += measure(scenario.name, contestants, load, plan, progress.tell)
        stage = Stage(harness.servers, known.by_name, folder, few.seconds)
        for behaviour in shown:
            for round_ in range(few.rounds):
                samples += behaviour.measure(stage, round_, progress.tell)
        if "idle" not in options.without:  # last: memory that connections took is not given back at once
            found = _probe(harness, options, progress)
        if options.soak_minutes:
            soak = harness.soak(options.soak_minutes, progress)
    return Run(
        started_at=started_at.isoformat(timespec="seconds"),
        took_s=round(time.monotonic() - began_at, 1),
        commit=commit,
        machine=here,
        libraries=machine.libraries(),
        settings={
            "generator": generator.name,
            "rounds": plan.rounds,
            "seconds": plan.seconds,
            "quick": options.quick,
            "baselines": {each.name: each.baseline for each in measured},
            "behaviour_rounds": few.rounds,
            "servers": {kind: list(servers.KINDS[kind].arguments) for kind in harness.servers},
        },
        scenarios={each.name: each.title for each in measured},
        targets=tuple(target for each in measured for target in each.targets),
        samples=tuple(results.judged(samples)),
        probes=tuple(found),
        soak=soak,
        skipped=skipped,
    )


def offered(options: argparse.Namespace) -> tuple[list[Scenario], list[Behaviour]]:
    """The scenarios and behaviours that are asked for. Raises NothingToMeasure."""
    shown = list[Behaviour]()
    if options.models is None:
        known, shown = list(scenarios.ALL), behaviours()
    else:
        found = subjects.read(options.models) if options.models.is_dir() else {}
        known = [scenarios.of_model(name) for name in found]
    names = [*(each.name for each in known), *(each.name for each in shown)]
    if unknown := set(options.only).difference(names):
        raise NothingToMeasure(f"--only {' '.join(sorted(unknown))}: there is {', '.join(names)}")
    if not known:
        raise NothingToMeasure(f"--models {options.models}: no model has been published there")
    if options.only:
        known = [scenario for scenario in known if scenario.name in options.only]
        shown = [behaviour for behaviour in shown if behaviour.name in options.only]
    return known, shown


def select(wanted: Sequence[Scenario], known: Subjects) -> tuple[list[Scenario], dict[str, str]]:
    """The scenarios that are possible, and why others are not."""
    chosen, skipped = list[Scenario](), dict[str, str]()
    workers = "--workers" in servers.options_of("skylane.server")
    for scenario in wanted:
        missing = {contender.model for contender in scenario.contenders} - known.by_name.keys()
        if missing:
            skipped[scenario.name] = f"no model {', '.join(missing)}: make it by `python -m examples.flights`"
        elif "native x2" in scenario.kinds and not workers:
            skipped[scenario.name] = "this server has no option --workers"
        else:
            chosen.append(scenario)
    return chosen, skipped


def _shortened(scenario: Scenario) -> Scenario:
    """For --quick: one load, the middle one where there is a choice."""
    middle = [load for load in scenario.loads if load in scenarios.MIDDLE]
    return replace(scenario, loads=tuple(middle or scenario.loads[:1]))


def _subjects(
    options: argparse.Namespace, folder: Path, asked: Sequence[Scenario | Behaviour], progress: Progress
) -> Subjects:
    if options.models is None:
        models = {contender.model for each in asked for contender in each.contenders} | {"logistic"}
        return subjects.make(folder, Path("models"), models, progress.say)
    pipelines = folder / "pipelines"
    pipelines.mkdir()
    return Subjects(options.models, pipelines, subjects.read(options.models))


def _probe(harness: Harness, options: argparse.Namespace, progress: Progress) -> list[Probe]:
    """What servers need while nobody asks: ours and the baseline."""
    found = []
    for kind, label in (("native", OURS), ("grpc.aio batching", scenarios.BASELINE)):
        if kind in harness.servers:
            server = harness.servers[kind]
            progress.say(f"idle: {label}")
            found.append(probes.idle_cpu(server, label, 1 if options.quick else 10))
            found.append(probes.idle_connections(server, label, 100 if options.quick else IDLE_CONNECTIONS))
    return found
