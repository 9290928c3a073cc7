"""An answer alone is the answer in any batch: bit for bit, to each caller once, whatever arrives, goes and waits.

Real sessions of real graphs behind the real engine; only time and threads obey the test.
"""

import heapq
import itertools
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from fakes import RecordingSink
from skylane.policy import Batching, Cache, Policy
from skylane.server.codecs.skylane_v1.requests import RequestDecoder
from skylane.server.core.errors import CallCancelled, DeadlineExpired, ModelFailed, Overloaded, ServingError
from skylane.server.core.rejection_counter import RejectionCounter
from skylane.server.core.types import NO_DEADLINE, Call
from skylane.server.engine.cost import CostModel
from skylane.server.engine.engine import Engine
from skylane.server.engine.routes import ModelRoutes, Routes
from skylane.server.engine.served_version import LoadedModel, ServedVersion
from skylane.server.repository.verified_loading import load_version
from skylane.v1.prediction_pb2 import Column, DoubleList, PredictRequest, PredictResponse, StringList
from support import models
from support.calls import ask, features

MODELS = {"linear": models.linear, "mixed": models.mixed, "touchy": models.touchy}
SIZES = (1, 2, 3, 5, 7, 13)
TICK_S = 0.01


class ObedientWorkers:
    """Workers that work when the test says so, in any order, and the clock that they live by."""

    def __init__(self) -> None:
        self.now = 0.0
        self.waiting: list[Callable[[], None]] = []
        self._alarms: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()

    def clock(self) -> float:
        """The engine's clock."""
        return self.now

    def run(self, work: Callable[[], None]) -> None:
        """See Workers."""
        self.waiting.append(work)

    def call_at(self, due_at: float, work: Callable[[], None]) -> None:
        """See Workers."""
        heapq.heappush(self._alarms, (due_at, next(self._order), work))

    def work(self, place: int) -> None:
        """Let one of those that wait do its work."""
        if self.waiting:
            self.waiting.pop(place % len(self.waiting))()

    def pass_time(self, seconds: float) -> None:
        """Let time pass, and ring what is due."""
        until = self.now + seconds
        while self._alarms and self._alarms[0][0] <= until:
            self.now, _, ring = heapq.heappop(self._alarms)
            ring()
        self.now = until

    def finish(self) -> None:
        """Let everything happen that can."""
        while self.waiting or self._alarms:
            self.work(0)
            self.pass_time(max(0.0, self._alarms[0][0] - self.now) if self._alarms else 0.0)


