"""What is measured against what, under which load, and which targets we set. A table, and how a load is measured."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from skylane.bench.client.generator import Load
from skylane.bench.lab.baselines.contestants import BARE_SOCKET, BASELINE, IN_PROCESS, Contestant, Driver
from skylane.bench.lab.baselines.neighbour import Neighbour
from skylane.bench.lab.baselines.overload import Overload
from skylane.bench.lab.baselines.record import BARE, NULL, OURS, Metric, Sample, Target, sample_of
from skylane.bench.lab.baselines.repeats import Repeats
from skylane.bench.lab.baselines.rig import Rig
from skylane.bench.lab.baselines.scenario import Plan, Report, Scenario
from skylane.bench.lab.measure.rounds import turned
from skylane.bench.workload.models import FLIGHTS

OURS_GRPCIO: Final = f"{OURS} over grpcio"
OURS_HIT: Final = f"{OURS}, cache hit"
PLAIN: Final = "grpc.aio"
FASTAPI: Final = "FastAPI + joblib"

SOCKET: Final = "session.run and socket"
"""Label of the model in another process, behind a socket without any protocol."""

TWO_WORKERS: Final = f"{OURS}, 2 workers"
KINDS: Final = {
    OURS: "native", OURS_GRPCIO: "grpcio", TWO_WORKERS: "native x2", BASELINE: "grpc.aio batching", PLAIN: "grpc.aio",
    FASTAPI: "fastapi", NULL: "null", BARE: IN_PROCESS, SOCKET: BARE_SOCKET,
}  # fmt: skip
"""Label → kind of server."""

SHAPES: Final = (Load(1, 1), Load(8, 8), Load(64, 1), Load(1, 64))
MIDDLE: Final = (Load(8, 8),)
WARM_S: Final = 0.2
"""How long a contestant is warmed up under each load, roughly; its rate then tells how many requests a round has."""
FIRST_REQUESTS: Final = 64


@dataclass(frozen=True)
class LoadScenario(Scenario):
    """Requests in a closed loop, under one load after the other."""

    name: str
    title: str
    contestants: tuple[Contestant, ...]
    loads: tuple[Load, ...]
    rows: int = 1
    baseline: str = BASELINE
    targets: tuple[Target, ...] = ()

    def samples_per_round(self) -> int:
        return len(self.loads) * len(self.contestants)

    def rounds(self, plan: Plan) -> int:
        return plan.rounds

    def shortened(self) -> "LoadScenario":
        """One load, the middle one where there is a choice."""
        middle = [load for load in self.loads if load in MIDDLE]
        return replace(self, loads=tuple(middle or self.loads[:1]))

    def measure(self, rig: Rig, plan: Plan, report: Report) -> list[Sample]:
        drivers = [rig.driver(contestant, self.rows) for contestant in self.contestants]
        return [sample for load in self.loads for sample in rounds_under(self.name, load, drivers, plan, report)]


def rounds_under(name: str, load: Load, drivers: Sequence[Driver], plan: Plan, report: Report) -> list[Sample]:
    """All rounds of a scenario under one load, warm-up first."""
    counts, samples = dict[str, int](), list[Sample]()
    for driver in drivers:
        report(f"{name} {load.name}: warming up {driver.label}")
        counts[driver.label] = _requests(driver, load, plan.seconds)
    for round_ in range(plan.rounds):
        for driver in turned(drivers, round_):
            report(f"{name} {load.name}, round {round_ + 1} of {plan.rounds}: {driver.label}")
            measured = driver.run(load, counts[driver.label])
            samples.append(sample_of((name, load.name, driver.label, round_), measured))
            report(samples[-1])
    return samples


def _requests(driver: Driver, load: Load, seconds: float) -> int:
    """Warm up. Returns how many requests fill a round: enough for its seconds, and for every stream to have some."""
    count = least = max(FIRST_REQUESTS, 2 * load.in_flight)
    for seconds_ in (min(WARM_S, seconds), seconds):
        measured = driver.run(load, count)
        count = max(least, round(measured.sent / measured.seconds * seconds_))
    return count


def contestants(model: str, *labels: str) -> tuple[Contestant, ...]:
    """Those with these labels, which are keys of KINDS, all asked about one model."""
    return tuple(Contestant(label, KINDS[label], model) for label in labels)


def _target(
    scenario: str, load: str, parts: float, stretch: float | None = None, metric: Metric = "cpu_us", ours: str = OURS
) -> Target:
    """At most one of `parts` of the baseline's."""
    return Target(
        scenario=scenario, load=load, metric=metric, ours=ours, theirs=BASELINE, at_most=1 / parts,
        stretch=None if stretch is None else 1 / stretch,
    )  # fmt: skip


