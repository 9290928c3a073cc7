"""The rules of a call, without a network or a clock: what is sent, in which order, and when it is given up."""

import math
import random
import threading
from collections.abc import Callable
from typing import Any

import grpc
import numpy as np
import pytest

from skylane.client.calls import Acquire, Calls, Invoke, Pause, Steps
from skylane.client.encoding import Request
from skylane.client.errors import (
    CODE_OF_NUMBER,
    DeadlineExceeded,
    InvalidInput,
    NotFound,
    Overloaded,
    SkylaneError,
    Unavailable,
    error_of,
)
from skylane.v1 import models_pb2, prediction_pb2

ROWS = np.zeros((1, 2))
OVERLOADED = Overloaded("queue is full", 0.1)


class World:
    """The other side of a call: the test advances the time, and every step gets the next answer of the script."""

    def __init__(self, *script: Any, took_s: float = 0.0) -> None:
        self.now, self.took_s = 100.0, took_s
        self.script = list(script)
        self.told: list[Any] = []
        """What was asked for: (method, timeout), or seconds of a pause."""

    def run(self, steps: Steps[Any]) -> Any:
        reply: Any = None
        send: Callable[[Any], Any] = steps.send
        try:
            while True:
                step = send(reply)
                send = steps.send
                if isinstance(step, Pause):
                    self.told.append(round(step.seconds, 3))
                    self.now += step.seconds
                    reply = None
                    continue
                if isinstance(step, Acquire):
                    reply = step.lock.acquire(blocking=False)
                    continue
                assert isinstance(step, Invoke)
                self.told.append(step.method.path.rpartition("/")[2])
                self.now += self.took_s
                reply = self.script.pop(0)
                if isinstance(reply, SkylaneError):
                    send = steps.throw
        except StopIteration as end:
            return end.value

    def calls(self, timeout_s: float = 5.0, retry_overload: int = 0) -> Calls:
        return Calls(timeout_s, retry_overload, threading.Lock, clock=lambda: self.now, rng=NoChance())


class NoChance(random.Random):
    """Always 0: pauses as the server asked for them."""

    def random(self) -> float:
        return 0.0


def model(version: int = 1, tensor: str = "x", dtype: str = "DATA_TYPE_FLOAT32") -> models_pb2.GetModelResponse:
    spec = models_pb2.TensorSpec(name=tensor, dtype=dtype, shape=[-1, 2])
    return models_pb2.GetModelResponse(model=models_pb2.Model(name="m", version=version, tensors=[spec]))


def reply(version: int = 1) -> prediction_pb2.PredictResponse:
    return prediction_pb2.PredictResponse(model="m", version=version)


def request(data: Any = None) -> Request:
    return Request(model="m", data={"a": [1]} if data is None else data)


@pytest.mark.parametrize(
    ("script", "retries", "timeout_s", "told", "outcome"),
    [
        pytest.param([reply()], 0, 5, ["Predict"], None, id="answered at once"),
        pytest.param([OVERLOADED], 0, 5, ["Predict"], Overloaded, id="overloaded: not asked to try again"),
        pytest.param([OVERLOADED, reply()], 1, 5, ["Predict", 0.1, "Predict"], None, id="tried again after the pause"),
        pytest.param(
            [OVERLOADED] * 3, 2, 5, ["Predict", 0.1, "Predict", 0.1, "Predict"], Overloaded, id="as often as allowed"
        ),
        pytest.param([OVERLOADED], 9, 0.1, ["Predict"], Overloaded, id="no pause that outlasts the deadline"),
        pytest.param(
            [error_of(CODE_OF_NUMBER[8], "too large")], 9, 5, ["Predict"], SkylaneError, id="size limit: once"
        ),
        pytest.param([Unavailable("gone")], 9, 5, ["Predict"], Unavailable, id="unavailable: left to gRPC"),
        pytest.param([InvalidInput("no")], 9, 5, ["Predict"], InvalidInput, id="a wrong request is not repeated"),
        pytest.param([], 9, 0, [], DeadlineExceeded, id="no time left: nothing is sent"),
    ],
)
def test_retries(
    script: list[Any], retries: int, timeout_s: float, told: list[Any], outcome: type[SkylaneError] | None
) -> None:
    world = World(*script)
    steps = world.calls(timeout_s, retries).predict(request())
    if outcome is None:
        assert world.run(steps).version == 1
    else:
        with pytest.raises(outcome):
            world.run(steps)
    assert world.told == told


def test_pauses_are_never_shorter_than_asked_and_at_most_twice_as_long() -> None:
    world = World(*[OVERLOADED] * 50, reply())
    world.run(Calls(1000, 50, threading.Lock, clock=lambda: world.now, rng=random.Random(1)).predict(request()))
    pauses = [each for each in world.told if isinstance(each, float)]
    assert all(0.1 <= pause <= 0.2 for pause in pauses)
    assert len(set(pauses)) > 10


