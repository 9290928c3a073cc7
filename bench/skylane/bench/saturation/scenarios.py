"""What is measured against what, under which load, and what we want to come of it. Plain data."""

from dataclasses import dataclass, field
from typing import Final

from skylane.bench.generator import Load
from skylane.bench.saturation.results import BARE, NULL, OURS, Metric, Target
from skylane.bench.subjects import FLIGHTS

OURS_GRPCIO: Final = f"{OURS} over grpcio"
OURS_HIT: Final = f"{OURS}, cache hit"
BASELINE: Final = "grpc.aio batched"
PLAIN: Final = "grpc.aio"
FASTAPI: Final = "FastAPI + joblib"

IN_PROCESS: Final = "in process"
BARE_SOCKET: Final = "bare socket"
NO_SERVERS: Final = frozenset((IN_PROCESS, BARE_SOCKET))
"""Kinds that answer no protocol of ours."""
SOCKET: Final = "session.run and socket"
"""Label of the model in another process, behind a socket with nothing on it."""

SHAPES: Final = (Load(1, 1), Load(8, 8), Load(64, 1), Load(1, 64))
MIDDLE: Final = (Load(8, 8),)


@dataclass(frozen=True)
class Contender:
    """A server and the model that it is asked about."""

    label: str
    kind: str
    """Of skylane.bench.servers.KINDS, or IN_PROCESS."""
    model: str


@dataclass(frozen=True)
class Scenario:
    """Contenders that get the same load in turn."""

    name: str
    title: str
    contenders: tuple[Contender, ...]
    loads: tuple[Load, ...]
    rows: int = 1
    """Rows of each request."""
    baseline: str = BASELINE
    """Label of the contender that the table's ratios are to."""
    targets: tuple[Target, ...] = field(default=())

    @property
    def kinds(self) -> set[str]:
        """The servers that must run."""
        return {contender.kind for contender in self.contenders} - NO_SERVERS


def _target(
    scenario: str, load: str, parts: float, stretch: float | None = None, metric: Metric = "cpu_us", ours: str = OURS
) -> Target:
    """At most one of `parts` of the baseline's."""
    return Target(
        scenario=scenario, load=load, metric=metric, ours=ours, theirs=BASELINE, at_most=1 / parts,
        stretch=None if stretch is None else 1 / stretch,
    )  # fmt: skip


def _single() -> Scenario:
    return Scenario(
        "single",
        "logistic regression of 20 float32 features, one row in a request",
        (
            Contender(OURS, "native", "logistic"),
            Contender(OURS_GRPCIO, "grpcio", "logistic"),
            Contender(BASELINE, "grpc.aio batching", "logistic"),
            Contender(PLAIN, "grpc.aio", "logistic"),
            Contender(FASTAPI, "fastapi", "logistic"),
            Contender(NULL, "null", "logistic"),
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


def _cache() -> Scenario:
    never_slower = Target(scenario="cache", load="8x8", metric="cpu_us", ours=OURS_HIT, theirs=OURS, at_most=1.0)
    return Scenario(
        "cache",
        "the same model, its answers kept: every request is a hit",
        (
            Contender(OURS_HIT, "native", "logistic_cached"),
            Contender(OURS, "native", "logistic"),
            Contender(BASELINE, "grpc.aio batching", "logistic"),
            Contender(NULL, "null", "logistic"),
        ),
        MIDDLE,
        targets=(_target("cache", "8x8", 14, ours=OURS_HIT), never_slower),
    )


def _forest() -> Scenario:
    return Scenario(
        "forest",
        "random forest of 100 trees of depth 8, one row in a request",
        (
            Contender(OURS, "native", "forest"),
            Contender(OURS_HIT, "native", "forest_cached"),
            Contender(BASELINE, "grpc.aio batching", "forest"),
            Contender(FASTAPI, "fastapi", "forest"),
            Contender(NULL, "null", "forest"),
        ),
        MIDDLE,
        targets=(_target("forest", "8x8", 9),),
    )


def _rows(model: str, title: str) -> Scenario:
    name = f"rows-{model}"
    alone = Target(scenario=name, load="1x1", metric="p50_us", ours=OURS, theirs=BARE, at_most=1.15)
    together = Target(scenario=name, load="4x1", metric="wall_us", ours=OURS, theirs=BARE, at_most=1.15)
    across = Target(scenario=name, load="1x1", metric="p50_us", ours=OURS, theirs=SOCKET, at_most=1.15)
    return Scenario(
        name,
        f"{title}, 1024 rows in a request",
        (
            Contender(OURS, "native", model),
            Contender(BASELINE, "grpc.aio batching", model),
            Contender(BARE, IN_PROCESS, model),
            Contender(SOCKET, BARE_SOCKET, model),
            Contender(NULL, "null", model),
        ),
        (Load(1, 1), Load(4, 1)),
        rows=1024,
        baseline=BARE,
        targets=(alone, across, together),
    )


def _flights() -> Scenario:
    return Scenario(
        "flights",
        "will this flight be late: extra trees behind one-hot encoding; strings, numbers and gaps, one row",
        (
            Contender(OURS, "native", FLIGHTS),
            Contender(BASELINE, "grpc.aio batching", FLIGHTS),
            Contender(PLAIN, "grpc.aio", FLIGHTS),
            Contender(NULL, "null", FLIGHTS),
        ),
        (Load(1, 1), Load(8, 8)),
        targets=(_target("flights", "1x1", 4), _target("flights", "8x8", 4)),
    )


TWO_WORKERS: Final = f"{OURS}, 2 workers"


def _workers() -> Scenario:
    """Where the load generator takes as much as the server: what a request costs should not grow."""
    return Scenario(
        "workers",
        "logistic regression, one worker process and two",
        (
            Contender(OURS, "native", "logistic"),
            Contender(TWO_WORKERS, "native x2", "logistic"),
            Contender(NULL, "null", "logistic"),
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


def _workers_forest() -> Scenario:
    """Where the load generator leaves both cores to the server: more should be answered."""
    name, load = "workers-forest", Load(32, 1)
    return Scenario(
        name,
        "random forest of 300 trees, 256 rows in a request, one worker process and two",
        (Contender(OURS, "native", "forest_large"), Contender(TWO_WORKERS, "native x2", "forest_large")),
        (load,),
        rows=256,
        baseline=OURS,
        targets=(
            Target(scenario=name, load=load.name, metric="requests_per_s", ours=TWO_WORKERS, theirs=OURS, at_least=1.6),
            Target(scenario=name, load=load.name, metric="cpu_us", ours=TWO_WORKERS, theirs=OURS, at_most=1.1),
        ),
    )


ALL: Final = (
    _single(),
    _cache(),
    _forest(),
    _rows("logistic", "logistic regression"),
    _rows("forest", "random forest"),
    _flights(),
    _workers(),
    _workers_forest(),
)


def of_model(model: str) -> Scenario:
    """The usual loads for a model of the user's own."""
    return Scenario(
        model,
        f"{model}, the first row that its manifest keeps as an example",
        (
            Contender(OURS, "native", model),
            Contender(OURS_GRPCIO, "grpcio", model),
            Contender(BASELINE, "grpc.aio batching", model),
            Contender(NULL, "null", model),
        ),
        (Load(1, 1), Load(8, 8)),
    )
