"""When callers should come: one answer, whoever asks."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skylane.server.admin.readiness import Readiness
from skylane.server.repository.repository import ModelStatus, State, VersionStatus

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
        pytest.param([({"a": READY, "b": FAILED}, True)], True, id="one of those found at the start is broken"),
        pytest.param([({"a": FAILED, "b": FAILED}, True)], False, id="nothing could be loaded"),
        pytest.param([({"a": READY}, True), ({"a": READY, "b": FAILED}, True)], True, id="a new one is broken"),
        pytest.param([({"a": READY, "b": READY}, True), ({"a": READY, "b": FAILED}, True)], True, id="one broke"),
        pytest.param([({"a": READY}, True), ({"a": FAILED}, True)], False, id="the last one broke"),
        pytest.param([({"a": READY}, True), ({}, True)], False, id="all were taken away"),
        pytest.param([({"a": READY, "b": READY}, True), ({"a": READY}, True)], True, id="one was taken away"),
    ],
)
def test_the_server_as_a_whole(told: list[tuple[dict[str, ModelStatus], bool]], whole: bool) -> None:
    readiness = Readiness()
    for status, complete in told:
        readiness.update(status, complete=complete)
    assert readiness.whole is whole


STATUSES = st.dictionaries(st.sampled_from("abc"), st.sampled_from([READY, FAILED, BOTH]))


@given(st.lists(STATUSES, max_size=5), STATUSES)
def test_who_starts_now_says_what_those_say_who_were_there_before(
    before: list[dict[str, ModelStatus]], now: dict[str, ModelStatus]
) -> None:
    old, new = Readiness(), Readiness()
    for status in [*before, now]:
        old.update(status, complete=True)
    new.update(now, complete=True)
    assert (old.whole, old.models) == (new.whole, new.models)


def test_nothing_is_ready_from_the_drain_on() -> None:
    readiness = Readiness()
    readiness.update({"a": READY}, complete=True)
    readiness.drain()
    readiness.update({"a": READY}, complete=True)
    assert (readiness.whole, readiness.models) == (False, {"a": False})
