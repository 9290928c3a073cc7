"""The command line: exit codes, and messages that a person likes."""

import json
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skops.io

from skylane.convert.command import main

Saved = tuple[Path, Path]


@pytest.fixture
def command(saved: Saved, tmp_path: Path) -> Callable[..., int]:
    """The command on the saved pipeline and rows, with more arguments."""
    pipeline, rows = saved

    def run(*arguments: str) -> int:
        return main(
            [str(pipeline), "--name", "m", "--data", str(rows), "--models", str(tmp_path / "models"), *arguments]
        )

    return run


def test_publishing_shows_steps_candidates_and_where_it_is(
    command: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("--target", "outcome", "--metric", "auc=0.75", "--training", __file__) == 0
    said = capsys.readouterr()
    assert "m: exporting the graph" in said.err
    assert "float32 ←" in said.out
    assert len(re.findall("0 of [0-9]+ nodes can", said.out)) == 2, "one line for all not tried, one sentence"
    assert "int8: no gain here" in said.out
    assert re.search(r"accuracy on the held-out rows: (0\.\d{4}) by scikit-learn, \1 by float32", said.out)
    assert "in common" not in said.out
    assert f"m: published as version 1 in {tmp_path}" in said.out.replace("\n", "")
    lineage = json.loads((tmp_path / "models/m/1/manifest.json").read_text())["lineage"]
    assert lineage["metrics"] == {"auc": 0.75}
    assert len(lineage["data_sha256"]) == 64


def test_a_target_of_other_labels_is_worth_a_note(
    saved: Saved, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pipeline, rows = saved
    arguments = [str(pipeline), "--name", "m", "--data", str(rows), "--target", "other", "--models", str(tmp_path)]
    rows.write_text("\n".join(f"{line},{'no' if at else 'other'}" for at, line in enumerate(rows.read_text().split())))
    assert main(arguments) == 0
    assert "the target's values (no) and the pipeline's labels (leaves, stays) have none in common" in " ".join(
        capsys.readouterr().out.split()
    )


def test_publishing_again_says_that_it_is_there(
    command: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("--target", "outcome") == 0
    assert command("--target", "outcome") == 0
    assert "unchanged: the same content is already published as version 1" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        pytest.param(["--target", "nope"], 2, "there is no column 'nope'", id="no such target"),
        pytest.param(["--name", "../up"], 2, "is not a valid model name", id="a name that is a path"),
        pytest.param(
            ["--training", "nope.csv"], 2, "nope.csv: the rows cannot be read: No such", id="no training data"
        ),
        pytest.param(["--training", "nope.bin"], 2, "nope.bin: cannot be read: No such file", id="nor of unknown kind"),
        pytest.param(["--quantize", "require"], 4, "impossible here: 0 of", id="quantization of what has no weights"),
        pytest.param(["--tolerance", "exact"], 0, "", id="exact, which doubles or trees may reach"),
        pytest.param(["--models", "/dev/null"], 6, "was not published", id="a repository that cannot be"),
    ],
)
def test_exit_codes(
    command: Callable[..., int], arguments: list[str], code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(*arguments) == code
    said = capsys.readouterr().err
    assert message in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(["--metric", "auc"], "expected NAME=VALUE", id="a metric without a value"),
        pytest.param(["--tolerance", "loose"], "tolerance 'loose' is not known", id="an unknown tolerance"),
        pytest.param(["--data", "x.csv"], "for training data use --training", id="held-out rows twice"),
        pytest.param(["--batches", "0"], "a batch has 1 to 65536 rows, not 0", id="a batch of no rows"),
    ],
)
def test_wrong_arguments(
    command: Callable[..., int], arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        command(*arguments)
    assert left.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "trust", "code", "message"),
    [
        pytest.param(b"garbage", [], 3, "pass --trust if you know who made this file", id="a strange file"),
        pytest.param(b"garbage", ["--trust"], 2, "not a usable pickle or joblib file", id="a strange file, trusted"),
        pytest.param(pickle.dumps(1), ["--trust"], 2, "it holds a int, not a scikit-learn", id="no estimator"),
    ],
)
def test_strange_files(
    saved: Saved, tmp_path: Path, content: bytes, trust: list[str], code: int, message: str, capfd: Any
) -> None:
    path = tmp_path / "strange.pkl"
    path.write_bytes(content)
    assert main([str(path), "--name", "m", "--data", str(saved[1]), *trust]) == code
    assert message in capfd.readouterr().err


def test_no_rows(saved: Saved, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(saved[0]), "--name", "m", "--data", str(tmp_path / "nope.csv")]) == 2
    assert "nope.csv: the rows cannot be read: No such file" in capsys.readouterr().err


def test_an_array_pipeline_from_an_npz_file(linear: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pipeline, rows = tmp_path / "p.skops", tmp_path / "r.npz"
    skops.io.dump(linear.estimator, pipeline)
    np.savez(rows, X=linear.rows, y=linear.target)
    arguments = [str(pipeline), "--name", "m", "--data", str(rows), "--explain", "--models", str(tmp_path / "models")]
    assert main(arguments) == 0
    assert (tmp_path / "models/m/1/model.onnx").exists()
    said = " ".join(capsys.readouterr().out.split())
    assert "input float" in said, "the graph is explained"
    assert "time counts 50% for batches of 1 row and 50% for batches of 64 rows" in said


def test_help_fits_a_terminal_and_explains_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["--help"])
    assert left.value.code == 0
    said = capsys.readouterr().out
    assert said.startswith("usage: skylane convert [-h]")
    assert "pickle or joblib with --trust" in said.replace("\n", " ").replace("  ", "")
    assert "exit codes: 0 published" in said
    assert max(map(len, said.splitlines())) <= 100
