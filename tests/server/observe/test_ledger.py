"""The ledger: counters of lanes that have gone stay, and the lanes do not."""

import gc
import weakref
from pathlib import Path

import pytest

from server.engine.cost import CostModel
from server.engine.lane import Lane, LoadedModel
from server.errors import Overloaded
from server.observe.figures import LoadFigures
from server.observe.ledger import Ledger
from server.repository.repository import ModelStatus, State, VersionStatus
from server.routing.routes import ModelRoutes, Routes
from server.types import Array, Interface
from skylane.manifest import BrokenVersion
from skylane.policy import Policy


class NoRunner:
    """Never asked."""

    def run(self, inputs: object) -> list[Array]:
        """See Runner."""
        raise AssertionError


def lane() -> Lane:
    interface = Interface("m", 1, (), (), ())
    cost = CostModel([(1, 1.0)])
    return Lane(LoadedModel(interface=interface, runner=NoRunner(), cost=cost, empty=(), memory_bytes=10), Policy())


def routes(each: Lane) -> Routes:
    return Routes({"m": ModelRoutes({1: each}, 1)})


def test_a_lane_that_was_replaced_counts_on_and_is_forgotten() -> None:
    ledger = Ledger(dict)
    first: Lane | None = lane()
    second = lane()
    assert first is not None
    ledger.follow(routes(first))
    first.counts.hit(3, 0.1, 1.0, "p")
    ledger.follow(routes(second))
    first.counts.hit(4, 0.1, 1.0, "p")  # it finishes what it has begun
    second.counts.failed(Overloaded("", 1), 2, "p")
    gone = weakref.ref(first)
    first = None
    gc.collect()
    assert gone() is None
    for _ in range(2):  # asking changes nothing
        (told,) = ledger.figures({}).versions
        assert told.hits == 7
        assert [(each.error, each.requests) for each in told.outcomes] == [("", 7), ("Overloaded", 2)]


def test_memory_is_that_of_sessions_that_are_there_each_once() -> None:
    ledger, first = Ledger(dict), lane()
    by_another_policy: Lane | None = Lane(first.model, Policy())
    loaded_anew: Lane | None = lane()

    def told() -> int:
        (version,) = ledger.figures({}).versions
        return version.memory_bytes

    ledger.follow(routes(first))
    assert told() == 10
    assert by_another_policy is not None
    ledger.follow(routes(by_another_policy))
    assert told() == 10
    assert loaded_anew is not None
    ledger.follow(routes(loaded_anew))
    assert told() == 20
    by_another_policy = loaded_anew = None
    gc.collect()
    assert told() == 10


def test_states_are_of_what_the_repository_has() -> None:
    status = {"m": ModelStatus({2: VersionStatus(State.FAILED, "why"), 1: VersionStatus(State.READY)}, {})}
    told = Ledger(dict).figures(status)
    assert {each.version: (each.states, each.reason) for each in told.versions} == {
        1: ({"ready": 1}, ""),
        2: ({"failed": 1}, "why"),
    }


def test_policies_that_are_refused() -> None:
    ready = {1: VersionStatus(State.READY)}
    status = {"good": ModelStatus(ready, {}), "bad": ModelStatus(ready, {}, "model.toml: no")}
    told = Ledger(dict).figures(status).policies
    assert {each.model: each.refused for each in told} == {"bad": 1, "good": 0}


def test_loads_are_counted_and_timed_and_so_is_what_is_refused() -> None:
    ledger, now = Ledger(dict), 0.0
    made = lane().model

    def load(directory: Path, name: str, version: int, policy: Policy) -> LoadedModel:
        nonlocal now
        now += 2.0
        if version > 2:
            raise BrokenVersion("no")
        return made

    timed = ledger.timed(load, lambda: now)
    assert [timed(Path(), "m", version, Policy()) for version in (1, 2)] == [made, made]
    with pytest.raises(BrokenVersion):
        timed(Path(), "m", 3, Policy())
    assert ledger.figures({}).loads == [LoadFigures("m", 2, 4.0, 1)]


def test_requests_that_reached_no_model_are_the_engines_count() -> None:
    (told,) = Ledger(lambda: {("p", "ModelNotFound"): 3}).figures({}).unserved
    assert (told.protocol, told.error, told.requests) == ("p", "ModelNotFound", 3)
