"""By which policy a model is served: law and table, on real files."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skylane.policy import decode
from skylane.server.repository.policy_tracker import PolicyTracker
from skylane.server.repository.scanner import ModelOnDisk

GOOD = (b"", b"versions.latest = 1", b"versions.latest = 2")
BAD = b"versions.latest ="
STAMP = {1: ()}


def found(text: bytes | None) -> ModelOnDisk:
    """What a look finds; None: model.toml cannot be read."""
    return ModelOnDisk(STAMP, text or b"", policy_unreadable="" if text is not None else "Permission denied")


WORKERS = 3
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.sampled_from([*GOOD, BAD, None])),
        st.tuples(st.just("look"), st.integers(0, WORKERS - 1)),
        st.tuples(st.just("replace"), st.integers(0, WORKERS - 1)),
    ),
    max_size=30,
)


@given(STEPS)
def test_all_workers_come_to_serve_by_one_policy(steps: list[tuple[str, int | bytes | None]]) -> None:
    """Whatever is written, whoever misses what, and whoever is replaced; and it is one that was looked at."""
    with tempfile.TemporaryDirectory() as directory:
        workers = [PolicyTracker(Path(directory)) for _ in range(WORKERS)]
        text: bytes | None = b""
        known = set[str]()
        for what, value in steps:
            if what == "write":
                assert not isinstance(value, int)
                text = value
                continue
            assert isinstance(value, int)
            if what == "replace":
                workers[value] = PolicyTracker(Path(directory))
            known.add(str(workers[value].policy("m", found(text))))
        for _ in range(2):
            last = [worker.policy("m", found(text)) for worker in workers]
        assert last == [last[0]] * WORKERS
        if text in GOOD:
            assert last[0] == decode(text)
        else:
            assert str(last[0]) in known or not known


@pytest.mark.parametrize("shares", [False, True], ids=["alone", "one of several"])
def test_a_model_that_comes_again_is_another(tmp_path: Path, shares: bool) -> None:
    following = PolicyTracker(tmp_path if shares else None)
    following.policy("m", found(b"versions.latest = 2"))
    assert following.policy("m", found(BAD)) == decode(b"versions.latest = 2")
    following.forget("m")
    assert following.refused("m") == ""
    assert following.policy("m", found(BAD)) is None
    assert following.refused("m").startswith("model.toml: ")


def test_where_nothing_can_be_kept_for_others_a_worker_remembers_for_itself(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    following = PolicyTracker(tmp_path / "gone")
    following.policy("m", found(b"versions.latest = 2"))
    (line,) = caplog.messages
    assert line.startswith("m: its model.toml cannot be kept for other workers: ")
    assert following.policy("m", found(None)) == decode(b"versions.latest = 2")


def test_what_another_worker_kept_and_was_damaged_is_as_if_it_were_not_there(tmp_path: Path) -> None:
    PolicyTracker(tmp_path).policy("m", found(b"versions.latest = 2"))
    (file,) = (tmp_path / "policies").iterdir()
    file.write_bytes(BAD)
    assert PolicyTracker(tmp_path).policy("m", found(BAD)) is None
