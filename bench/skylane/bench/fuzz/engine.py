"""The whole engine from one seed: arrivals, slow runs, failing rows, cancels, deadlines, full queues, reloads.

Each model answers `version * 1000 + input`, so a reply that belongs to another caller, or mixes two versions, shows.
"""

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from skylane.bench.fuzz.clock import Simulation
from skylane.bench.fuzz.target import pure
from skylane.dtypes import TO_PROTO
from skylane.manifest import OutputSpec, TensorSpec
from skylane.policy import Batching, Cache, Policy
from skylane.server.codecs.skylane_v1.requests import RequestDecoder
from skylane.server.core.errors import (
    CallCancelled,
    DeadlineExpired,
    ModelFailed,
    ModelNotFound,
    Overloaded,
    ServingError,
    ShuttingDown,
)
from skylane.server.core.rejection_counter import RejectionCounter
from skylane.server.core.types import NO_DEADLINE, Array, Call, Interface
from skylane.server.engine.cost import CostModel
from skylane.server.engine.engine import Engine
from skylane.server.engine.routes import ModelRoutes, Routes
from skylane.server.engine.served_version import LoadedModel, ServedVersion
from skylane.v1.prediction_pb2 import PredictRequest, PredictResponse, Tensor

MODELS = ("tiny", "slow", "delayed", "cached")
POISON = 666.0
"""A row that makes its batch fail."""

POLICIES = {
    "tiny": Policy(batching=Batching(max_batch_rows=8)),
    "slow": Policy(batching=Batching(max_batch_rows=4, max_queue_rows=24, max_request_rows=12, instances=2)),
    "delayed": Policy(batching=Batching(max_batch_rows=8, max_queue_delay_ms=2)),
    "cached": Policy(
        batching=Batching(max_batch_rows=8, max_queue_rows=64, max_request_rows=12),
        cache=Cache(enabled=True, max_mb=0.01, ttl_s=0.02),
    ),
}
COST_S = {"tiny": 20e-6, "slow": 5e-3, "delayed": 50e-6, "cached": 1e-3}


@dataclass
class Runner:
    """Takes simulated time for a run, and remembers what ran when."""

    model: str
    version: int
    world: "World"

    def run(self, inputs: Sequence[Array]) -> Sequence[Array]:
        (x,) = inputs
        self.world.sim.sleep(COST_S[self.model] * self.world.rng.uniform(0.5, 3))
        if (x == POISON).any():
            raise RuntimeError("poison")
        return [x + np.float32(1000 * self.version)]


@dataclass
class Sent:
    """One request and all that became of it."""

    model: str
    x: Array
    deadline: float
    call: Call | None = None
    outcomes: list[PredictResponse | ServingError] = field(default_factory=list)
    ended_at: float = 0.0


class World:
    """One run of the simulation."""

    def __init__(self, seed: int) -> None:
        self.rng, self.sim = random.Random(seed), Simulation()
        self.rejections = RejectionCounter()
        self.engine = Engine(self.sim, self.sim.clock, rejections=self.rejections)
        self.decoder = RequestDecoder(self.rejections)
        self.sent: list[Sent] = []
        self.versions = dict.fromkeys(MODELS, 1)
        self.served_versions: list[ServedVersion] = []
        self.reload()

    # --- Sink

    def answer(self, calls: Sequence[Call], replies: Sequence[bytes], ids: Sequence[bytes] = ()) -> None:  # noqa: ARG002
        for call, reply in zip(calls, replies, strict=True):
            self._end(call, PredictResponse.FromString(reply))

    def refuse(self, calls: Sequence[Call], error: ServingError) -> None:
        for call in calls:
            self._end(call, error)

    def _end(self, call: Call, outcome: PredictResponse | ServingError) -> None:
        call.done = True
        call.handle.outcomes.append(outcome)
        call.handle.ended_at = self.sim.now

    # --- What happens

    def reload(self, model: str | None = None) -> None:
        """Serve a new version of a model."""
        if model is not None:
            self.versions[model] += 1
        current = {
            served_version.model.interface.model: served_version
            for served_version in self.served_versions
            if not served_version.retired
        }
        for name, version in self.versions.items():
            if name not in current or current[name].model.interface.version != version:
                current[name] = self._served_version(name, version)
        versions = {name: served_version.model.interface.version for name, served_version in current.items()}
        self.engine.serve(
            Routes(
                {
                    name: ModelRoutes({versions[name]: served_version}, versions[name])
                    for name, served_version in current.items()
                }
            )
        )

    def _served_version(self, model: str, version: int) -> ServedVersion:
        interface = Interface(
            model,
            version,
            (TensorSpec(name="x", dtype="float32", shape=(None, 1)),),
            (),
            (OutputSpec(name="y", dtype="float32", shape=(None, 1)),),
        )
        loaded = LoadedModel(
            interface=interface,
            runner=Runner(model, version, self),
            cost=CostModel([(1, COST_S[model])]),
            empty=(np.empty((0, 1), np.float32),),
        )
        self.served_versions.append(ServedVersion(loaded, POLICIES[model]))
        return self.served_versions[-1]

    def arrive(self) -> None:
        """A few requests at once, as a transport hands them over; some of them will be cancelled later."""
        calls, payloads = [], []
        for _ in range(self.rng.randint(1, 12)):
            model = self.rng.choice((*MODELS, *MODELS, "nobody"))
            x = self._rows(self.rng.choice((0, 1, 1, 1, 2, 3, 7, 12)))
            deadline = self.sim.now + self.rng.choice((0.0, 1e-3, 0.02)) if self.rng.random() < 0.3 else NO_DEADLINE
            sent = Sent(model, x, deadline)
            sent.call = Call(sent, self, deadline)
            self.sent.append(sent)
            calls.append(sent.call)
            payloads.append(_request(model, x))
            if self.rng.random() < 0.15:
                self.sim.call_at(self.sim.now + self.rng.uniform(0, 0.01), partial(self._cancel, sent.call))
        self.engine.submit(self.decoder.decode(calls, payloads, self))

    def _rows(self, count: int) -> Array:
        values = [POISON if self.rng.random() < 0.01 else float(self.rng.randint(0, 9)) for _ in range(count)]
        return np.array(values, np.float32).reshape(-1, 1)

    def _cancel(self, call: Call) -> None:
        call.cancelled = call.cancelled or not call.done

    def play(self) -> None:
        """Half a second of a busy server, then a drain."""
        for _ in range(300):
            self.sim.call_at(self.rng.uniform(0, 0.5), self.arrive)
        for _ in range(12):
            self.sim.call_at(self.rng.uniform(0, 0.5), lambda: self.reload(self.rng.choice(MODELS)))
        self.sim.call_at(0.45, self.engine.stop)
        self.sim.play()