@pytest.mark.parametrize(
    ("script", "told", "outcome"),
    [
        pytest.param([reply()], ["Predict"], None, id="a remembered schema is used"),
        pytest.param(
            [InvalidInput("no 'x'"), model(2, "y"), reply(2)],
            ["Predict", "GetModel", "Predict"],
            None,
            id="refused, and the schema has changed: sent anew",
        ),
        pytest.param(
            [NotFound("version 1 is gone"), model(2), reply(2)],
            ["Predict", "GetModel", "Predict"],
            None,
            id="not found, and there is a newer one: sent anew",
        ),
        pytest.param(
            [InvalidInput("5 columns"), model(1)],
            ["Predict", "GetModel"],
            InvalidInput,
            id="refused, and the schema is as before: the caller's mistake",
        ),
        pytest.param(
            [InvalidInput("no"), model(2), InvalidInput("no")],
            ["Predict", "GetModel", "Predict"],
            InvalidInput,
            id="refused twice: given up",
        ),
        pytest.param(
            [NotFound("no 'm'"), NotFound("no 'm'")], ["Predict", "GetModel"], NotFound, id="the model has gone"
        ),
        pytest.param([OVERLOADED], ["Predict"], Overloaded, id="overload says nothing about the schema"),
    ],
)
def test_a_remembered_schema(script: list[Any], told: list[str], outcome: type[SkylaneError] | None) -> None:
    world = World(model(1), reply())
    calls = world.calls()
    world.run(calls.predict(request(ROWS)))
    assert world.told == ["GetModel", "Predict"]

    world.told, world.script = [], list(script)
    if outcome is None:
        world.run(calls.predict(request(ROWS)))
    else:
        with pytest.raises(outcome):
            world.run(calls.predict(request(ROWS)))
    assert world.told == told
    assert not world.script


def test_data_that_does_not_fit_a_remembered_schema_may_fit_the_new_one() -> None:
    world = World(model(1, dtype="DATA_TYPE_INT64"), reply(), model(2), reply(2))
    calls = world.calls()
    world.run(calls.predict(request(np.array([[1, 2]]))))
    assert world.run(calls.predict(request(np.array([[0.5, 2]])))).version == 2
    assert world.told == ["GetModel", "Predict", "GetModel", "Predict"]


def test_data_that_fits_no_schema_is_refused_here() -> None:
    world = World(model(1, dtype="DATA_TYPE_INT64"))
    with pytest.raises(TypeError, match="'x' is int64"):
        world.run(world.calls().predict(request(np.array([[0.5, 2]]))))


def test_schemas_are_remembered_for_each_version_and_label() -> None:
    world = World(*[model(n) for n in range(3)])
    calls = world.calls()
    for choice in ({}, {"version": 1}, {"label": "stable"}):
        world.run(calls.message(Request(model="m", data=ROWS, **choice), math.inf))
        world.run(calls.message(Request(model="m", data=ROWS, **choice), math.inf))
    assert world.told == ["GetModel"] * 3


def test_a_schema_is_fetched_once_for_all_who_wait_for_it() -> None:
    world = World()
    calls = world.calls()
    first, second = calls.predict(request(ROWS)), calls.predict(request(ROWS))
    turn, wait = next(first), next(second)
    assert isinstance(turn, Acquire)
    assert isinstance(wait, Acquire)
    assert turn.lock is wait.lock

    assert turn.lock.acquire(blocking=False)
    fetch = first.send(True)
    assert isinstance(fetch, Invoke)
    assert fetch.method.path.endswith("GetModel")
    assert not wait.lock.acquire(blocking=False), "the second one waits"
    first.send(model())
    assert wait.lock.acquire(blocking=False), "its turn"
    predict = second.send(True)
    assert isinstance(predict, Invoke)
    assert predict.method.path.endswith("Predict"), "what the first one fetched serves both"


def test_a_call_that_is_cancelled_while_it_fetches_lets_the_next_one_fetch() -> None:
    calls = World().calls()
    first = calls.predict(request(ROWS))
    turn = next(first)
    assert isinstance(turn, Acquire)
    assert turn.lock.acquire(blocking=False)
    first.send(True)
    first.close()
    assert turn.lock.acquire(blocking=False)


def test_waiting_for_a_schema_ends_at_the_deadline() -> None:
    steps = World().calls().predict(request(ROWS))
    next(steps)
    with pytest.raises(DeadlineExceeded):
        steps.send(False)


def test_one_deadline_holds_for_all_that_a_call_sends() -> None:
    world = World(model(1), took_s=3.0)
    with pytest.raises(DeadlineExceeded):
        world.run(world.calls(timeout_s=3.0).predict(request(ROWS)))
    assert world.told == ["GetModel"]


def test_an_endless_timeout_sets_no_deadline() -> None:
    step = next(World().calls().predict(request(), timeout_s=math.inf))
    assert isinstance(step, Invoke)
    assert step.timeout_s is None


@pytest.mark.parametrize(
    ("answer", "ready"),
    [
        pytest.param(NotFound("unknown service"), False, id="no such model"),
        pytest.param(Unavailable("refused"), False, id="nothing answers"),
        pytest.param(DeadlineExceeded("late"), False, id="no answer in time"),
        pytest.param(error_of(grpc.StatusCode.UNAUTHENTICATED, "who?"), None, id="not allowed to ask: raised"),
    ],
)
def test_readiness(answer: SkylaneError, ready: bool | None) -> None:
    world = World(answer)
    if ready is None:
        with pytest.raises(SkylaneError):
            world.run(world.calls().ready("m"))
    else:
        assert world.run(world.calls().ready("m")) is ready
