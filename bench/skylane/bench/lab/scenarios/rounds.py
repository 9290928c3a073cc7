"""Measuring all scenarios, round after round: what disturbs the machine for a while disturbs all of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import floor, log10
from pathlib import Path
from typing import Final, Protocol

import numpy as np

from skylane.bench.lab.measure import truth
from skylane.bench.lab.measure.measuring import Closed, Measured, Open, Subject, measure
from skylane.bench.lab.measure.truth import BODIES_MAX, SHARE_MAX, Ceiling
from skylane.bench.lab.requests.asked import Asker
from skylane.bench.lab.requests.questions import Questions, ask
from skylane.bench.lab.scenarios import record
from skylane.bench.lab.scenarios.plans import CONNECTIONS, STREAMS, Plan
from skylane.bench.lab.scenarios.record import Alone, Round, Scenario
from skylane.bench.load.scenarios import Kind
from skylane.bench.payloads import PREDICT, Exchange
from skylane.bench.servers import ask_grpc

WARM_S: Final = 0.5
USUAL_SHARE: Final = 0.5
"""Of what the server answers to a single caller, one request after the other: the rate of the schedules, where none is
given. Callers at that rate seldom meet, so that it is busy, and far from overload even if it never batches."""
WARM_BODIES: Final = 4000
SPARE: Final = 1.5
"""Different requests for a closed loop, as a multiple of those that it should need."""
SEED: Final = 20130101


@dataclass(frozen=True, kw_only=True)
class Order:
    """What is to be measured."""

    plans: Sequence[Plan]
    rounds: int
    seconds: float
    """Of each scenario, in each round."""
    rate_per_s: float | None
    """Mean rate of the schedules; None: a share of what the server can do."""
    in_time_s: float | None


class Watcher(Protocol):
    """Who is told how it goes."""

    def says(self, text: str) -> None:
        """Something begins that is no measurement."""
        ...

    def begins(self, name: str, round_: int, progress: Path) -> None:
        """A scenario begins; see `skylane.bench.sending.progress_of` for the file."""
        ...

    def ended(self, name: str, found: Round) -> None:
        """It has been measured."""
        ...


@dataclass(frozen=True)
class Run:
    """What came of an order."""

    rate_per_s: float
    alone: tuple[Alone, ...]
    scenarios: tuple[Scenario, ...]


def run(subject: Subject, checks: Questions, asker: Asker, order: Order, folder: Path, watcher: Watcher) -> Run:
    """Measure all; `checks` are asked before and between. Raises WrongAnswer, GeneratorFailed,
    grpc.RpcError.
    """
    watcher.says(f"asking {checks.model} once, and checking its answers")
    for exchange in checks.exchanges:
        ask(subject.address, exchange, subject.access)
    exchanges = [Exchange("grpc", PREDICT, body, {}) for body in asker.usual(BODIES_MAX)]
    answers = {each.body: ask_grpc(subject.address, each, subject.access) for each in exchanges}
    watcher.says("warming up")
    peak = measure(subject, asker.usual(WARM_BODIES), Closed(seconds=WARM_S), folder)
    single = measure(subject, asker.usual(WARM_BODIES), Closed(seconds=WARM_S, connections=1, streams=1), folder)
    alone, found, rate = list[Ceiling](), dict[str, list[Round]](), order.rate_per_s
    for round_ in range(order.rounds):
        watcher.says(f"round {round_ + 1}: what the generator does alone")
        alone.append(truth.ceiling(answers, folder, CONNECTIONS, STREAMS))
        rate = rate or usual_rate(single.answered_per_s, alone[0])
        for plan in _turned(order.plans, round_):
            load = plan.load(rate, order.seconds, np.random.default_rng(SEED + round_))
            progress = folder / "progress"
            send = _sender(plan, load, asker, peak.answered_per_s)
            watcher.begins(plan.name, round_, progress)
            measured = send(
                subject if plan.mix.keys() != {Kind.ANY} else replace(subject, model=""),
                folder=folder, in_time_s=order.in_time_s, ceiling=alone[-1], progress=progress,
            )  # fmt: skip
            ask(subject.address, checks.exchanges[0], subject.access)
            kept = record.round_of(measured, round_)
            found.setdefault(plan.name, []).append(kept)
            watcher.ended(plan.name, kept)
    assert rate is not None, "there is a round"
    return Run(
        rate,
        tuple(Alone(requests_per_s=each.requests_per_s, cpu_us=each.cpu_us) for each in alone),
        tuple(
            Scenario(name=plan.name, title=plan.title, loop=plan.loop, rounds=tuple(found[plan.name]))
            for plan in order.plans
        ),
    )


def _sender(plan: Plan, load: Open | Closed, asker: Asker, peak_per_s: float) -> Callable[..., Measured]:
    """Measures with requests that are ready before."""
    if isinstance(load, Closed):
        return partial(measure, bodies=asker.usual(SPARE * peak_per_s * load.seconds), load=load)
    asked = asker.ask(plan, len(load.due_us))
    return partial(
        measure, bodies=asked.bodies, load=load, picks=asked.picks, expected=asked.expected, judged=asked.judged
    )


def usual_rate(single_per_s: float, alone: Ceiling) -> float:
    """A rate that keeps the server busy and neither it nor the generator too busy, to two digits."""
    rate = USUAL_SHARE * min(single_per_s, SHARE_MAX * alone.requests_per_s)
    digits = 1 - floor(log10(max(rate, 1.0)))
    return max(1.0, round(rate, digits))


def _turned(plans: Sequence[Plan], by: int) -> list[Plan]:
    """Starting elsewhere each round: nobody always follows the same neighbour."""
    by %= len(plans)
    return [*plans[by:], *plans[:by]]