def request_for(model: str, size: int, seed: int, form: int) -> PredictRequest:
    """One of a few requests of this model, so that equal ones meet; forms differ in how they travel."""
    rng = np.random.default_rng(seed)
    if model == "linear":
        name, outputs = ("", "r7")[form % 2], ((), ("score",))[form // 2 % 2]
        return ask("linear", name, outputs, features=features(size, seed=seed))
    words = np.array([f"{number:.1f}" for number in rng.normal(size=size)], object)
    if model == "touchy":
        if form == 0:
            words[rng.integers(size)] = "late"  # the graph fails on it
        return ask("touchy", text=words.reshape(-1, 1))
    numbers = rng.normal(size=(size, 2)).astype(np.float32)
    if form % 2:
        return ask("mixed", numbers=numbers, strings=np.stack([words, words[::-1]], axis=1))
    return PredictRequest(
        model="mixed",
        columns=[
            Column(name="t", strings=StringList(values=words), missing=[0]),
            Column(name="a", doubles=DoubleList(values=numbers[:, 0])),
            Column(name="s", strings=StringList(values=words[::-1])),
            Column(name="b", doubles=DoubleList(values=numbers[:, 1]), missing=[size - 1]),
        ],
    )


requests = st.builds(
    request_for,
    st.sampled_from(sorted(MODELS)),
    st.sampled_from(SIZES),
    st.integers(0, 2),
    st.integers(0, 3),
)


@dataclass(frozen=True)
class Arrive:
    """Requests that arrive together, each with the ticks until its deadline, if it has one."""

    requests: list[tuple[PredictRequest, int | None]]


@dataclass(frozen=True)
class Cancel:
    """Some caller goes away."""

    which: int


@dataclass(frozen=True)
class Work:
    """Some worker gets to do its work."""

    which: int


@dataclass(frozen=True)
class Wait:
    """Time passes."""

    ticks: int


steps = st.lists(
    st.one_of(
        st.builds(
            Arrive,
            st.lists(st.tuples(requests, st.one_of(st.none(), st.none(), st.integers(0, 6))), min_size=1, max_size=6),
        ),
        st.builds(Cancel, st.integers(0, 30)),
        st.builds(Work, st.integers(0, 5)),
        st.builds(Wait, st.integers(0, 4)),
    ),
    min_size=1,
    max_size=14,
)
policies = st.builds(
    Policy,
    batching=st.builds(
        Batching,
        max_batch_rows=st.sampled_from([1, 4, 8, 256]),
        max_queue_delay_ms=st.sampled_from([0.0, 2 * TICK_S * 1000]),
        max_queue_rows=st.sampled_from([13, 40, 8192]),
        max_request_rows=st.just(13),
        instances=st.integers(1, 3),
    ),
    cache=st.builds(
        Cache, enabled=st.booleans(), max_mb=st.sampled_from([0.001, 1.0]), ttl_s=st.sampled_from([3 * TICK_S, 60.0])
    ),
)

Answer = PredictResponse | type[ServingError]


@dataclass
class World:
    """The engine with its models, and everyone who ever called."""

    models: dict[str, LoadedModel]
    policy: Policy = field(default_factory=Policy)
    inline: bool = True
    workers: ObedientWorkers = field(default_factory=ObedientWorkers)
    sink: RecordingSink = field(default_factory=RecordingSink)
    callers: list[tuple[Call, PredictRequest]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.engine = Engine(
            self.workers, self.workers.clock, RejectionCounter(), inline_s_max=1.0 if self.inline else 0.0
        )
        self.decoder = RequestDecoder(RejectionCounter())
        served_versions = {
            name: ServedVersion(replace(model, cost=CostModel([(1, 1e-5), (8, 1e-4)])), self.policy)
            for name, model in self.models.items()
        }
        self.engine.serve(
            Routes({name: ModelRoutes({1: served_version}, 1) for name, served_version in served_versions.items()})
        )

    def arrive(self, arriving: list[tuple[PredictRequest, int | None]]) -> None:
        calls = []
        for request, ticks in arriving:
            deadline = NO_DEADLINE if ticks is None else self.workers.now + ticks * TICK_S
            calls.append(Call(request, self.sink, deadline))
            self.callers.append((calls[-1], request))
        payloads = [request.SerializeToString() for request, _ in arriving]
        self.engine.submit(self.decoder.decode(calls, payloads, self.sink))

    def take(self, step: Arrive | Cancel | Work | Wait) -> None:
        match step:
            case Arrive(arriving):
                self.arrive(arriving)
            case Cancel(which) if self.callers:
                call, _ = self.callers[which % len(self.callers)]
                call.cancelled = True
            case Work(which):
                self.workers.work(which)
            case Wait(ticks):
                self.workers.pass_time(ticks * TICK_S)

    def answers(self) -> dict[Call, list[Answer]]:
        told: dict[Call, list[Answer]] = {call: [] for call, _ in self.callers}
        for call, result in self.sink.got:
            told[call].append(_shown(result))
        return told


def _shown(result: bytes | ServingError) -> Answer:
    if not isinstance(result, bytes):
        return type(result)
    response = PredictResponse.FromString(result)
    response.cached = False  # the one thing that may differ
    return response


@pytest.fixture(scope="module", autouse=True)
def quiet() -> Iterator[None]:
    """Rows that fail are logged, thousands of them here."""
    logging.disable(logging.ERROR)
    yield
    logging.disable(logging.NOTSET)


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> dict[str, LoadedModel]:
    root: Path = tmp_path_factory.mktemp("models")
    return {
        name: replace(load_version(publish(root), name, 1, Policy()), manifest_json=b"")
        for name, publish in MODELS.items()
    }


@pytest.fixture(scope="module")
def alone(loaded: dict[str, LoadedModel]) -> Callable[[PredictRequest], Answer]:
    """What a request gets that meets nobody, from a decoder that has seen nothing."""
    known: dict[bytes, Answer] = {}

    def answer(request: PredictRequest) -> Answer:
        payload = request.SerializeToString()
        if payload not in known:
            world = World(loaded)
            world.arrive([(request, None)])
            ((known[payload],),) = world.answers().values()
        return known[payload]

    return answer


LATE = request_for("touchy", 3, 0, 0)
FINE = request_for("touchy", 2, 1, 1)


@settings(max_examples=250, suppress_health_check=[HealthCheck.too_slow])
@given(policy=policies, inline=st.booleans(), steps=steps)
@example(
    policy=Policy(cache=Cache(enabled=True)),
    inline=False,
    steps=[Arrive([(FINE, None)] * 2), Cancel(0), Arrive([(FINE, None), (LATE, None), (LATE, 5)]), Cancel(1)],
)
@example(policy=Policy(), inline=False, steps=[Arrive([(LATE, None), (FINE, None), (FINE, None), (LATE, None)])])
def test_each_caller_is_answered_once_and_as_if_alone(
    loaded: dict[str, LoadedModel],
    alone: Callable[[PredictRequest], Answer],
    policy: Policy,
    inline: bool,
    steps: list[Arrive | Cancel | Work | Wait],
) -> None:
    world = World(loaded, policy, inline)
    for step in steps:
        world.take(step)
    world.workers.finish()
    assert world.engine.idle
    told = world.answers()
    for call, request in world.callers:
        (answer,) = told[call]
        if answer is CallCancelled:
            assert call.cancelled
        elif answer is DeadlineExpired:
            assert call.deadline <= world.workers.now
        elif answer is Overloaded:
            assert policy.batching.max_queue_rows < 8192 or call.deadline < NO_DEADLINE
        else:
            assert answer == alone(request)


def test_alone_each_request_gets_what_its_graph_computes(alone: Callable[[PredictRequest], Answer]) -> None:
    """That all answers are equal would be true of wrong ones too."""
    x = features(3, seed=1)
    linear = alone(request_for("linear", 3, 1, 0))
    assert isinstance(linear, PredictResponse)
    label, score = linear.outputs
    np.testing.assert_allclose(np.frombuffer(score.data, np.float32), x.sum(axis=1), rtol=1e-5)
    np.testing.assert_array_equal(np.frombuffer(label.data, np.int64), x.sum(axis=1) > 0)
    assert alone(LATE) is ModelFailed
