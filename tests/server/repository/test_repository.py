"""Repository: what is served after each change on disk. Real directories, a load that obeys the test."""

import errno
import logging
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from fakes import PlainBlock, call
from skylane.manifest import BrokenVersion, IncompleteVersion, OutputSpec, TensorSpec
from skylane.policy import Policy
from skylane.server.core.errors import ModelNotFound, StillLoading
from skylane.server.core.types import Array, Interface, Route
from skylane.server.engine.cost import CostModel
from skylane.server.engine.routes import Routes
from skylane.server.engine.served_version import LoadedModel, ServedVersion
from skylane.server.repository.background_loads import LoadLimits
from skylane.server.repository.repository import MISPLACED_LOGGED_MAX, Repository, State
from skylane.server.repository.scan_schedule import SETTLE_S
from skylane.server.repository.scanner import POLICY_BYTES_MAX

NEVER_WAITS = LoadLimits(slow_s=0.0, load_s_max=120.0)
WRITTEN = LoadLimits(slow_s=0.0, settle_s=2.0, written_s_max=10.0)


class Idle:
    """A runner that no test runs."""

    def run(self, inputs: Sequence[Array]) -> Sequence[Array]:
        """See Runner."""
        raise AssertionError("nothing runs here")


class Bench:
    """A repository on disk, the one that follows it, and what it did."""

    def __init__(self, root: Path, shared: Path | None = None, limits: LoadLimits = NEVER_WAITS) -> None:
        self.root = root
        self.now = self.wall_now = 0.0
        self.hanging: set[str] = set()
        """Versions whose load does not end until `let_end` says so."""
        self._hung: dict[str, Callable[[], None]] = {}
        self.repository = Repository(
            root,
            self.load,
            self.serve,
            shared,
            limits,
            start=self.start,
            clock=lambda: self.now,
            wall_clock=lambda: self.wall_now,
        )
        self.loads: list[tuple[str, int]] = []
        self.policies: list[Policy] = []
        self.faulty: dict[tuple[str, int], Exception] = {}
        self.routes = Routes()
        self.served = 0
        self.states_at_load: list[dict[int, State]] = []
        self.before_load: Callable[[str], object] = lambda name: None

    def load(self, directory: Path, name: str, version: int, policy: Policy) -> LoadedModel:
        """See Load."""
        assert directory == self.root / name / str(version)
        self.loads.append((name, version))
        self.policies.append(policy)
        self.states_at_load.append(self.states(name))
        self.before_load(name)
        if (name, version) in self.faulty:
            raise self.faulty[name, version]
        interface = Interface(
            name,
            version,
            (TensorSpec(name="x", dtype="float32", shape=(None, 1)),),
            (),
            (OutputSpec(name="y", dtype="float32", shape=(None, 1)),),
        )
        return LoadedModel(interface=interface, runner=Idle(), cost=CostModel([(1, 1e-5)]), empty=())

    def start(self, work: Callable[[], None], name: str) -> None:
        """See Start. What does not hang ends at once."""
        version = name.removeprefix("skylane-load-")
        if version in self.hanging:
            self._hung[version] = work
        else:
            work()

    def let_end(self, version: str) -> None:
        """What hung goes on, and ends."""
        self.hanging.discard(version)
        self._hung.pop(version)()

    def serve(self, routes: Routes) -> None:
        """What the engine is given."""
        self.routes, self.served = routes, self.served + 1

    def publish(self, name: str, version: int, content: str = "graph") -> None:
        directory = self.root / name / str(version)
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "model.onnx").write_text(content)

    def policy(self, name: str, text: str) -> None:
        (self.root / name / "model.toml").write_text(text)

    def breaks(self, name: str, version: int, why: str = "model.onnx: damaged") -> None:
        self.faulty[name, version] = BrokenVersion(why)

    def refresh(self) -> list[tuple[str, int]]:
        """Look at the disk; returns what was loaded, in order."""
        before = len(self.loads)
        self.repository.refresh()
        return self.loads[before:]

    def served_version(self, name: str, version: int | None = None, label: str | None = None) -> ServedVersion:
        return self.routes.served_version(Route(name, version, label))

    def answers(self, name: str) -> int | None:
        """The version that answers requests that name no version."""
        try:
            return self.served_version(name).model.interface.version
        except (ModelNotFound, StillLoading):
            return None

    def states(self, name: str) -> dict[int, State]:
        status = self.repository.status.get(name)
        return {version: each.state for version, each in status.versions.items()} if status else {}

    def reason(self, name: str, version: int) -> str:
        return self.repository.status[name].versions[version].reason


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Every line of the log."""
    return [record.getMessage() for record in caplog.records]


@pytest.fixture(autouse=True)
def _whole_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)


def busy(served_version: ServedVersion) -> PlainBlock:
    """Let something wait in the lane."""
    task = PlainBlock([call("a")])
    served_version.queue.add(task, 0.0)
    return task


# --- Versions --------------------------------------------------------------------------------------------------------


def test_at_first_the_newest_version_of_every_model_is_loaded(bench: Bench) -> None:
    for name, version in [("a", 1), ("a", 2), ("a", 10), ("b", 7)]:
        bench.publish(name, version)
    assert bench.refresh() == [("a", 10), ("b", 7)]
    assert (bench.answers("a"), bench.answers("b")) == (10, 7)
    assert bench.repository.refreshed
    assert {name: status.ready for name, status in bench.repository.status.items()} == {"a": True, "b": True}


def test_without_a_change_nothing_is_loaded_and_no_routes_are_given(bench: Bench) -> None:
    bench.publish("a", 1)
    bench.refresh()
    served = bench.served
    assert bench.refresh() == []
    assert bench.served == served


def test_a_new_version_takes_over_and_the_old_one_retires_until_it_is_idle(bench: Bench) -> None:
    bench.publish("a", 1)
    bench.refresh()
    task = busy(old := bench.served_version("a"))
    bench.publish("a", 2)
    assert bench.refresh() == [("a", 2)]
    assert bench.answers("a") == 2
    assert bench.states("a") == {2: State.READY, 1: State.RETIRING}
    bench.refresh()
    assert bench.states("a") == {2: State.READY, 1: State.RETIRING}, "it is still busy"
    assert old.queue.take(9.0).tasks == [task]
    bench.refresh()
    assert bench.states("a") == {2: State.READY}


def test_while_a_version_loads_it_says_so_and_the_old_one_serves(bench: Bench) -> None:
    bench.publish("a", 1)
    bench.refresh()
    bench.publish("a", 2)
    bench.refresh()
    assert bench.states_at_load == [{1: State.LOADING}, {2: State.LOADING, 1: State.READY}]


def test_a_broken_newest_version_is_refused_with_its_reason_and_the_old_one_serves_on(bench: Bench) -> None:
    bench.publish("a", 1)
    bench.refresh()
    served_version = bench.served_version("a")
    bench.publish("a", 2)
    bench.breaks("a", 2, "model.onnx: its SHA-256 differs")
    assert bench.refresh() == [("a", 2)]
    assert bench.served_version("a") is served_version
    assert bench.states("a") == {2: State.FAILED, 1: State.READY}
    assert bench.reason("a", 2) == "model.onnx: its SHA-256 differs"


def test_broken_at_the_first_start_the_newest_that_is_sound_serves(bench: Bench) -> None:
    for version in (1, 2, 3):
        bench.publish("a", version)
    bench.breaks("a", 3)
    bench.breaks("a", 2)
    assert bench.refresh() == [("a", 3), ("a", 2), ("a", 1)]
    assert bench.answers("a") == 1


def test_if_all_are_broken_the_model_does_not_serve_and_the_others_do(bench: Bench) -> None:
    bench.publish("a", 1)
    bench.publish("b", 1)
    bench.breaks("a", 1)
    bench.refresh()
    assert (bench.answers("a"), bench.answers("b")) == (None, 1)
    assert bench.repository.refreshed
    assert not bench.repository.status["a"].ready


def test_callers_hear_why_no_version_serves_for_as_long_as_none_does(bench: Bench) -> None:
    def heard() -> str:
        with pytest.raises(ModelNotFound) as refused:
            bench.served_version("a")
        return str(refused.value)

    bench.publish("b", 1)
    bench.refresh()
    assert heard() == "there is no model 'a': this server has b"
    for version in (1, 2):
        bench.publish("a", version)
        bench.breaks("a", version, f"broken {version}")
    bench.refresh()
    assert heard() == "no version of model 'a' serves: broken 2"
    shutil.rmtree(bench.root / "a" / "2")
    bench.refresh()
    assert heard() == "no version of model 'a' serves: broken 1"
    shutil.rmtree(bench.root / "a")
    bench.refresh()
    assert heard() == "there is no model 'a': this server has b"


def test_a_refused_version_is_tried_again_when_its_files_change_and_not_before(bench: Bench) -> None:
    bench.publish("a", 1)
    bench.breaks("a", 1)
    assert bench.refresh() == [("a", 1)]
    bench.faulty.clear()
    assert bench.refresh() == []
    bench.publish("a", 1, "a repaired graph")
    assert bench.refresh() == [("a", 1)]
    assert bench.states("a") == {1: State.READY}


def test_a_fault_of_ours_in_one_load_does_not_keep_the_others_from_serving(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    for name in "abc":
        bench.publish(name, 1)
    bench.faulty["b", 1] = ZeroDivisionError("nobody thought of that")
    bench.refresh()
    assert [bench.answers(name) for name in "abc"] == [1, None, 1]
    assert bench.reason("b", 1) == "it cannot be loaded: nobody thought of that"
    assert [record.exc_info is not None for record in caplog.records if record.levelno == logging.ERROR] == [True]


def test_a_removed_version_gives_way_to_the_one_before(bench: Bench) -> None:
    bench.publish("a", 1)
    bench.publish("a", 2)
    bench.refresh()
    shutil.rmtree(bench.root / "a" / "2")
    assert bench.refresh() == [("a", 1)]
    assert bench.answers("a") == 1


def test_a_removed_model_serves_no_longer_and_is_forgotten_once_idle(bench: Bench) -> None:
    bench.publish("a", 1)
    bench.publish("b", 1)
    bench.refresh()
    task = busy(served_version := bench.served_version("a"))
    shutil.rmtree(bench.root / "a")
    bench.refresh()
    assert (bench.answers("a"), bench.answers("b")) == (None, 1)
    assert bench.states("a") == {1: State.RETIRING}
    assert served_version.queue.take(9.0).tasks == [task]
    bench.refresh()
    assert list(bench.repository.status) == ["b"]


def test_the_log_says_why_a_model_serves_no_longer(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("a", "b"):
        bench.publish(name, 1)
        bench.policy(name, "batching.max_batch_rows = 7")
    bench.refresh()
    caplog.clear()
    shutil.rmtree(bench.root / "a")
    bench.repository.withheld = frozenset({"b"})
    bench.refresh()
    assert sorted(said(caplog)) == [
        "a/1 retires, its directory is gone: it finishes requests in flight",
        "b/1 retires, it is unloaded: it finishes requests in flight",
    ]


def test_a_removed_model_that_comes_back_is_loaded_again(bench: Bench) -> None:
    bench.publish("a", 1)
    bench.publish("b", 1)
    bench.refresh()
    shutil.rmtree(bench.root / "a")
    bench.refresh()
    bench.publish("a", 1)
    assert bench.refresh() == [("a", 1)]
    assert bench.answers("a") == 1


def test_a_serving_version_whose_files_are_touched_is_not_loaded_again(bench: Bench) -> None:
    bench.publish("a", 1)
    bench.refresh()
    bench.publish("a", 1, "published versions never change")
    assert bench.refresh() == []


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("a/.staging-2", id="a version that is still being written"),
        pytest.param("a/02", id="a number with a leading zero"),
        pytest.param("a/0", id="zero"),
        pytest.param("a/-2", id="a negative number"),
        pytest.param("a/2.0", id="no whole number"),
        pytest.param("a/1234567890123456789", id="a number beyond 64 bits"),
        pytest.param(".git/2", id="a hidden directory"),
        pytest.param("b/.staging-1", id="a model whose first version is still being written"),
        pytest.param("notes", id="a directory of something else"),
        pytest.param("no model!/1", id="a name that no model may have"),
    ],
)
def test_other_directories_are_none_of_its_business(bench: Bench, name: str) -> None:
    bench.publish("a", 1)
    (bench.root / name).mkdir(parents=True)
    assert bench.refresh() == [("a", 1)]
    assert {model: status.ready for model, status in bench.repository.status.items()} == {"a": True}


@pytest.mark.parametrize(
    ("path", "told"),
    [
        pytest.param("my model/1", "'my model' is ignored: expected a model's name: ", id="a name with a space"),
        pytest.param("a/v1", "'a/v1' is ignored: expected a version's number, as in a/1", id="a version with a letter"),
        pytest.param("a/01", "'a/01' is ignored: expected a version's number, as in a/1", id="a leading zero"),
        pytest.param("b", "'b' is ignored: it has no version, expected b/<number>/manifest.json", id="no version"),
        pytest.param("b/.staging-1", None, id="a version that is being written"),
        pytest.param(".git/objects", None, id="a hidden directory"),
        pytest.param("lost+found", None, id="what a file system makes"),
    ],
)
def test_what_an_operator_may_have_meant_as_a_model_is_warned_of_once(
    bench: Bench, caplog: pytest.LogCaptureFixture, path: str, told: str | None
) -> None:
    bench.publish("a", 1)
    (bench.root / path).mkdir(parents=True)
    for _ in range(3):
        bench.refresh()
    lines = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(lines) == (told is not None)
    assert not told or lines[0].startswith(f"models: {told}")
    shutil.rmtree(bench.root / Path(path).parts[0])
    bench.publish("a", 1)
    bench.refresh()
    (bench.root / path).mkdir(parents=True)
    bench.refresh()
    assert len([record for record in caplog.records if record.levelno == logging.WARNING]) == 2 * len(lines)


def test_of_very_many_only_so_many_are_named(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    for number in range(MISPLACED_LOGGED_MAX + 3):
        (bench.root / f"empty{number}").mkdir()
    bench.refresh()
    assert len(caplog.records) == MISPLACED_LOGGED_MAX + 1
    assert caplog.records[-1].getMessage() == "models: 3 more directories are ignored"


# --- Policy ----------------------------------------------------------------------------------------------------------


def test_a_change_of_batching_makes_new_lanes_without_a_load(bench: Bench) -> None:
    bench.publish("a", 1)
    bench.refresh()
    old = bench.served_version("a")
    bench.policy("a", "batching.max_batch_rows = 7")
    assert bench.refresh() == []
    assert bench.served_version("a") is not old
    assert bench.served_version("a").model is old.model
    assert bench.served_version("a").policy.max_batch_rows == 7


def test_a_change_of_the_cache_makes_new_lanes_without_a_load(bench: Bench) -> None:
    bench.publish("a", 1)
    bench.refresh()
    assert bench.served_version("a").cache is None
    bench.policy("a", "cache.enabled = true")
    assert bench.refresh() == []
    assert bench.served_version("a").cache is not None


def test_a_change_of_the_session_loads_anew_and_the_old_lane_serves_meanwhile(bench: Bench) -> None:
    bench.publish("a", 1)
    bench.refresh()
    old, served = bench.served_version("a"), bench.served
    bench.policy("a", "session.intra_op_threads = 2")
    assert bench.refresh() == [("a", 1)]
    assert bench.policies[-1].session.intra_op_threads == 2
    assert bench.served_version("a").model is not old.model
    assert bench.served == served + 1, "never without a route in between"


def test_a_session_that_cannot_be_made_leaves_the_old_one_serving(bench: Bench) -> None:
    bench.publish("a", 1)
    bench.refresh()
    old = bench.served_version("a")
    bench.breaks("a", 1)
    bench.policy("a", "session.intra_op_threads = 2")
    for _ in range(2):
        bench.refresh()
        assert bench.served_version("a") is old
        told = bench.repository.status["a"].versions[1]
        assert told.state is State.READY
        assert told.reason.startswith("it serves on with the session options from before, since it cannot be loaded")


def test_a_policy_that_cannot_be_read_changes_nothing_and_is_logged_once(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.publish("a", 1)
    bench.policy("a", "batching.max_batch_rows = 7")
    bench.refresh()
    served_version = bench.served_version("a")
    bench.policy("a", "batching.max_batch_rows = 'many'")
    for _ in range(3):
        assert bench.refresh() == []
    assert bench.served_version("a") is served_version
    (told,) = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert told.startswith("a: model.toml: [batching] max_batch_rows: expected a whole number, received text")
    bench.policy("a", "batching.max_batch_rows = 9")
    bench.refresh()
    assert bench.served_version("a").policy.max_batch_rows == 9


def test_a_policy_that_is_not_followed_is_told_of_until_it_is(bench: Bench) -> None:
    bench.publish("a", 1)
    bench.refresh()
    assert (bench.reason("a", 1), bench.repository.status["a"].policy_refused) == ("", "")
    bench.policy("a", "latest = 1")
    for _ in range(2):
        bench.refresh()
        why = (
            "model.toml: unknown section or key 'latest'; did you mean [versions] latest? "
            "(known: [batching], [cache], [session], [versions], [monitor]); "
            "if a later release of skylane introduced it, upgrade the server"
        )
        assert bench.repository.status["a"].policy_refused == why
        assert bench.states("a") == {1: State.READY}
        assert bench.reason("a", 1) == f"it serves by the last policy that could be used: {why}"
    bench.policy("a", "")
    bench.refresh()
    assert (bench.reason("a", 1), bench.repository.status["a"].policy_refused) == ("", "")


def test_a_policy_whose_file_cannot_be_read_changes_nothing_and_new_versions_are_followed(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.publish("a", 1)
    bench.policy("a", "batching.max_batch_rows = 7")
    bench.refresh()
    (bench.root / "a" / "model.toml").unlink()
    (bench.root / "a" / "model.toml").mkdir()
    bench.publish("a", 2)
    for _ in range(2):
        bench.refresh()
    assert (bench.answers("a"), bench.served_version("a").policy.max_batch_rows) == (2, 7)
    (told,) = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert told == (
        "a: model.toml: it cannot be read: Is a directory; it is served by the last model.toml that could be used"
    )


def test_a_model_whose_first_policy_cannot_be_used_is_not_served_before_it_can(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    """By the defaults the newest would answer, which may be the one that an operator rolled back."""
    for version in (1, 2, 3):
        bench.publish("a", version)
    bench.publish("b", 1)
    bench.policy("a", "versions.latest = '2'")
    assert bench.refresh() == [("b", 1)]
    why = "model.toml: [versions] latest: expected a whole number, received text"
    assert bench.states("a") == {3: State.FAILED}
    assert bench.reason("a", 3) == f"not loaded, since it is not known which is to serve: {why}"
    assert f"a: {why}; it is not served until it can be" in said(caplog)
    bench.publish("a", 4)
    assert bench.refresh() == []
    assert bench.states("a") == {4: State.FAILED}
    bench.policy("a", "versions.latest = 2")
    assert bench.refresh() == [("a", 4), ("a", 2)]
    assert bench.answers("a") == 2


def test_a_worker_that_takes_the_place_of_another_serves_by_the_same_policy(tmp_path: Path) -> None:
    root, shared = tmp_path / "models", tmp_path / "shared"
    shared.mkdir()
    first = Bench(root, shared)
    first.publish("a", 1)
    first.publish("a", 2)
    first.policy("a", "versions.latest = 1")
    first.refresh()
    first.policy("a", "versions.latest =")
    first.refresh()
    second = Bench(root, shared)
    second.refresh()
    assert (first.answers("a"), second.answers("a")) == (1, 1), "the roll-back is kept"
    assert second.reason("a", 1).startswith("it serves by the last policy that could be used: model.toml: ")


def test_without_its_file_a_policy_is_the_default_again(bench: Bench) -> None:
    bench.publish("a", 1)
    bench.policy("a", "batching.max_batch_rows = 7")
    bench.refresh()
    (bench.root / "a" / "model.toml").unlink()
    bench.refresh()
    assert bench.served_version("a").policy == Policy().batching


def test_a_label_is_followed_at_once_even_if_nothing_needs_loading(bench: Bench) -> None:
    bench.publish("a", 1)
    bench.publish("a", 2)
    bench.policy("a", "versions.keep = 2")
    bench.refresh()
    bench.policy("a", "versions.keep = 2\nversions.labels.stable = 1")
    assert bench.refresh() == []
    assert bench.served_version("a", label="stable").model.interface.version == 1
    assert bench.repository.status["a"].labels == {"stable": 1}


def test_a_roll_back_is_followed_at_once_even_if_nothing_needs_loading(bench: Bench) -> None:
    bench.publish("a", 1)
    bench.publish("a", 2)
    bench.policy("a", "versions.keep = 2")
    bench.refresh()
    bench.policy("a", "versions.keep = 2\nversions.latest = 1")
    assert bench.refresh() == []
    assert bench.answers("a") == 1


@pytest.mark.parametrize(
    ("versions", "loaded", "answers"),
    [
        pytest.param("", [3], 3, id="the newest alone"),
        pytest.param("keep = 2", [2, 3], 3, id="two of the newest"),
        pytest.param("pinned = [1]", [1, 3], 3, id="one pinned"),
        pytest.param("latest = 2", [2, 3], 2, id="rolled back"),
        pytest.param("latest = 9", [3], 3, id="rolled back to what does not exist"),
        pytest.param("labels = { stable = 1, gone = 9 }", [1, 3], 3, id="labels, one of nothing"),
    ],
)
def test_the_policy_says_what_is_loaded(bench: Bench, versions: str, loaded: list[int], answers: int) -> None:
    for version in (1, 2, 3):
        bench.publish("a", version)
    bench.policy("a", f"[versions]\n{versions}")
    assert sorted(version for _, version in bench.refresh()) == loaded
    assert bench.answers("a") == answers
    bench.policy("a", "")
    bench.refresh()
    assert bench.answers("a") == 3
    assert [v for v, state in bench.states("a").items() if state is State.READY] == [3], "the others retire"


def test_a_label_of_a_version_that_is_broken_is_not_routed(bench: Bench) -> None:
    bench.publish("a", 1)
    bench.publish("a", 2)
    bench.breaks("a", 1)
    bench.policy("a", "versions.labels.stable = 1")
    bench.refresh()
    with pytest.raises(ModelNotFound, match="the version of label 'stable', 1, of model 'a' was refused"):
        bench.served_version("a", label="stable")


# --- Disks that fail -------------------------------------------------------------------------------------------------


def test_while_the_root_cannot_be_read_everything_serves_on(
    bench: Bench, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bench.publish("a", 1)
    bench.refresh()
    moved = tmp_path.with_name("moved")
    tmp_path.rename(moved)
    for _ in range(3):
        bench.refresh()
        assert bench.answers("a") == 1
    assert len([record for record in caplog.records if record.levelno == logging.ERROR]) == 1, "logged once"
    moved.rename(tmp_path)
    bench.publish("a", 2)
    for _ in range(2):
        bench.refresh()
    assert bench.answers("a") == 2
    assert said(caplog).count(f"models: {tmp_path} can be read again, and is followed") == 1


def test_a_root_that_was_never_read_is_not_a_finished_start(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "nowhere")
    bench.refresh()
    assert not bench.repository.refreshed


def test_a_model_that_cannot_be_read_serves_on_and_its_neighbours_are_followed(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.publish("a", 1)
    bench.publish("b", 1)
    bench.refresh()
    bench.publish("a", 2)
    endless = bench.root / "a" / "2" / "endless"
    endless.symlink_to(endless)
    bench.publish("b", 2)
    for _ in range(3):
        bench.refresh()
    assert (bench.answers("a"), bench.answers("b")) == (1, 2)
    assert len([record for record in caplog.records if record.levelno == logging.ERROR]) == 1, "logged once"
    endless.unlink()
    bench.refresh()
    assert bench.answers("a") == 2
    assert said(caplog).count("a: it can be read again, and is followed") == 1


# --- Loads that take long, or never end ------------------------------------------------------------------------------


def test_a_load_that_does_not_end_is_named_and_the_other_models_are_followed(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    for name in "abc":
        bench.publish(name, 1)
    bench.hanging.add("b/1")
    bench.refresh()
    assert [bench.answers(name) for name in "abc"] == [1, None, 1]
    assert bench.states("b") == {1: State.LOADING}
    assert not bench.repository.refreshed, "what was there at the start is not all loaded"
    (told,) = [line for line in said(caplog) if line.startswith("b/1")]
    expected = "it continues in the background, and other models are updated meanwhile"
    assert told == f"b/1: its load has not ended after 0 s; {expected}"
    bench.publish("c", 2)
    assert bench.refresh() == [("c", 2)]
    assert bench.answers("c") == 2
    bench.let_end("b/1")
    assert bench.repository.is_stale(1000.0)
    bench.refresh()
    assert (bench.answers("b"), bench.repository.refreshed) == (1, True)


def test_a_load_that_has_not_ended_after_its_time_is_refused_and_an_older_version_serves(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.publish("a", 1)
    bench.publish("a", 2)
    bench.hanging.add("a/2")
    bench.refresh()
    bench.now = 119.0
    assert bench.refresh() == [("a", 1)]
    assert bench.states("a") == {2: State.LOADING, 1: State.READY}
    bench.now = 120.0
    assert bench.refresh() == []
    assert bench.states("a") == {2: State.FAILED, 1: State.READY}
    assert bench.reason("a", 2) == "its load has not ended after 120 s"
    assert bench.repository.refreshed
    bench.refresh()
    assert said(caplog).count("a/2 refused: its load has not ended after 120 s") == 1
    bench.let_end("a/2")
    assert bench.repository.is_stale(1000.0), "a disk that answers again changes no file"
    bench.refresh()
    assert bench.answers("a") == 2


def test_while_the_newest_version_takes_long_to_load_and_none_serves_an_older_one_is_loaded(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    for version in (1, 2, 3):
        bench.publish("a", version)
    bench.hanging.add("a/3")
    bench.refresh()
    bench.now = 14.0
    assert bench.refresh() == []
    bench.repository.is_stale(0.0)
    assert not bench.repository.is_stale(SETTLE_S)
    bench.now = 15.0
    assert bench.repository.is_stale(SETTLE_S)
    assert bench.refresh() == [("a", 2)]
    assert bench.answers("a") == 2
    assert bench.states("a") == {3: State.LOADING, 2: State.READY}
    expected = "a/3: its load has not ended after 15 s: until it has, other versions may serve"
    assert said(caplog).count(expected) == 1
    assert not bench.repository.is_stale(SETTLE_S), "it is reported once"
    bench.let_end("a/3")
    bench.refresh()
    assert bench.states("a") == {3: State.READY, 2: State.RETIRING}


def test_while_a_new_version_takes_long_to_load_those_before_serve_on(bench: Bench) -> None:
    bench.publish("a", 1)
    bench.refresh()
    served_version = bench.served_version("a")
    bench.publish("a", 2)
    bench.hanging.add("a/2")
    for _ in range(2):
        bench.refresh()
        assert bench.served_version("a") is served_version
        assert bench.states("a") == {2: State.LOADING, 1: State.READY}
    bench.let_end("a/2")
    bench.refresh()
    assert bench.states("a") == {2: State.READY, 1: State.RETIRING}


def test_while_new_session_options_take_long_those_from_before_serve_on(bench: Bench) -> None:
    bench.publish("a", 1)
    bench.refresh()
    served_version = bench.served_version("a")
    bench.hanging.add("a/1")
    bench.policy("a", "session.intra_op_threads = 2\nbatching.max_batch_rows = 7")
    bench.refresh()
    assert (bench.served_version("a").model, bench.served_version("a").policy.max_batch_rows) == (
        served_version.model,
        7,
    )
    bench.let_end("a/1")
    bench.refresh()
    assert bench.served_version("a").model is not served_version.model


def test_what_was_loaded_by_session_options_from_before_is_loaded_anew(bench: Bench) -> None:
    bench.publish("a", 1)
    bench.hanging.add("a/1")
    bench.refresh()
    bench.policy("a", "session.intra_op_threads = 2")
    bench.let_end("a/1")
    assert bench.refresh() == [("a", 1)]
    assert bench.policies[-1].session.intra_op_threads == 2
    assert bench.answers("a") == 1


def test_what_a_load_makes_of_files_that_have_changed_meanwhile_is_not_served(bench: Bench) -> None:
    bench.publish("a", 1)
    bench.hanging.add("a/1")
    bench.refresh()
    bench.publish("a", 1, "another graph")
    bench.hanging.clear()
    assert bench.refresh() == [("a", 1)]
    served_version = bench.served_version("a")
    bench.let_end("a/1")
    bench.refresh()
    assert bench.served_version("a") is served_version


def test_a_model_that_goes_while_it_loads_is_forgotten(bench: Bench) -> None:
    bench.publish("a", 1)
    bench.publish("b", 1)
    bench.hanging.add("a/1")
    bench.refresh()
    shutil.rmtree(bench.root / "a")
    bench.refresh()
    assert (list(bench.repository.status), bench.repository.refreshed) == (["b"], True)


def test_so_many_loads_hang_at_most(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench(tmp_path, limits=LoadLimits(slow_s=0.0, background_max=2))
    for name in "abcd":
        bench.publish(name, 1)
        bench.hanging.add(f"{name}/1")
    for _ in range(2):
        bench.refresh()
    assert [bench.states(name) for name in "abcd"] == [{1: State.LOADING}, {1: State.LOADING}, {}, {}]
    full = "models: no version is loaded until one of the 2 loads in progress ends"
    assert said(caplog).count(full) == 1
    bench.hanging.clear()
    bench.let_end("a/1")
    bench.refresh()
    assert [bench.answers(name) for name in "abcd"] == [1, None, 1, 1]


# --- Versions that are being written ---------------------------------------------------------------------------------


@pytest.fixture
def writing(tmp_path: Path) -> Bench:
    """Whose versions are not whole, as while they are copied, and were changed at this instant of the wall clock."""
    bench = Bench(tmp_path, limits=WRITTEN)
    bench.publish("a", 1)
    bench.wall_now = (bench.root / "a" / "1" / "model.onnx").stat().st_ctime
    bench.faulty["a", 1] = IncompleteVersion("model.onnx: its SHA-256 differs")
    return bench


def test_a_version_that_is_being_written_is_tried_once_while_it_changes_and_is_no_error(
    writing: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    assert writing.refresh() == [("a", 1)]
    for step in range(1, 30):
        writing.publish("a", 1, "more " * step)
        writing.now = step
        assert writing.refresh() == [], "it is not read while it changes"
    assert writing.states("a") == {1: State.LOADING}
    assert writing.reason("a", 1) == "it is being written: model.onnx: its SHA-256 differs"
    assert [(record.levelno, record.getMessage()) for record in caplog.records] == [
        (
            logging.INFO,
            "a/1 is being written (model.onnx: its SHA-256 differs), and is loaded when it is complete",
        )
    ]
    writing.faulty.clear()
    writing.now += 1
    assert writing.refresh() == []
    writing.now += 1
    assert writing.refresh() == [("a", 1)], "it has been still for two seconds"
    assert writing.answers("a") == 1


def test_a_version_that_stays_half_written_is_refused_after_a_while(
    writing: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    writing.refresh()
    for writing.now in (1.0, 5.0, 9.0):
        assert writing.refresh() == []
        assert writing.repository.is_stale(1000.0), "it is looked for although nothing changes"
    writing.now = 11.0
    assert writing.refresh() == [], "it is known to be broken"
    assert writing.states("a") == {1: State.FAILED}
    assert said(caplog)[-1] == "a/1 refused: model.onnx: its SHA-256 differs"
    assert not writing.repository.is_stale(1010.0)


def test_a_version_that_was_written_long_ago_is_refused_at_once(writing: Bench) -> None:
    writing.wall_now += 11.0
    writing.refresh()
    assert writing.states("a") == {1: State.FAILED}


def test_a_version_whose_sums_are_right_is_refused_at_once_however_new_it_is(writing: Bench) -> None:
    writing.breaks("a", 1, "golden rows: output 'y' differs")
    writing.refresh()
    assert writing.states("a") == {1: State.FAILED}


def test_a_refused_version_that_is_mended_with_its_size_and_times_as_before_is_tried_again(bench: Bench) -> None:
    """As `rsync -t` does."""
    bench.publish("a", 1, "graph")
    path = bench.root / "a" / "1" / "model.onnx"
    os.utime(path, ns=(1, 1))
    bench.breaks("a", 1)
    bench.refresh()
    bench.faulty.clear()
    now = settled(bench)
    path.write_text("GRAPH")
    os.utime(path, ns=(1, 1))
    assert bench.repository.is_stale(now)
    assert bench.refresh() == [("a", 1)]


# --- What is suddenly gone -------------------------------------------------------------------------------------------


def empty_root(bench: Bench) -> None:
    for path in bench.root.iterdir():
        shutil.rmtree(path)


def empty_models(bench: Bench) -> None:
    for name in "ab":
        shutil.rmtree(bench.root / name / "1")


@pytest.mark.parametrize(
    ("lose", "marks"),
    [
        pytest.param(empty_root, [".empty"], id="the whole repository is empty, as where a volume is not mounted"),
        pytest.param(empty_models, ["a/.empty", "b/.empty"], id="each model is, as where each is a volume"),
    ],
)
def test_what_is_suddenly_empty_serves_on_until_it_comes_back_or_is_meant(
    bench: Bench, caplog: pytest.LogCaptureFixture, lose: Callable[[Bench], None], marks: list[str]
) -> None:
    for name in "ab":
        bench.publish(name, 1)
    bench.refresh()
    served_versions = [bench.served_version(name) for name in "ab"]
    for _ in range(2):
        caplog.clear()
        lose(bench)
        for _ in range(2):
            bench.refresh()
            assert [bench.served_version(name) for name in "ab"] == served_versions
        errors = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
        assert len(errors) == len(marks), "logged once"
        assert ".empty" in errors[0]
        assert all(status.unfollowed and status.ready for status in bench.repository.status.values())
        for name in "ab":
            bench.publish(name, 1)
        assert bench.refresh() == []
        assert not any(status.unfollowed for status in bench.repository.status.values())
    lose(bench)
    for mark in marks:
        (bench.root / mark).touch()
    bench.refresh()
    assert [bench.answers(name) for name in "ab"] == [None, None]


def test_models_that_go_while_others_stay_are_meant_to_go(bench: Bench) -> None:
    for name in "abc":
        bench.publish(name, 1)
    bench.refresh()
    for name in "ab":
        shutil.rmtree(bench.root / name)
    bench.refresh()
    assert [bench.answers(name) for name in "abc"] == [None, None, 1]


def test_what_was_unloaded_may_go_from_an_empty_repository(bench: Bench) -> None:
    bench.publish("a", 1)
    bench.refresh()
    bench.repository.withheld = frozenset({"a"})
    bench.refresh()
    shutil.rmtree(bench.root / "a")
    bench.refresh()
    assert list(bench.repository.status) == []


# --- Links, pipes and what is too large ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("link", "target", "warned"),
    [
        pytest.param("out", "{outside}", "'out' is ignored: it is a link that leaves the repository", id="a model"),
        pytest.param("a/2", "{outside}", "'a/2' is ignored: it is a link that leaves", id="a version"),
        pytest.param("in", "{root}/.store/b", None, id="a model inside"),
        pytest.param("a/2", "../.store/b/1", None, id="a version inside"),
        pytest.param("loop", "loop", None, id="a link to itself is nothing"),
    ],
)
def test_links_are_followed_inside_of_the_repository_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, link: str, target: str, warned: str | None
) -> None:
    bench, outside = Bench(tmp_path / "models"), tmp_path / "outside"
    bench.publish("a", 1)
    bench.publish(".store/b", 1)
    shutil.copytree(bench.root / ".store" / "b", outside)
    (bench.root / link).symlink_to(target.format(outside=outside, root=bench.root))
    for _ in range(2):
        bench.refresh()
    warnings = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(warnings) == (warned is not None)
    assert not warned or warned in warnings[0]
    served = {name: bench.answers(name) for name in bench.routes.models}
    assert served == {"a": 1} | ({} if warned or link == "loop" else {"in": 1} if link == "in" else {"a": 2})


def test_the_repository_itself_may_be_a_link(tmp_path: Path) -> None:
    Bench(tmp_path / "real").publish("a", 1)
    (tmp_path / "models").symlink_to("real")
    bench = Bench(tmp_path / "models")
    bench.refresh()
    assert bench.answers("a") == 1


@pytest.mark.parametrize(
    ("make", "why"),
    [
        pytest.param(os.mkfifo, "it is a pipe, a socket or a device, expected a regular file", id="a pipe"),
        pytest.param(
            lambda path: path.write_bytes(b"#" * (POLICY_BYTES_MAX + 1)),
            "it has 65537 bytes, expected 65536 at most",
            id="too large",
        ),
        pytest.param(
            lambda path: path.symlink_to("/etc/hosts"), "it is a link that leaves the repository", id="a link"
        ),
    ],
)
def test_a_policy_that_is_no_file_of_a_sane_size_is_refused_unread(
    bench: Bench, make: Callable[[Path], object], why: str
) -> None:
    bench.publish("a", 1)
    make(bench.root / "a" / "model.toml")
    bench.refresh()
    assert f"model.toml: it cannot be read: {why}" in bench.repository.status["a"].policy_refused


def test_what_callers_hear_of_a_fault_has_no_path_of_the_server(bench: Bench) -> None:
    bench.publish("a", 1)
    bench.faulty["a", 1] = PermissionError(errno.EACCES, "Permission denied", str(bench.root))
    bench.refresh()
    assert bench.reason("a", 1) == "it cannot be loaded: Permission denied"


@pytest.mark.parametrize(
    ("path", "told"),
    [
        pytest.param("plain.onnx", "'plain.onnx' is ignored: `skylane import /", id="a bare file"),
        pytest.param("b/model.onnx", "'b' is ignored: it has a plain ONNX file: make", id="a model without a version"),
        pytest.param("b/config.pbtxt", "-imported`", id="a model of Triton"),
        pytest.param("b/saved_model.pb", "TensorFlow SavedModel", id="a SavedModel"),
    ],
)
def test_what_another_tool_wrote_is_warned_of_with_the_command_that_imports_it(
    bench: Bench, caplog: pytest.LogCaptureFixture, path: str, told: str
) -> None:
    (bench.root / path).parent.mkdir(exist_ok=True)
    (bench.root / path).touch()
    bench.refresh()
    (warning,) = [record.getMessage() for record in caplog.records]
    assert told in warning


# --- Whether to look -------------------------------------------------------------------------------------------------


def test_what_stays_as_it_is_is_not_looked_into(bench: Bench) -> None:
    bench.publish("a", 1)
    bench.refresh()
    assert bench.repository.is_stale(0.0)
    assert not bench.repository.is_stale(SETTLE_S)


def settled(bench: Bench) -> float:
    """An instant at which the repository has seen all that is there."""
    bench.refresh()
    for now in (0.0, SETTLE_S):
        bench.repository.is_stale(now)
    return SETTLE_S


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda bench: bench.publish("b", 1), id="a model comes"),
        pytest.param(lambda bench: (bench.root / "b").mkdir(), id="a model's directory comes, still empty"),
        pytest.param(lambda bench: bench.publish("empty", 1), id="a model without versions gets its first"),
        pytest.param(lambda bench: bench.publish("a", 2), id="a version comes"),
        pytest.param(lambda bench: shutil.rmtree(bench.root / "a"), id="a model goes"),
        pytest.param(lambda bench: bench.policy("a", "[cache]\nenabled = true\n"), id="a policy comes"),
        pytest.param(lambda bench: bench.publish("bad", 1, "mended"), id="a refused version is mended in place"),
        pytest.param(lambda bench: shutil.rmtree(bench.root), id="the whole repository goes"),
    ],
)
def test_what_changes_is_looked_into(bench: Bench, change: Callable[[Bench], object]) -> None:
    bench.publish("a", 1)
    bench.publish("bad", 1)
    bench.breaks("bad", 1)
    (bench.root / "empty").mkdir()
    now = settled(bench)
    change(bench)
    assert bench.repository.is_stale(now)


def test_a_version_that_still_finishes_is_looked_for_until_it_has(bench: Bench) -> None:
    bench.publish("a", 1)
    bench.refresh()
    waiting = busy(bench.served_version("a"))
    retiring = bench.served_version("a")
    bench.publish("a", 2)
    now = settled(bench)
    assert bench.repository.is_stale(now)
    assert retiring.queue.take(now).tasks == [waiting]
    assert not bench.repository.is_stale(settled(bench) + 1)


def test_a_worker_that_is_slow_to_load_does_not_bring_back_a_policy_that_others_have_left(tmp_path: Path) -> None:
    """It has read the older one, loads another model, and comes to this one when the others follow the newer."""
    root, shared = tmp_path / "models", tmp_path / "shared"
    shared.mkdir()
    slow, quick = Bench(root, shared), Bench(root, shared)
    for version in (1, 2):
        slow.publish("m", version)
    slow.policy("m", "versions.latest = 2")
    quick.refresh()
    slow.publish("large", 1)

    def rolled_back_meanwhile(name: str) -> None:
        if name == "large":
            slow.policy("m", "versions.latest = 1")
            quick.refresh()

    slow.before_load = rolled_back_meanwhile
    slow.refresh()
    slow.policy("m", "versions.latest =")
    quick.refresh()
    assert quick.routes.models["m"].latest == 1
