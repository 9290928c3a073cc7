"""When callers should come: one answer, whoever asks."""

import pytest

from server.readiness import Readiness
from server.repository.repository import ModelStatus, State, VersionStatus

READY = ModelStatus({1: VersionStatus(State.READY)}, {})
FAILED = ModelStatus({1: VersionStatus(State.FAILED, "broken")}, {})
BOTH = ModelStatus({1: VersionStatus(State.READY), 2: VersionStatus(State.FAILED, "broken")}, {})


@pytest.mark.parametrize(
    ("told", "whole"),
    [
        pytest.param([], False, id="nothing is known yet"),
        pytest.param([({}, True)], False, id="there is no model"),
        pytest.param([({"a": READY}, False)], False, id="others are still loading"),
        pytest.param([({"a": READY}, True)], True, id="all are loaded"),
        pytest.param([({"a": BOTH}, True)], True, id="a broken version, the one before answers"),
        pytest.param([({"a": READY, "b": FAILED}, True)], False, id="one of those found at the start is broken"),
        pytest.param([({"a": READY}, True), ({"a": READY, "b": FAILED}, True)], True, id="a new one is broken"),
        pytest.param([({"a": READY, "b": READY}, True), ({"a": READY, "b": FAILED}, True)], False, id="one broke"),
        pytest.param([({"a": READY, "b": READY}, True), ({"a": READY}, True)], True, id="one was taken away"),
    ],
)
def test_the_server_as_a_whole(told: list[tuple[dict[str, ModelStatus], bool]], whole: bool) -> None:
    readiness = Readiness()
    for status, complete in told:
        readiness.tell(status, complete=complete)
    assert readiness.whole is whole


def test_nothing_is_ready_from_the_drain_on() -> None:
    readiness = Readiness()
    readiness.tell({"a": READY}, complete=True)
    readiness.drain()
    readiness.tell({"a": READY}, complete=True)
    assert (readiness.whole, readiness.models) == (False, {"a": False})
