"""A server with its generator: measures one rate after the other. What they say is decided elsewhere."""

import contextlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import mkdtemp
from typing import Final

import numpy as np

from skylane.bench.lab.capacity.search import Goal, Step
from skylane.bench.lab.measure import generator_limit
from skylane.bench.lab.measure.figures import CONNECTIONS, STREAMS, Closed, Measured, Open
from skylane.bench.lab.measure.generator_limit import SHARE_MAX
from skylane.bench.lab.measure.measurement import Endpoint, measure
from skylane.bench.lab.measure.server_under_test import ServerUnderTest, server_under_test
from skylane.bench.servers import ask_checked, replies
from skylane.bench.workload.arrivals import poisson_us
from skylane.bench.workload.golden import Unsuitable, golden
from skylane.bench.workload.rows import Mixed, Rows, bodies, examples, recorded
from skylane.client import Model

WARM_S: Final = 0.5
WARM_BODIES: Final = 2000
START_SHARE: Final = 0.25
"""Of what 64 requests in flight reach: the first rate."""
REQUESTS_MIN: Final = 500
"""In one measurement, unless that takes LONGEST times as long as asked: a p99 has 5 answers above it then."""
LONGEST: Final = 4
MARGIN: Final = 0.99
"""Below the rate at which the generator would be the limit: a schedule may have a request more."""
SEED: Final = 20130101
ANSWERED: Final = 16
"""Requests whose answers the server that does nothing gets to know."""


@dataclass(frozen=True, kw_only=True)
class RequestSpec:
    """What is sent."""

    model: str
    rows: int
    """In each request."""
    data: Path | None = None
    """A CSV file with rows; None: mixed from the model's examples."""


class Rig:
    """One server, and requests for it."""

    def __init__(
        self, server: ServerUnderTest, spec: RequestSpec, folder: Path, alone: generator_limit.Ceiling | None = None
    ) -> None:
        """Check the server's answers, warm it up, and measure the generator alone unless that is known.

        Raises Unsuitable, WrongAnswer, SkylaneError, ServerFailed, GeneratorFailed, grpc.RpcError.
        """
        self._folder, self._spec = Path(mkdtemp(dir=folder)), spec
        self._rng = np.random.default_rng(SEED)
        self._endpoint = Endpoint(server.address, spec.model, server.pid, server.access)
        with server.access.client(server.address, 10) as client:
            self.model: Model = client.model(spec.model)
        self._rows = _rows(self.model, spec.data)
        self._check(server.address)
        self.alone = alone or self._alone(server.address)
        self.peak_per_s = measure(
            self._endpoint, self._bodies(WARM_BODIES), Closed(seconds=WARM_S), self._folder
        ).answered_per_s
        self.requests = self._rows.description

    def goal(self, goal: Goal) -> Goal:
        """The goal within what this generator can do; a search starts well below what the warm-up reached."""
        most = max(SHARE_MAX * MARGIN * self.alone.requests_per_s, goal.rate_min_per_s)
        return replace(goal, rate_max_per_s=most, start_per_s=float(f"{START_SHARE * self.peak_per_s:.2g}"))

    def step(self, rate_per_s: float, goal: Goal, seconds: float, progress: Path | None = None) -> Step:
        """Measure one rate. Raises GeneratorFailed."""
        span_s = duration_s(rate_per_s, goal, seconds)
        due_us = poisson_us(rate_per_s, span_s, self._rng)
        load = Open(due_us=due_us, seconds=span_s)
        requests = self._bodies(len(due_us))
        measured = measure(
            self._endpoint, requests, load, self._folder,
            picks=np.arange(len(due_us)) % len(requests), ceiling=self.alone, progress=progress,
        )  # fmt: skip
        return step_of(measured, rate_per_s, goal)

    def _bodies(self, requests: int) -> list[bytes]:
        return bodies(self._spec.model, self._rows, requests, self._spec.rows, self._rng)

    def _check(self, address: str) -> None:
        try:
            known = golden(self.model, 1).exchanges
        except Unsuitable:
            if self._spec.data is None:
                raise
            known = ()
        for exchange in known:
            ask_checked(address, exchange, self._endpoint.access)

    def _alone(self, address: str) -> generator_limit.Ceiling:
        answers = replies(address, self._bodies(ANSWERED), self._endpoint.access)
        return generator_limit.ceiling(answers, self._folder, CONNECTIONS, STREAMS)


def duration_s(rate_per_s: float, goal: Goal, seconds: float) -> float:
    """How long a rate is measured, in seconds.

    Long enough that a rate which is too high by the precision that is wanted piles up the target's worth of waiting,
    and, where that takes not much longer, that there are requests enough for a p99.
    """
    piles_up_s = goal.target_p99_ms / 1000 / goal.precision
    return max(seconds, piles_up_s, min(REQUESTS_MIN / rate_per_s, LONGEST * seconds))


def step_of(measured: Measured, rate_per_s: float, goal: Goal) -> Step:
    """What of a measurement is kept. How late the generator may be goes by the target, which is what it would blur."""
    did, latency = measured.did, measured.latency
    p99_us = latency.p99_us if latency else None
    return Step(
        rate_per_s=rate_per_s,
        seconds=round(measured.seconds, 3),
        sent=measured.sent,
        answered=measured.answered,
        refused=measured.refused,
        p50_us=latency.p50_us if latency else None,
        p99_us=p99_us,
        limited=generator_limit.limited_by_generator(
            requests_per_s=measured.offered_per_s,
            generator_cores=measured.generator_cores,
            server_cores=measured.server_cores,
            late_us=measured.late_us,
            p99_us=max(p99_us or 0.0, goal.target_p99_ms * 1000),
            ceiling=measured.ceiling,
        ),
        late_us=measured.late_us,
        generator_cores=round(measured.generator_cores, 3),
        server_cores=None if measured.server_cores is None else round(measured.server_cores, 3),
        cpu_us=None if measured.server_cpu_us is None else round(measured.server_cpu_us, 1),
        batch_rows=did.batch_rows if did else None,
        hit_share=did.hit_share if did else None,
    )


def _rows(model: Model, data: Path | None) -> Rows:
    return Mixed(examples(model)) if data is None else recorded(data, model)


@contextlib.contextmanager
def served(models: Path, name: str, policy: str | None, folder: Path) -> Iterator[ServerUnderTest]:
    """A server of this model alone, from a copy with this model.toml; None: with the one that it has.

    Raises Unsuitable if there is no such model, ServerFailed if the server does not start.
    """
    source, here = model_directory(models, name), Path(mkdtemp(dir=folder))
    shutil.copytree(source, here / "models" / name)
    if policy is not None:
        (here / "models" / name / "model.toml").write_text(policy, "utf-8")
    with server_under_test(None, here / "models", here) as server:
        yield server


def model_directory(models: Path, name: str) -> Path:
    """Where a model is published. Raises Unsuitable, naming those that there are."""
    if not models.is_dir():
        raise Unsuitable(f"--models {models} is no directory: name the repository that has the model")
    known = sorted(path.name for path in models.iterdir() if any(path.glob("[0-9]*/manifest.json")))
    if name not in known:
        raise Unsuitable(f"--model {name}: {models} has no such model; it has: {', '.join(known) or 'none'}")
    return models / name
