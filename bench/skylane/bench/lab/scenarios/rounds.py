"""Measuring all scenarios, round after round: what disturbs the machine for a while disturbs all of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import floor, log10
from pathlib import Path
from typing import Final

import numpy as np

from skylane.bench.lab.measure import generator_limit
from skylane.bench.lab.measure.figures import CONNECTIONS, STREAMS, Closed, Measured, Open
from skylane.bench.lab.measure.generator_limit import BODIES_MAX, SHARE_MAX, Ceiling
from skylane.bench.lab.measure.measurement import Endpoint, measure
from skylane.bench.lab.measure.rounds import turned
from skylane.bench.lab.scenarios import record
from skylane.bench.lab.scenarios.plans import Plan
from skylane.bench.lab.scenarios.record import Alone, Round, Scenario
from skylane.bench.lab.scenarios.screen import ScenariosScreen
from skylane.bench.lab.scenarios.workload import RequestSource
from skylane.bench.servers import ask_checked, replies
from skylane.bench.workload.golden import GoldenRequests
from skylane.bench.workload.scenarios import Kind

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
    """What to measure."""

    plans: Sequence[Plan]
    rounds: int
    seconds: float
    """Of each scenario, in each round."""
    rate_per_s: float | None
    """Mean rate of the schedules; None: a share of what the server can do."""
    in_time_s: float | None


@dataclass(frozen=True)
class Run:
    """What was measured."""

    rate_per_s: float
    alone: tuple[Alone, ...]
    scenarios: tuple[Scenario, ...]


def run(
    endpoint: Endpoint,
    checks: GoldenRequests,
    source: RequestSource,
    order: Order,
    folder: Path,
    screen: ScenariosScreen,
) -> Run:
    """Measure all; `checks` are asked before and between. Raises WrongAnswer, GeneratorFailed, grpc.RpcError."""
    screen.status(f"asking {checks.model} once, and checking its answers")
    for exchange in checks.exchanges:
        ask_checked(endpoint.address, exchange, endpoint.access)
    answers = replies(endpoint.address, source.ordinary(BODIES_MAX), endpoint.access)
    screen.status("warming up")
    peak = measure(endpoint, source.ordinary(WARM_BODIES), Closed(seconds=WARM_S), folder)
    single = measure(endpoint, source.ordinary(WARM_BODIES), Closed(seconds=WARM_S, connections=1, streams=1), folder)
    alone, measured_rounds, rate = list[Ceiling](), dict[str, list[Round]](), order.rate_per_s
    for round_ in range(order.rounds):
        screen.status(f"round {round_ + 1}: what the generator does alone")
        alone.append(generator_limit.ceiling(answers, folder, CONNECTIONS, STREAMS))
        rate = rate or usual_rate(single.answered_per_s, alone[0])
        for plan in turned(order.plans, round_):
            load = plan.load(rate, order.seconds, np.random.default_rng(SEED + round_))
            progress = folder / "progress"
            send = _sender(plan, load, source, peak.answered_per_s)
            screen.begins(plan.name, round_, progress)
            measured = send(
                endpoint if plan.mix.keys() != {Kind.ANY} else replace(endpoint, model=""),
                folder=folder, in_time_s=order.in_time_s, ceiling=alone[-1], progress=progress,
            )  # fmt: skip
            ask_checked(endpoint.address, checks.exchanges[0], endpoint.access)
            kept = record.round_of(measured, round_)
            measured_rounds.setdefault(plan.name, []).append(kept)
            screen.ended(plan.name, kept)
    assert rate is not None, "there is a round"
    return Run(
        rate,
        tuple(Alone(requests_per_s=each.requests_per_s, cpu_us=each.cpu_us) for each in alone),
        tuple(
            Scenario(name=plan.name, title=plan.title, loop=plan.loop, rounds=tuple(measured_rounds[plan.name]))
            for plan in order.plans
        ),
    )


def _sender(plan: Plan, load: Open | Closed, source: RequestSource, peak_per_s: float) -> Callable[..., Measured]:
    """Measures with requests that are ready before."""
    if isinstance(load, Closed):
        return partial(measure, bodies=source.ordinary(SPARE * peak_per_s * load.seconds), load=load)
    workload = source.workload(plan, len(load.due_us))
    return partial(
        measure,
        bodies=workload.bodies,
        load=load,
        picks=workload.picks,
        expected=workload.expected,
        judged=workload.judged,
    )


def usual_rate(single_per_s: float, alone: Ceiling) -> float:
    """A rate that keeps the server busy and neither it nor the generator too busy, to two digits."""
    rate = USUAL_SHARE * min(single_per_s, SHARE_MAX * alone.requests_per_s)
    digits = 1 - floor(log10(max(rate, 1.0)))
    return max(1.0, round(rate, digits))