def check(world: World, seed: int) -> None:
    """Every call ended once, and right; the engine is idle, its caches are within bounds, its statistics add up."""
    for sent in world.sent:
        assert len(sent.outcomes) == 1, f"seed {seed}: {sent}"
        _check(sent, sent.outcomes[0], seed)
    assert world.engine.idle
    assert all(served_version.idle for served_version in world.served_versions)
    for served_version in world.served_versions:
        assert served_version.cache is None or served_version.cache.used_bytes <= 0.01 * 2**20
    _check_statistics(world)


def _check_statistics(world: World) -> None:
    """Every call that found its model is counted once, as what it became."""
    ended = Counter(type(outcome).__name__ for sent in world.sent for outcome in sent.outcomes)
    counted = [served_version.statistics for served_version in world.served_versions]
    assert sum(each.succeeded for each in counted) == ended["PredictResponse"]
    failures = sum((each.failures for each in counted), Counter[str]())
    assert failures == {name: ended[name] for name in failures}
    rejections = {name: count for (_, name), count in world.rejections.counted().items()}
    assert {"PredictResponse": ended["PredictResponse"], **failures, **rejections} == ended
    assert sum(sum(each.outcomes.values()) for each in counted) == sum(ended.values()) - sum(rejections.values())
    for each in counted:
        assert each.executions == each.run.count == sum(size.executions for size in each.batches.values())
        assert each.rows == sum(rows * size.executions for rows, size in each.batches.items())
        assert each.queue.count == each.total.count == sum(each.total.buckets)
        assert 0 <= each.queue.seconds <= each.total.seconds


def _check(sent: Sent, outcome: PredictResponse | ServingError, seed: int) -> None:
    context = f"seed {seed}: {sent}"
    assert sent.call is not None
    match outcome:
        case PredictResponse():
            assert outcome.model == sent.model, context
            np.testing.assert_array_equal(_y_of(outcome), sent.x + 1000 * outcome.version, context)
        case DeadlineExpired():
            assert sent.ended_at >= sent.deadline, context
        case CallCancelled():
            assert sent.call.cancelled, context
        case ModelFailed():
            assert (sent.x == POISON).any(), context
        case ModelNotFound():
            assert sent.model == "nobody", context
        case Overloaded():
            assert sent.model in ("slow", "cached") or sent.deadline < NO_DEADLINE, context
            assert outcome.retry_after_ms >= 1, context
        case ShuttingDown():
            assert sent.ended_at >= 0.45, context
        case _:
            raise AssertionError(f"{context}: {outcome!r}")


def _request(model: str, x: Array) -> bytes:
    tensor = Tensor(name="x", dtype=TO_PROTO["float32"], shape=x.shape, data=x.tobytes())
    return PredictRequest(model=model, tensors=[tensor]).SerializeToString()


def _y_of(reply: PredictResponse) -> Array:
    (output,) = reply.outputs
    return np.frombuffer(output.data, np.float32).reshape(output.shape)


def play(seed: int) -> int:
    """One world from its beginning to its end. Returns its calls."""
    world = World(seed)
    world.play()
    check(world, seed)
    return len(world.sent)


TARGET = pure("engine", "the whole engine in simulated time: arrivals, failures, cancels, deadlines, reloads", play)
