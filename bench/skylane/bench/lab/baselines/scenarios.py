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
        """See Scenario. One load, the middle one where there is a choice."""
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


def _target(
    scenario: str, load: str, parts: float, stretch: float | None = None, metric: Metric = "cpu_us", ours: str = OURS
) -> Target:
    """At most one of `parts` of the baseline's."""
    return Target(
        scenario=scenario, load=load, metric=metric, ours=ours, theirs=BASELINE, at_most=1 / parts,
        stretch=None if stretch is None else 1 / stretch,
    )  # fmt: skip


def _single() -> LoadScenario:
    return LoadScenario(
        "single",
        "logistic regression of 20 float32 features, one row in a request",
        (
            Contestant(OURS, "native", "logistic"),
            Contestant(OURS_GRPCIO, "grpcio", "logistic"),
            Contestant(BASELINE, "grpc.aio batching", "logistic"),
            Contestant(PLAIN, "grpc.aio", "logistic"),
            Contestant(FASTAPI, "fastapi", "logistic"),
            Contestant(NULL, "null", "logistic"),
        ),
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
    )


def _cache() -> LoadScenario:
    never_slower = Target(scenario="cache", load="8x8", metric="cpu_us", ours=OURS_HIT, theirs=OURS, at_most=1.0)
    return LoadScenario(
        "cache",
        "the same model, its answers kept: every request is a hit",
        (
            Contestant(OURS_HIT, "native", "logistic_cached"),
            Contestant(OURS, "native", "logistic"),
            Contestant(BASELINE, "grpc.aio batching", "logistic"),
            Contestant(NULL, "null", "logistic"),
        ),
        MIDDLE,
        targets=(_target("cache", "8x8", 14, ours=OURS_HIT), never_slower),
    )


def _forest() -> LoadScenario:
    return LoadScenario(
        "forest",
        "random forest of 100 trees of depth 8, one row in a request",
        (
            Contestant(OURS, "native", "forest"),
            Contestant(OURS_HIT, "native", "forest_cached"),
            Contestant(BASELINE, "grpc.aio batching", "forest"),
            Contestant(FASTAPI, "fastapi", "forest"),
            Contestant(NULL, "null", "forest"),
        ),
        MIDDLE,
        targets=(_target("forest", "8x8", 9),),
    )


def _rows(model: str, title: str) -> LoadScenario:
    name = f"rows-{model}"
    alone = Target(scenario=name, load="1x1", metric="p50_us", ours=OURS, theirs=BARE, at_most=1.15)
    together = Target(scenario=name, load="4x1", metric="wall_us", ours=OURS, theirs=BARE, at_most=1.15)
    across = Target(scenario=name, load="1x1", metric="p50_us", ours=OURS, theirs=SOCKET, at_most=1.15)
    return LoadScenario(
        name,
        f"{title}, 1024 rows in a request",
        (
            Contestant(OURS, "native", model),
            Contestant(BASELINE, "grpc.aio batching", model),
            Contestant(BARE, IN_PROCESS, model),
            Contestant(SOCKET, BARE_SOCKET, model),
            Contestant(NULL, "null", model),
        ),
        (Load(1, 1), Load(4, 1)),
        rows=1024,
        baseline=BARE,
        targets=(alone, across, together),
    )


def _flights() -> LoadScenario:
    return LoadScenario(
        "flights",
        "will this flight be late: extra trees behind one-hot encoding; strings, numbers and gaps, one row",
        (
            Contestant(OURS, "native", FLIGHTS),
            Contestant(BASELINE, "grpc.aio batching", FLIGHTS),
            Contestant(PLAIN, "grpc.aio", FLIGHTS),
            Contestant(NULL, "null", FLIGHTS),
        ),
        (Load(1, 1), Load(8, 8)),
        targets=(_target("flights", "1x1", 4), _target("flights", "8x8", 4)),
    )


TWO_WORKERS: Final = f"{OURS}, 2 workers"


def _workers() -> LoadScenario:
    """Where the load generator takes as much as the server: what a request costs should not grow."""
    return LoadScenario(
        "workers",
        "logistic regression, one worker process and two",
        (
            Contestant(OURS, "native", "logistic"),
            Contestant(TWO_WORKERS, "native x2", "logistic"),
            Contestant(NULL, "null", "logistic"),
        ),
        (Load(64, 1), Load(128, 1)),
        baseline=OURS,
        targets=(
            Target(
                scenario="workers", load="128x1", metric="cpu_us", ours=TWO_WORKERS, theirs=OURS, their_load="64x1",
                at_most=1.25,
            ),  # each worker has as much to batch as the one has
            Target(scenario="workers", load="64x1", metric="cpu_us", ours=TWO_WORKERS, theirs=OURS, at_most=1.25),
        ),
    )  # fmt: skip


def _workers_forest() -> LoadScenario:
    """Where the load generator leaves both cores to the server: more should be answered."""
    name, load = "workers-forest", Load(32, 1)
    return LoadScenario(
        name,
        "random forest of 300 trees, 256 rows in a request, one worker process and two",
        (Contestant(OURS, "native", "forest_large"), Contestant(TWO_WORKERS, "native x2", "forest_large")),
        (load,),
        rows=256,
        baseline=OURS,
        targets=(
            Target(scenario=name, load=load.name, metric="requests_per_s", ours=TWO_WORKERS, theirs=OURS, at_least=1.6),
            Target(scenario=name, load=load.name, metric="cpu_us", ours=TWO_WORKERS, theirs=OURS, at_most=1.1),
        ),
    )


ALL: Final[tuple[Scenario, ...]] = (
    _single(),
    _cache(),
    _forest(),
    _rows("logistic", "logistic regression"),
    _rows("forest", "random forest"),
    _flights(),
    _workers(),
    _workers_forest(),
    Overload(),
    Neighbour(),
    Repeats(100, "forest"),
    Repeats(300, "forest_large"),
)


def of_model(model: str) -> LoadScenario:
    """The usual loads for a model of the user's own."""
    return LoadScenario(
        model,
        f"{model}, the first row that its manifest keeps as an example",
        (
            Contestant(OURS, "native", model),
            Contestant(OURS_GRPCIO, "grpcio", model),
            Contestant(BASELINE, "grpc.aio batching", model),
            Contestant(NULL, "null", model),
        ),
        (Load(1, 1), Load(8, 8)),
    )
