"""`skylane profile`: a reference for versions that lack one, beside them, which servers leave alone."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from skylane import reference as references
from skylane.cli import main as skylane
from skylane.convert.importing.version import ImportedVersion
from skylane.manifest import decode, verify_files
from skylane.policy import Policy
from skylane.reference import Reference
from skylane.server.repository.loader import load
from skylane.server.repository.scanner import survey
from support import graphs

FIXTURES = Path(__file__).parents[2] / "fixtures/0.1.0/models"
MODEL = "breast_cancer"


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """What 0.1.0 published."""
    return Path(shutil.copytree(FIXTURES, tmp_path / "models"))


@pytest.fixture
def rows(repository: Path, tmp_path: Path) -> Path:
    """Rows for it, with times and labels, over sixteen days."""
    manifest = decode((repository / MODEL / "1/manifest.json").read_bytes())
    random = np.random.default_rng(0)
    golden = np.array(manifest.golden.inputs["features"], np.float64)[random.integers(0, 8, 2000)]
    frame = pd.DataFrame(golden, columns=[column.name for column in manifest.columns])
    frame["at"] = pd.date_range("2026-03-01", periods=2000, freq=f"{16 * 86400 // 2000}s")
    frame["truth"] = random.choice(["benign", "malignant"], 2000)
    file = tmp_path / "rows.csv"
    frame.to_csv(file, index=False)
    return file


def read(directory: Path) -> Reference:
    found = references.read(directory, decode((directory / "manifest.json").read_bytes()).identity)
    assert found is not None
    return found


def test_a_version_of_0_1_0_gets_one_beside_it(
    repository: Path, rows: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["profile", f"{MODEL}/1", "--data", str(rows), "--time", "at", "--timezone", "UTC", "--target", "truth"]
    arguments += ["--models", str(repository)]
    assert skylane(arguments) == 0
    printed = capsys.readouterr().out
    assert "1.reference.json: 2,000 rows in 16 blocks" in printed
    assert "less than a year, so season and drift cannot be told apart" in printed
    directory = repository / MODEL / "1"
    found = read(directory)
    assert (found.blocks, found.rows) == (16, 2000)
    assert set(found.reliability) == {"benign", "malignant"}
    assert max(column.importance for column in found.columns.values()) > 0
    verify_files(directory)
    load(directory, MODEL, 1, Policy())
    seen = survey(repository)
    assert set(seen.models[MODEL].versions) == {1, 2}
    assert not seen.misplaced
    assert skylane(arguments) == 2
    assert "--replace" in capsys.readouterr().err
    assert skylane([*arguments, "--replace"]) == 0


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        pytest.param(["--time", "at"], "have no time zone", id="naive times"),
        pytest.param(["--time", "when"], "--time: there is no column 'when'", id="no such column"),
        pytest.param(["--target", "label"], "--target: there is no column 'label'", id="no such target"),
        pytest.param(["--block", "1y"], "expected a length such as 1d", id="no such length"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_written(
    repository: Path, rows: Path, changed: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert skylane(["profile", MODEL, "--data", str(rows), "--models", str(repository), *changed]) == 2
    assert words in capsys.readouterr().err
    assert not list((repository / MODEL).glob("*.reference.json"))


def test_rows_without_a_column_are_refused(repository: Path, rows: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pd.read_csv(rows).drop(columns="mean radius").to_csv(rows, index=False)
    assert skylane(["profile", MODEL, "--data", str(rows), "--models", str(repository)]) == 2
    assert "there is no column 'mean radius', which the model takes" in capsys.readouterr().err


def test_an_imported_graph_gets_one_by_the_places_of_its_inputs(
    importing: Callable[..., ImportedVersion], tmp_path: Path
) -> None:
    version = importing(graphs.affine(scale=2.0))
    spec: Any = decode((version.path / "manifest.json").read_bytes()).tensors[0]
    names = [str(place) for place in range(spec.shape[1])] if len(spec.shape) > 1 else [spec.name]
    file = tmp_path / "rows.csv"
    frame = pd.DataFrame({name: np.random.default_rng(0).normal(size=2000) for name in names})
    frame["at"] = 1.77e9 + np.arange(2000) * 600
    frame.to_csv(file, index=False)
    arguments = ["profile", "m/1", "--data", str(file), "--time", "at", "--models", str(tmp_path / "models")]
    assert skylane(arguments) == 0
    assert list(read(version.path).columns) == names
