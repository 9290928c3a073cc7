"""Deadlines, cancellation, full queues, large messages and equal requests, on every transport, with a model that a
test holds in the middle of a run."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from skylane.policy import Policy
from skylane.server.core.settings import Transport
from skylane.server.engine.served_version import LoadedModel
from skylane.server.repository.verified_loading import load_version
from support import models
from support.calls import array_of, ask, features, open_channel, predict, predict_stream
from support.server import Gate, RunningServer, serving

POLICY = """
[batching]
max_batch_rows = 4
max_queue_rows = 6
max_request_rows = 6
"""
CACHED = "[cache]\nenabled = true\n"


Sent = Any  # both a Call and a Future, which grpc's types do not say


class Held:
    """A server whose model `linear` runs only while the gate is open."""

    def __init__(self, server: RunningServer, gate: Gate, channel: grpc.Channel) -> None:
        self.server, self.gate, self.channel = server, gate, channel

    def send(self, rows: int = 1, seed: int = 0, timeout: float | None = 60) -> Sent:
        return predict(self.channel).future(ask("linear", features=features(rows, seed=seed)), timeout=timeout)

    def occupy(self) -> Sent:
        """Send a request and return when its run has begun."""
        call = self.send(seed=99)
        assert self.gate.entered.acquire(timeout=30)
        return call

    def settle(self) -> None:
        """Return when everything sent before on this connection has reached the engine."""
        predict(self.channel)(ask("linear", features=features(0)), timeout=30)


def _held(tmp_path: Path, transport: Transport, policy: str) -> Iterator[Held]:
    models.linear(tmp_path)
    (tmp_path / "linear" / "model.toml").write_text(policy)
    gate = Gate()
    with serving(tmp_path, transport, load=gate.load) as server, open_channel(server.address) as channel:
        try:
            yield Held(server, gate, channel)
        finally:
            gate.opened.set()


@pytest.fixture
def held(tmp_path: Path, transport: Transport) -> Iterator[Held]:
    yield from _held(tmp_path, transport, POLICY)


@pytest.fixture
def held_with_cache(tmp_path: Path, transport: Transport) -> Iterator[Held]:
    yield from _held(tmp_path, transport, POLICY + CACHED)


def test_what_arrives_during_a_run_is_the_next_batch(held: Held) -> None:
    first = held.occupy()
    others = [held.send(seed=seed) for seed in range(5)]
    held.settle()
    held.gate.opened.set()
    assert first.result().version == 1
    for seed, call in enumerate(others):
        np.testing.assert_allclose(
            array_of(call.result(), "score")[:, 0], features(1, seed=seed).sum(axis=1), rtol=1e-4, atol=1e-5
        )
    assert held.gate.rows == [1, 4, 1]


def test_a_request_larger_than_a_batch_runs_alone(held: Held) -> None:
    first = held.occupy()
    call = held.send(rows=5)
    held.settle()
    held.gate.opened.set()
    assert len(array_of(call.result(), "score")) == 5
    assert first.result().version == 1
    assert held.gate.rows == [1, 5]


def test_a_full_queue_refuses_at_once_and_says_when_to_come_back(held: Held) -> None:
    first = held.occupy()
    waiting = [held.send(rows=3, seed=seed) for seed in range(2)]
    held.settle()
    refused = held.send()
    assert refused.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert refused.details() == "the model's queue is full: 6 rows wait, at most 6 may (max_queue_rows)"
    pushback = dict(refused.trailing_metadata())["retry-pushback-ms"]
    assert pushback == "6000", "six rows at the measured second each"
    held.gate.opened.set()
    assert [call.code() for call in (first, *waiting)] == [grpc.StatusCode.OK] * 3
    assert held.send().code() is grpc.StatusCode.OK, "there is room again"


def test_an_expired_request_is_never_run(held: Held) -> None:
    first = held.occupy()
    expired = held.send(seed=1, timeout=0.05)
    assert expired.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    neighbour = held.send(seed=2)
    held.settle()
    held.gate.opened.set()
    assert [first.code(), neighbour.code()] == [grpc.StatusCode.OK] * 2
    assert held.gate.rows == [1, 1]


def test_a_cancelled_request_is_never_run_and_its_neighbours_are(held: Held) -> None:
    first = held.occupy()
    calls = [held.send(seed=seed) for seed in range(4)]
    held.settle()
    calls[1].cancel()
    calls[2].cancel()
    held.settle()
    held.gate.opened.set()
    assert [first.code(), calls[0].code(), calls[3].code()] == [grpc.StatusCode.OK] * 3
    assert held.gate.rows == [1, 2]


def test_a_caller_who_hangs_up_harms_nobody(held: Held) -> None:
    first = held.occupy()
    with open_channel(held.server.address) as other:
        predict(other).future(ask("linear", features=features(2)))
        predict(other)(ask("linear", features=features(0)), timeout=30)
    neighbour = held.send(seed=2)
    held.settle()
    held.gate.opened.set()
    assert [first.code(), neighbour.code()] == [grpc.StatusCode.OK] * 2


def test_a_cancelled_stream_leaves_its_requests_unrun(held: Held) -> None:
    first = held.occupy()
    call = predict_stream(held.channel)(
        iter([ask("linear", features=features(2)), ask("linear", features=features(0))])
    )
    assert next(iter(call)).HasField("response"), "the request without rows is answered first"
    call.cancel()
    held.settle()
    neighbour = held.send(seed=2)
    held.settle()
    held.gate.opened.set()
    assert [first.code(), neighbour.code()] == [grpc.StatusCode.OK] * 2
    assert held.gate.rows == [1, 1]


class TestCache:
    """Equal requests."""

    def test_equal_requests_in_flight_share_one_run(self, held_with_cache: Held) -> None:
        held = held_with_cache
        first = held.occupy()
        same = [held.send(seed=5) for _ in range(4)]
        held.settle()
        held.gate.opened.set()
        replies = [call.result() for call in same]
        assert [reply.cached for reply in replies] == [False, True, True, True]
        assert len({array_of(reply, "score").tobytes() for reply in replies}) == 1
        assert first.result().cached is False
        assert held.gate.rows == [1, 1]

    def test_an_equal_request_later_is_answered_without_a_run(self, held_with_cache: Held) -> None:
        held = held_with_cache
        held.gate.opened.set()
        first, again, other = (held.send(seed=seed).result() for seed in (5, 5, 6))
        assert (first.cached, again.cached, other.cached) == (False, True, False)
        assert array_of(first, "score") == array_of(again, "score")
        assert held.gate.rows == [1, 1]

    def test_other_outputs_or_another_shape_are_another_request(self, held_with_cache: Held) -> None:
        held = held_with_cache
        held.gate.opened.set()
        x = features(2)
        held.send(rows=2).result()
        reply = predict(held.channel)(ask("linear", outputs=["score"], features=x))
        assert not reply.cached
        assert [output.name for output in reply.outputs] == ["score"]
        assert predict(held.channel)(ask("linear", request_id="mine", features=x)).request_id == "mine"

    def test_a_leader_that_cancels_does_not_take_its_followers_along(self, held_with_cache: Held) -> None:
        held = held_with_cache
        first = held.occupy()
        leader, follower = held.send(seed=5), held.send(seed=5)
        held.settle()
        leader.cancel()
        held.settle()
        held.gate.opened.set()
        assert follower.result().cached
        assert first.code() is grpc.StatusCode.OK


@pytest.mark.parametrize(
    "rows", [pytest.param(13_200, id="a little too large"), pytest.param(60_000, id="far too large")]
)
def test_a_message_over_the_limit(tmp_path: Path, transport: Transport, rows: int) -> None:
    models.linear(tmp_path)
    with serving(tmp_path, transport, max_message_mb=1) as server, open_channel(server.address) as channel:
        refused = predict(channel).future(ask("linear", features=features(rows)))
        assert refused.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "larger than max" in refused.details() or "this server takes at most 1048576" in refused.details()
        assert predict(channel)(ask("linear", features=features(8000))).version == 1


def test_waiting_for_company_gathers_a_batch(tmp_path: Path, transport: Transport) -> None:
    """A delay far beyond the test's time: only a full batch leaves the queue."""
    models.linear(tmp_path)
    (tmp_path / "linear" / "model.toml").write_text("[batching]\nmax_batch_rows = 3\nmax_queue_delay_ms = 60000\n")
    gate = Gate()
    gate.opened.set()
    with serving(tmp_path, transport, load=gate.load) as server, open_channel(server.address) as channel:
        calls = [predict(channel).future(ask("linear", features=features(1, seed=seed))) for seed in range(3)]
        assert [call.result(timeout=30).version for call in calls] == [1, 1, 1]
        assert gate.rows == [3]