def _rows(model: str, title: str) -> LoadScenario:
    name = f"rows-{model}"
    bounds: tuple[tuple[str, Metric, str], ...] = (
        ("1x1", "p50_us", BARE), ("1x1", "p50_us", SOCKET), ("4x1", "wall_us", BARE),
    )  # fmt: skip
    return LoadScenario(
        name,
        f"{title}, 1024 rows in a request",
        contestants(model, OURS, BASELINE, BARE, SOCKET, NULL),
        (Load(1, 1), Load(4, 1)),
        rows=1024,
        baseline=BARE,
        targets=tuple(
            Target(scenario=name, load=load, metric=metric, ours=OURS, theirs=theirs, at_most=1.15)
            for load, metric, theirs in bounds
        ),
    )


ALL: Final[tuple[Scenario, ...]] = (
    LoadScenario(
        "single",
        "logistic regression of 20 float32 features, one row in a request",
        contestants("logistic", OURS, OURS_GRPCIO, BASELINE, PLAIN, FASTAPI, NULL),
        SHAPES,
        targets=(
            _target("single", "8x8", 13, 16),
            _target("single", "64x1", 13, 16),
            _target("single", "1x64", 18),
            _target("single", "1x1", 4),
            _target("single", "1x1", 2, metric="p50_us"),
            Target(
                scenario="single", load="1x1", metric="p50_us", ours=OURS, theirs=PLAIN, at_most=1 / 2
            ),  # against the baseline that waits for no company
        ),
    ),
    LoadScenario(
        "cache",
        "the same model, its answers kept: every request is a hit",
        (Contestant(OURS_HIT, "native", "logistic_cached"), *contestants("logistic", OURS, BASELINE, NULL)),
        MIDDLE,
        targets=(
            _target("cache", "8x8", 14, ours=OURS_HIT),
            Target(scenario="cache", load="8x8", metric="cpu_us", ours=OURS_HIT, theirs=OURS, at_most=1.0),
        ),
    ),
    LoadScenario(
        "forest",
        "random forest of 100 trees of depth 8, one row in a request",
        (
            *contestants("forest", OURS),
            Contestant(OURS_HIT, "native", "forest_cached"),
            *contestants("forest", BASELINE, FASTAPI, NULL),
        ),
        MIDDLE,
        targets=(_target("forest", "8x8", 9),),
    ),
    _rows("logistic", "logistic regression"),
    _rows("forest", "random forest"),
    LoadScenario(
        "flights",
        "will this flight be late: extra trees behind one-hot encoding; strings, numbers and gaps, one row",
        contestants(FLIGHTS, OURS, BASELINE, PLAIN, NULL),
        (Load(1, 1), Load(8, 8)),
        targets=(_target("flights", "1x1", 4), _target("flights", "8x8", 4)),
    ),
    LoadScenario(  # the load generator takes as much as the server: what a request costs should not grow
        "workers",
        "logistic regression, one worker process and two",
        contestants("logistic", OURS, TWO_WORKERS, NULL),
        (Load(64, 1), Load(128, 1)),
        baseline=OURS,
        targets=(
            Target(
                scenario="workers", load="128x1", metric="cpu_us", ours=TWO_WORKERS, theirs=OURS, their_load="64x1",
                at_most=1.25,
            ),  # each worker has as much to batch as the one has
            Target(scenario="workers", load="64x1", metric="cpu_us", ours=TWO_WORKERS, theirs=OURS, at_most=1.25),
        ),
    ),
    LoadScenario(  # the load generator leaves both cores to the server: more should be answered
        "workers-forest",
        "random forest of 300 trees, 256 rows in a request, one worker process and two",
        contestants("forest_large", OURS, TWO_WORKERS),
        (Load(32, 1),),
        rows=256,
        baseline=OURS,
        targets=(
            Target(
                scenario="workers-forest", load="32x1", metric="requests_per_s", ours=TWO_WORKERS, theirs=OURS,
                at_least=1.6,
            ),
            Target(scenario="workers-forest", load="32x1", metric="cpu_us", ours=TWO_WORKERS, theirs=OURS, at_most=1.1),
        ),
    ),
    Overload(),
    Neighbour(),
    Repeats(100, "forest"),
    Repeats(300, "forest_large"),
)  # fmt: skip


def of_model(model: str) -> LoadScenario:
    """The usual loads for a model of the user's own."""
    return LoadScenario(
        model,
        f"{model}, the first row that its manifest keeps as an example",
        contestants(model, OURS, OURS_GRPCIO, BASELINE, NULL),
        (Load(1, 1), Load(8, 8)),
    )
