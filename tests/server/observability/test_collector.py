"""The ledger: counters of lanes that have gone stay, and the lanes do not."""

import gc
import weakref
from pathlib import Path

import pytest

from skylane.manifest import BrokenVersion
from skylane.policy import Policy
from skylane.server.core.errors import Overloaded
from skylane.server.core.types import Array, Interface
from skylane.server.engine.cost import CostModel
from skylane.server.engine.routes import ModelRoutes, Routes
from skylane.server.engine.served_version import LoadedModel, ServedVersion
from skylane.server.observability.collector import Collector
from skylane.server.observability.snapshot import LoadSnapshot
from skylane.server.repository.repository import ModelStatus, State, VersionStatus


class NoRunner:
    """Never asked."""

    def run(self, inputs: object) -> list[Array]:
        """See Runner."""
        raise AssertionError


def served_version() -> ServedVersion:
    interface = Interface("m", 1, (), (), ())
    cost = CostModel([(1, 1.0)])
    return ServedVersion(
        LoadedModel(interface=interface, runner=NoRunner(), cost=cost, empty=(), memory_bytes=10), Policy()
    )


def routes(each: ServedVersion) -> Routes:
    return Routes({"m": ModelRoutes({1: each}, 1)})


def test_a_lane_that_was_replaced_counts_on_and_is_forgotten() -> None:
    collector = Collector(dict)
    first: ServedVersion | None = served_version()
    second = served_version()
    assert first is not None
    collector.follow(routes(first))
    first.counts.hit(3, 0.1, 1.0, "p")
    collector.follow(routes(second))
    first.counts.hit(4, 0.1, 1.0, "p")  # it finishes requests in flight
    second.counts.failed(Overloaded("", 1), 2, "p")
    gone = weakref.ref(first)
    first = None
    gc.collect()
    assert gone() is None
    for _ in range(2):  # asking changes nothing
        (told,) = collector.figures({}).versions
        assert told.hits == 7
        assert [(each.error, each.requests) for each in told.outcomes] == [("", 7), ("Overloaded", 2)]


def test_memory_is_that_of_sessions_that_are_there_each_once() -> None:
    collector, first = Collector(dict), served_version()
    by_another_policy: ServedVersion | None = ServedVersion(first.model, Policy())
    loaded_anew: ServedVersion | None = served_version()

    def told() -> int:
        (version,) = collector.figures({}).versions
        return version.memory_bytes

    collector.follow(routes(first))
    assert told() == 10
    assert by_another_policy is not None
    collector.follow(routes(by_another_policy))
    assert told() == 10
    assert loaded_anew is not None
    collector.follow(routes(loaded_anew))
    assert told() == 20
    by_another_policy = loaded_anew = None
    gc.collect()
    assert told() == 10


def test_states_are_of_what_the_repository_has() -> None:
    status = {"m": ModelStatus({2: VersionStatus(State.FAILED, "why"), 1: VersionStatus(State.READY)}, {})}
    told = Collector(dict).figures(status)
    assert {each.version: (each.states, each.reason) for each in told.versions} == {
        1: ({"ready": 1}, ""),
        2: ({"failed": 1}, "why"),
    }


def test_policies_that_are_refused() -> None:
    ready = {1: VersionStatus(State.READY)}
    status = {"good": ModelStatus(ready, {}), "bad": ModelStatus(ready, {}, "model.toml: no")}
    told = Collector(dict).figures(status).policies
    assert {each.model: each.refused for each in told} == {"bad": 1, "good": 0}


def test_models_that_serve_on_although_their_directory_is_empty() -> None:
    ready = {1: VersionStatus(State.READY)}
    status = {"there": ModelStatus(ready, {}), "gone": ModelStatus(ready, {}, unfollowed="it has no version")}
    told = Collector(dict).figures(status).policies
    assert {each.model: each.unfollowed for each in told} == {"gone": 1, "there": 0}


def test_loads_are_counted_and_timed_and_so_is_what_is_refused() -> None:
    collector, now = Collector(dict), 0.0
    made = served_version().model

    def load(directory: Path, name: str, version: int, policy: Policy) -> LoadedModel:
        nonlocal now
        now += 2.0
        if version > 2:
            raise BrokenVersion("no")
        return made

    timed = collector.timed(load, lambda: now)
    assert [timed(Path(), "m", version, Policy()) for version in (1, 2)] == [made, made]
    with pytest.raises(BrokenVersion):
        timed(Path(), "m", 3, Policy())
    assert collector.figures({}).loads == [LoadSnapshot("m", 2, 4.0, 1)]


def test_requests_that_reached_no_model_are_the_engines_count() -> None:
    (told,) = Collector(lambda: {("p", "ModelNotFound"): 3}).figures({}).rejections
    assert (told.protocol, told.error, told.requests) == ("p", "ModelNotFound", 3)