def test_a_short_wait_ends_by_itself(tmp_path: Path, transport: Transport) -> None:
    models.linear(tmp_path)
    (tmp_path / "linear" / "model.toml").write_text("[batching]\nmax_queue_delay_ms = 1\n")
    with serving(tmp_path, transport) as server, open_channel(server.address) as channel:
        for seed in range(5):
            assert predict(channel)(ask("linear", features=features(1, seed=seed)), timeout=30).version == 1


def test_a_slow_model_does_not_hold_up_its_neighbour(tmp_path: Path, transport: Transport) -> None:
    models.linear(tmp_path, "slow")
    models.linear(tmp_path, "fast")
    gate = Gate()

    def load(directory: Path, name: str, version: int, policy: Policy) -> LoadedModel:
        return (gate.load if name == "slow" else load_version)(directory, name, version, policy)

    with serving(tmp_path, transport, load=load) as server, open_channel(server.address) as channel:
        slow = predict(channel).future(ask("slow", features=features(1)))
        assert gate.entered.acquire(timeout=30)
        with ThreadPoolExecutor(4) as pool:
            inputs = (features(1, seed=seed) for seed in range(50))
            replies = list(pool.map(lambda x: predict(channel)(ask("fast", features=x)), inputs))
        assert [reply.model for reply in replies] == ["fast"] * 50
        assert not slow.done()
        gate.opened.set()
        assert slow.result().model == "slow"
