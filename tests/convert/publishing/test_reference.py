"""References: written into the version when the times are given, read back with it, and tolerated where unknown."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from skylane import reference as references
from skylane.convert import BadRows, Published, convert_pipeline
from skylane.convert.command import main as convert
from skylane.convert.importing.copying import main as copy
from skylane.manifest import BrokenVersion, decode, verify_files
from skylane.policy import Policy
from skylane.reference import DAY_S, NumberReference, Reference, TextReference
from skylane.server.repository.loader import load

DAYS = 20


def times(rows: int) -> "pd.Series[Any]":
    """Spread over the days, in a zone."""
    return pd.Series(pd.date_range("2026-03-01", periods=rows, freq=f"{DAYS * 86400 // rows}s", tz="UTC"))


def training_of(mixed: Any) -> pd.DataFrame:
    rows: pd.DataFrame = mixed.rows
    return pd.concat([rows] * 8, ignore_index=True)


def read(path: Path) -> Reference:
    """As the monitor reads it."""
    found = references.read(path, decode((path / "manifest.json").read_bytes()).identity)
    assert found is not None
    return found


def test_a_version_carries_the_reference_of_its_training_rows(publish_to: Callable[..., Published], mixed: Any) -> None:
    training = training_of(mixed)
    path = publish_to(mixed, training=training, times=times(len(training)), target=mixed.target).path
    verify_files(path)
    assert "reference.json" in (path / "SHA256SUMS").read_text()
    load(path, "model", 1, Policy())
    found = read(path)
    assert (found.of, found.rows, found.blocks, found.block_s) == ("training", len(training), DAYS, DAY_S)
    age, city, income = (found.columns[name] for name in ("age", "city", "income"))
    assert isinstance(age, NumberReference)
    assert isinstance(city, TextReference)
    assert (age.step, age.offset) == (1.0, 0.0)
    assert set(city.counts) == {"Bern", "Köln", "Oslo"}
    assert income.own["missing"].largest < 0.2
    assert found.answers.keys() == {"label", "probabilities:leaves", "probabilities:stays"}
    assert found.columns["plan"].importance > city.importance, "the plan decides, the city does not"
    reliability = found.reliability["stays"]
    assert sum(reliability.rows) == len(mixed.rows)
    truth = sum(rows * share for rows, share in zip(reliability.rows, reliability.observed, strict=True))
    assert truth == pytest.approx((mixed.target == "stays").sum())


def test_without_times_there_is_none(publish_to: Callable[..., Published], mixed: Any) -> None:
    path = publish_to(mixed).path
    assert not (path / "reference.json").exists()
    assert references.read(path, "any") is None


def test_the_same_content_with_times_gets_its_reference_beside_it(
    publish_to: Callable[..., Published], mixed: Any
) -> None:
    first = publish_to(mixed)
    again = publish_to(mixed, times=times(len(mixed.rows)))
    assert (again.created, again.path) == (False, first.path)
    assert first.path.with_name("1.reference.json").exists()
    assert read(first.path).of == "held-out"
    verify_files(first.path)


def test_a_copy_keeps_it(publish_to: Callable[..., Published], mixed: Any, tmp_path: Path) -> None:
    path = publish_to(mixed, times=times(len(mixed.rows))).path
    assert copy(["model/1", "other", "--models", str(tmp_path / "models")]) == 0
    assert read(tmp_path / "models/other/1") == read(path)


def test_the_command_takes_the_column_of_times(saved: tuple[Path, Path], mixed: Any, tmp_path: Path) -> None:
    pipeline, rows = saved
    training = training_of(mixed)
    file = tmp_path / "training.csv"
    training.assign(at=times(len(training)).dt.tz_localize(None)).to_csv(file, index=False)
    arguments = [str(pipeline), "--name", "m", "--data", str(rows), "--target", "outcome", "--training", str(file)]
    arguments += ["--models", str(tmp_path / "models"), "--time", "at"]
    assert convert(arguments) == 2, "times without a zone"
    assert not (tmp_path / "models/m").exists()
    assert convert([*arguments, "--timezone", "UTC", "--block", "2d"]) == 0
    found = read(tmp_path / "models/m/1")
    assert found.blocks in (DAYS // 2, DAYS // 2 + 1)
    assert found.block_s == 2 * DAY_S


@pytest.mark.parametrize(
    ("given", "words"),
    [
        pytest.param("when", "there is no column 'when' to take the times from", id="no such column"),
        pytest.param(np.arange(3) * 86400 + 1.7e9, "there are 3 times for 300 rows", id="too few"),
        pytest.param(["2026-05-03 12:00"] * 300, "have no time zone", id="naive"),
    ],
)
def test_wrong_times_are_refused_before_any_work(mixed: Any, given: Any, words: str) -> None:
    with pytest.raises(BadRows, match=words):
        convert_pipeline(None, mixed.rows, times=given)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        pytest.param(
            {"identity": "0" * 64}, "it belongs to a version with the identity 000000000000…", id="of another"
        ),
        pytest.param({"later": 1}, "upgrade skylane here", id="of a later release"),
        pytest.param({"block_s": 0}, "block_s", id="nonsense"),
    ],
)
def test_a_file_that_is_not_of_this_version_is_refused(
    publish_to: Callable[..., Published], mixed: Any, changed: dict[str, Any], words: str
) -> None:
    path = publish_to(mixed, times=times(len(mixed.rows))).path
    content = json.loads((path / "reference.json").read_bytes()) | changed
    path.with_name("1.reference.json").write_text(json.dumps(content))
    with pytest.raises(BrokenVersion, match=words):
        read(path)


def test_a_damaged_file_is_refused_by_the_sums(publish_to: Callable[..., Published], mixed: Any) -> None:
    path = publish_to(mixed, times=times(len(mixed.rows))).path
    file = path / "reference.json"
    file.chmod(0o644)
    file.write_bytes(file.read_bytes().replace(b'"rows"', b'"Rows"', 1))
    with pytest.raises(BrokenVersion, match="its SHA-256 is"):
        read(path)
