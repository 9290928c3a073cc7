"""Which versions are loaded and which answers, by every section of the policy."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skylane.policy import Versions
from skylane.server.repository.selection import latest, wanted


@pytest.mark.parametrize(
    ("usable", "policy", "loaded"),
    [
        pytest.param([], Versions(), [], id="nothing on disk: nothing loaded"),
        pytest.param([1, 2, 3], Versions(), [3], id="by default the newest alone"),
        pytest.param([9, 10], Versions(), [10], id="newest by number, not by text"),
        pytest.param([1, 2, 3], Versions(keep=2), [2, 3], id="keep more of the newest"),
        pytest.param([1, 2], Versions(keep=5), [1, 2], id="keep more than there are"),
        pytest.param([1, 2, 3], Versions(pinned=(1,)), [1, 3], id="a pinned version stays, however old"),
        pytest.param([1, 2, 3], Versions(pinned=(3,)), [3], id="pinned and newest: once"),
        pytest.param([1, 2, 3], Versions(latest=2), [2, 3], id="a roll-back loads what it rolls back to"),
        pytest.param([1, 2, 3], Versions(labels={"stable": 1, "next": 3}), [1, 3], id="labelled versions stay"),
        pytest.param([2, 3], Versions(pinned=(1,), latest=7, labels={"a": 9}), [3], id="what is not there cannot be"),
        pytest.param([1, 2], Versions(keep=1), [2], id="a broken newest is not usable, so the next one is the newest"),
    ],
)
def test_wanted(usable: list[int], policy: Versions, loaded: list[int]) -> None:
    assert sorted(wanted(usable, policy)) == loaded


@pytest.mark.parametrize(
    ("ready", "policy", "answers"),
    [
        pytest.param([1, 3, 2], Versions(), 3, id="the newest that is ready"),
        pytest.param([1, 3], Versions(latest=1), 1, id="rolled back: the version of the policy"),
        pytest.param([1, 3], Versions(latest=2), 3, id="rolled back to what is not ready: the newest"),
        pytest.param([1, 3], Versions(pinned=(1,), labels={"stable": 1}), 3, id="pins and labels do not change it"),
    ],
)
def test_latest(ready: list[int], policy: Versions, answers: int) -> None:
    assert latest(ready, policy) == answers


policies = st.builds(
    Versions,
    keep=st.integers(1, 5),
    pinned=st.lists(st.integers(1, 9), max_size=3).map(tuple),
    latest=st.none() | st.integers(1, 9),
    labels=st.dictionaries(st.sampled_from("ab"), st.integers(1, 9)),
)


@given(usable=st.sets(st.integers(1, 9)), policy=policies)
def test_the_loaded_versions_exist_hold_the_newest_and_stay_within_the_policys_bound(
    usable: set[int], policy: Versions
) -> None:
    loaded = wanted(usable, policy)
    assert loaded <= usable
    assert bool(loaded) == bool(usable)
    assert len(loaded) <= policy.keep + len(policy.pinned) + len(policy.labels) + 1
    if usable:
        assert max(usable) in loaded
        assert latest(loaded, policy) in loaded
