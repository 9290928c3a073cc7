"""`skylane bench tune` as it is called: a real search that cannot end well, what is written, and what is refused."""

import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from skylane.bench.figures import Spread
from skylane.bench.lab.tune.outcome import result_text, tuned, write
from skylane.bench.lab.tune.policies import OWN, Candidate, Change
from skylane.bench.lab.tune.record import TuneRun
from skylane.bench.lab.tune.search import GENERATOR, LAST_ROUNDS, Result
from skylane.cli import main
from skylane.policy import Batching, Policy, decode

Call = Callable[..., tuple[int, str, str]]
TWO = Candidate((Change("batching", "instances", 2),))
OLD, NEW = Spread(100.0, 90.0, 110.0, 4), Spread(150.0, 140.0, 160.0, 4)


@pytest.fixture
def tune(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Call:
    """Runs the command in a folder of its own; gives the exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, str, str]:
        try:
            code = main(["bench", "tune", *arguments])
        except SystemExit as end:
            code = int(end.code or 0)
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


def test_a_search_over_two_real_servers_that_settles_nothing_changes_nothing(
    tune: Call, small_models: Path, tmp_path: Path
) -> None:
    """One measurement in a search is no search: nothing may be called better, whatever it says."""
    shutil.copytree(small_models / "linear", tmp_path / "mine" / "linear")
    policy = tmp_path / "mine" / "linear" / "model.toml"
    policy.write_text("# Mine.\n[batching]\nmax_batch_rows = 64\n")
    code, out, err = tune(
        "--models", "mine", "--model", "linear", "--target-p99-ms", "20", "--keys", "target_p99_ms",
        "--seconds", "0.1", "--steps", "1", "--write",
    )  # fmt: skip
    assert code == 0
    assert "Keep what you have" in out
    assert "stage 3 of 3" in err
    assert policy.read_text() == "# Mine.\n[batching]\nmax_batch_rows = 64\n"
    assert sorted(path.name for path in policy.parent.iterdir()) == ["1", "model.toml"]
    (path,) = (tmp_path / "bench-results").glob("tune-linear-*.json")
    found = msgspec.json.decode(path.read_bytes(), type=TuneRun)
    assert not found.written
    assert found.after_toml is None
    last = [trial for trial in found.trials if trial.stage == 3]
    assert {trial.policy for trial in last} == {"as it is", "target_p99_ms = 20"}
    assert len(last) == 2 * LAST_ROUNDS
    assert all(step.answered == step.sent > 0 for trial in found.trials for step in trial.steps)


def test_what_is_better_is_written_with_its_evidence_at_once(tmp_path: Path) -> None:
    path = tmp_path / "model.toml"
    before = "# Mine.\n\n[batching]\ninstances = 1 # one\n"
    path.write_text(before)
    after = tuned(before, Result(best=TWO, rates=NEW, runner=TWO, own=OLD, why=""), Policy(), "150/s, not 100/s.")
    assert after is not None
    write(after, path)
    assert decode(path.read_bytes()) == Policy(batching=Batching(instances=2))
    assert path.read_text() == (
        "# Mine.\n# Tuned by `skylane bench tune`:\n#   150/s, not 100/s. Before, instances was 1.\n\n"
        "[batching]\ninstances = 2 # one\n"
    )
    assert list(tmp_path.iterdir()) == [path]


def test_where_nothing_is_better_there_is_nothing_to_write() -> None:
    assert tuned("", Result(best=None, rates=NEW, runner=TWO, own=OLD, why="so"), Policy(), "evidence") is None


@pytest.mark.parametrize(
    ("result", "words"),
    [
        pytest.param(
            Result(best=TWO, rates=NEW, runner=TWO, own=OLD, why="", ratio=Spread(1.5, 1.3, 1.7, 6)),
            "instances = 2: 150/s (140/s to 160/s) with a p99 of at most 20 ms, where it was 100/s (90/s to 110/s) "
            "before: 1.50 × as much (1.30 to 1.70 in searches side by side).",
            id="better",
        ),
        pytest.param(
            Result(best=None, rates=NEW, runner=TWO, own=OLD, why="nothing won every search"),
            "Keep what you have: 100/s (90/s to 110/s) with a p99 of at most 20 ms; nothing won every search. "
            "The best of the others, instances = 2, came to 150/s (140/s to 160/s).",
            id="not better",
        ),
        pytest.param(
            Result(best=None, rates=None, runner=None, own=Spread(100.0, 100.0, 100.0, 1), why=GENERATOR),
            "Keep what you have: at least 100/s with a p99 of at most 20 ms; the generator is the limit for it, so "
            "that nothing can be shown to be better.",
            id="not known",
        ),
        pytest.param(
            Result(best=TWO, rates=NEW, runner=OWN, own=Spread(0.0, 0.0, 0.0, 4), why=""),
            "instances = 2: 150/s (140/s to 160/s) with a p99 of at most 20 ms, where no rate was kept before.",
            id="better than nothing",
        ),
    ],
)
def test_result_text(result: Result, words: str) -> None:
    assert result_text(result, 20.0) == words


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param(("--model", "linear"), ("--target-p99-ms",), id="no target"),
        pytest.param(("--model", "nobody", "--target-p99-ms", "5"), ("nobody", "linear, mixed, touchy"), id="no model"),
        pytest.param(
            ("--model", "linear", "--target-p99-ms", "5", "--keys", "speed"), ("speed", "instances"), id="no such key"
        ),
        pytest.param(
            ("--model", "linear", "--target-p99-ms", "5", "--keys", "max_mb"), ("max_mb", "--data"), id="no repeats"
        ),
    ],
)
def test_what_cannot_be_done_is_said(
    arguments: tuple[str, ...], words: tuple[str, ...], tune: Call, small_models: Path
) -> None:
    code, _, err = tune("--models", str(small_models), *arguments)
    assert code == 2
    assert all(word in err for word in words), err


def test_a_model_toml_that_is_refused_is_named_before_anything_is_measured(
    tune: Call, small_models: Path, tmp_path: Path
) -> None:
    shutil.copytree(small_models / "linear", tmp_path / "mine" / "linear")
    (tmp_path / "mine" / "linear" / "model.toml").write_text("[batching]\ninstances = 0\n")
    code, _, err = tune("--models", "mine", "--model", "linear", "--target-p99-ms", "5")
    assert code == 2
    assert "model.toml" in err
    assert "instances" in err
