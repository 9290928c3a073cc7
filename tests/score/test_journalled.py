"""What another version would have answered: the rows of the journal, scored again."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from skylane.journal import Capture, PredictionWriter, Rows, treatments
from skylane.score.command import ALL_SCORED, UNUSABLE, main
from skylane.score.journalled import JournalReader

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
COLUMNS = {"a": False, "b": False, "s": True, "t": True}


def write(directory: Path, *, calls: int = 4, first: int = 1, version: int = 1, **policy: Any) -> None:
    """Two rows for each call, a minute apart."""
    policy = {"keep": ["*", "s", "t"]} | policy
    capture = Capture(model="mixed", version=version, columns=treatments(COLUMNS, **policy))
    numbers = np.arange(first, first + calls)
    rows = 2 * calls
    inputs = {
        "a": np.arange(rows, dtype=np.float32), "b": np.full(rows, np.nan, np.float32),
        "s": np.array(["x"] * rows, object), "t": np.array(["y"] * rows, object),
    }  # fmt: skip
    instants = [int(NOON.timestamp() * 1e6) + 60_000_000 * int(number) for number in numbers]
    writer = PredictionWriter(directory, f"{version:015x}{first % 16:x}")
    outputs = {"numbers_out": np.zeros((rows, 2), np.float32), "label": np.arange(rows)}
    counts = [2] * calls
    writer.append(
        Rows(capture=capture, calls=numbers, counts=counts, happened_at_us=instants, inputs=inputs, outputs=outputs)
    )
    writer.close(NOON.timestamp())


def scored(models_dir: Path, target: Path, journal: Path, *more: str, source: str = "journal:mixed") -> int:
    return main([source, str(target), "--models", str(models_dir), "--journal", str(journal), "--quiet", *more])


def test_every_row_is_scored_again_with_what_was_served_beside_it(small_models: Path, tmp_path: Path) -> None:
    write(tmp_path / "journal")
    assert scored(small_models, tmp_path / "then.parquet", tmp_path / "journal") == ALL_SCORED
    rows = parquet.read_table(tmp_path / "then.parquet").to_pylist()
    assert [row["numbers_out:0"] for row in rows] == list(range(8))
    assert [row["served:label"] for row in rows] == list(range(8))
    assert {row["served_version"] for row in rows} == {1}
    assert [row["row"] for row in rows] == [0, 1] * 4
    assert all(row["prediction_id"].endswith(f"-{number // 2 + 1:x}") for number, row in enumerate(rows))


def test_times_choose_rows(small_models: Path, tmp_path: Path) -> None:
    write(tmp_path / "journal")
    times = ("--since", "2026-11-01T12:02:00Z", "--until", "2026-11-01T13:04:00+01:00")
    assert scored(small_models, tmp_path / "then.parquet", tmp_path / "journal", *times) == ALL_SCORED
    assert parquet.read_table(tmp_path / "then.parquet")["a"].to_pylist() == [2.0, 3.0, 4.0, 5.0]


def test_several_journals_and_versions_are_one(small_models: Path, tmp_path: Path) -> None:
    write(tmp_path / "one")
    write(tmp_path / "two", version=2, calls=1)
    more = ("--journal", str(tmp_path / "two"), "--version", "1")
    assert scored(small_models, tmp_path / "then.parquet", tmp_path / "one", *more) == ALL_SCORED
    assert sorted(parquet.read_table(tmp_path / "then.parquet")["served_version"].to_pylist()) == [1] * 8 + [2] * 2


def test_a_journal_that_has_not_changed_is_not_scored_again(small_models: Path, tmp_path: Path) -> None:
    write(tmp_path / "journal")
    scored(small_models, tmp_path / "then.parquet", tmp_path / "journal")
    before = (tmp_path / "then.parquet").stat().st_mtime_ns
    scored(small_models, tmp_path / "then.parquet", tmp_path / "journal")
    assert (tmp_path / "then.parquet").stat().st_mtime_ns == before
    write(tmp_path / "journal", first=100)
    scored(small_models, tmp_path / "then.parquet", tmp_path / "journal")
    assert len(parquet.read_table(tmp_path / "then.parquet")) == 16


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        pytest.param({"keep": ["*"]}, 'write keep = ["*", "s"]', id="texts that were not kept"),
        pytest.param({"drop": ["a"]}, "'a' of mixed/1 is not in the journal", id="a column that was dropped"),
        pytest.param({"hash": ["s"]}, "'s' of mixed/1 is in the journal as a hash", id="a column that was hashed"),
    ],
)
def test_a_column_that_was_not_kept_is_named_with_the_line_that_keeps_it(
    small_models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], policy: dict[str, Any], message: str
) -> None:
    write(tmp_path / "journal", **policy)
    assert scored(small_models, tmp_path / "then.parquet", tmp_path / "journal") == UNUSABLE
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("source", "more", "message"),
    [
        pytest.param("journal:other", (), "no version of 'other'", id="another model"),
        pytest.param("journal:mixed", ("--model", "mixed@1", "--version", "1"), "beside --version", id="two versions"),
        pytest.param("journal:linear", ("--model", "mixed"), "no predictions of 'linear'", id="a model without rows"),
        pytest.param("in.parquet", ("--model", "mixed"), "for an input such as journal:", id="a journal for a file"),
    ],
)
def test_what_cannot_be_scored_is_explained(
    small_models: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    source: str,
    more: tuple[str, ...],
    message: str,
) -> None:
    write(tmp_path / "journal")
    assert scored(small_models, tmp_path / "out", tmp_path / "journal", *more, source=source) == UNUSABLE
    assert message in capsys.readouterr().err


def test_a_time_without_a_zone_is_refused(
    small_models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        scored(small_models, tmp_path / "out", tmp_path / "journal", "--since", "2026-11-01")
    assert "expected a time with a zone" in capsys.readouterr().err


def test_what_a_server_adds_while_it_is_scored_belongs_to_the_next_run(
    small_models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "journal")
    with monkeypatch.context() as patched:
        read = JournalReader.batches

        def batches(reader: JournalReader) -> Iterator[pa.RecordBatch]:
            write(tmp_path / "journal", first=5, version=2, calls=1)
            yield from read(reader)

        patched.setattr(JournalReader, "batches", batches)
        more = ("--version", "1")
        assert scored(small_models, tmp_path / "then.parquet", tmp_path / "journal", *more) == ALL_SCORED
    assert len(parquet.read_table(tmp_path / "then.parquet")) == 8
    assert scored(small_models, tmp_path / "then.parquet", tmp_path / "journal", *more) == ALL_SCORED
    assert len(parquet.read_table(tmp_path / "then.parquet")) == 10
