"""The commands ls, show and export: what they print and write, and what they refuse."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest

import skylane.journal as journal
from skylane import outcomes
from skylane.cli import main
from skylane.journal import PredictionWriter
from skylane.monitor.journal_commands.exporting import training_set
from skylane.monitor.journal_commands.times import parse_time
from skylane.outcomes.schema import SUBMISSION
from support.journals import MODEL, NOON, WRITER, capture, rows
from support.written_journal import WrittenJournal


def at(second: float) -> datetime:
    return datetime.fromtimestamp(NOON + second, UTC)


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Twelve calls, one a second, of versions 3 and 4; the labels of the first eight were known 100 s later."""
    directory = tmp_path / "journal"
    writer = PredictionWriter(directory, WRITER)
    for second in range(12):
        what = capture(3 + second // 6)
        writer.append(
            rows(second + 1, at=NOON + second, what=what, request_ids=[f"r{second}"], tails=[f"N{second % 2}"])
        )
        writer.flush(NOON + second)
    store = outcomes.OutcomeStore(directory, lambda: NOON + 500, "b" * 16)
    table = pa.Table.from_pylist(
        [
            {
                "prediction_id": f"{WRITER}-{call:x}", "row": 0, "label": "late", "happened_at": at(50),
                "known_at": at(100 + call),
            }
            for call in range(1, 9)
        ],
        SUBMISSION,
    )  # fmt: skip
    store.record([outcomes.Submission(MODEL, "test", table, {})])
    store.close()
    monkeypatch.setenv("SKYLANE_JOURNAL", str(directory))
    monkeypatch.setenv("COLUMNS", "120")
    return directory


def run(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> str:
    """What the command prints; errors if it fails."""
    assert main(["journal", *arguments]) == code
    captured = capsys.readouterr()
    return captured.err if code else captured.out


def test_ls_lists_versions_and_their_sizes(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = run(capsys, "ls").splitlines()
    cells = [line.split() for line in lines if "flights/" in line]
    assert [cell[:5] for cell in cells] == [
        ["flights/3", "6", "1", "(1", "open)"], ["flights/4", "6", "1", "(1", "open)"],
    ]  # fmt: skip
    assert "2023-11-14 22:13:25" in lines[3]


@pytest.mark.parametrize("width", [80, 100, 120])
def test_tables_fit_the_terminal(
    directory: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    for arguments in (["ls"], ["ls", MODEL], ["show", MODEL]):
        text = run(capsys, *arguments)
        assert max(map(len, text.splitlines())) <= width
        assert "…" not in text


def test_ls_of_a_model_says_why_a_column_is_not_kept(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = run(capsys, "ls", MODEL)
    assert "it holds texts, which are kept only if [monitor] keep names 'carrier'" in text
    described = json.loads(run(capsys, "ls", MODEL, "--format", "json"))
    assert [each["rows"] for each in described] == [6, 6]
    assert described[0]["first_at"] == "2023-11-14T22:13:20.000001+00:00"


def test_show_prints_the_newest_rows_last(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = run(capsys, "show", MODEL, "--rows", "2", "--columns", "inputs.distance", "prediction_id")
    assert text.index(f"{WRITER}-b") < text.index(f"{WRITER}-c")
    assert "the newest 2 of 12 rows" in text
    described = json.loads(run(capsys, "show", MODEL, "--rows", "1", "--format", "json"))
    assert described[0]["inputs.distance"] == 12
    assert described[0]["inputs.delay"] is None
    assert described[0]["outputs.probabilities[1]"] == 0.75


@pytest.mark.parametrize(
    ("arguments", "calls"),
    [
        pytest.param(["--id", f"{WRITER}-a"], [10], id="by prediction id"),
        pytest.param(["--id", "r3"], [4], id="by the caller's request id"),
        pytest.param(["--entity", "N1", "--version", "4"], [8, 10, 12], id="by an entity that is hashed"),
        pytest.param(["--since", "2023-11-14T22:13:30Z"], [11, 12], id="by time"),
        pytest.param(["--id", "nothing"], [], id="none"),
    ],
)
def test_show_chooses_rows(
    directory: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], calls: list[int]
) -> None:
    shown = json.loads(run(capsys, "show", MODEL, "--format", "json", *arguments))
    assert [row["inputs.distance"] for row in shown] == calls


def test_brackets_in_values_are_no_markup(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    writer = PredictionWriter(directory, "c" * 16)
    writer.append(rows(1, request_ids=["[bold]x[/bold]"], at=NOON + 100))
    writer.flush(NOON + 100)
    assert "[bold]x[/bold]" in run(capsys, "show", MODEL, "--rows", "1")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        pytest.param(["show", MODEL, "--columns", "inputs.carrier"], 'keep = ["*", "carrier"] under [monitor]',
                     id="a column that was not kept"),
        pytest.param(["show", "wine"], "no predictions of 'wine'; it has flights", id="a model that is not there"),
        pytest.param(["ls", "--journal", "/nothing"], "/nothing: there is no such directory", id="no journal"),
        pytest.param(["export", MODEL, "--out", "x.txt"], "ends in .parquet, .arrow, .csv", id="another format"),
        pytest.param(["export", MODEL, "--out", "x.csv", "--labelled"], "--as-known", id="labels without an instant"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_named(
    directory: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], text: str
) -> None:
    assert text in run(capsys, *arguments, code=2)


def test_entities_need_a_line_of_the_policy(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    writer = PredictionWriter(directory, "c" * 16)
    writer.append(rows(1, what=capture(model="wine", entity=None)))
    writer.flush(NOON)
    text = run(capsys, "show", "wine", "--entity", "N1", code=2)
    assert 'write entity = "COLUMN" under [monitor] in wine/model.toml' in text


@pytest.mark.parametrize("suffix", [".parquet", ".arrow", ".csv"])
def test_an_export_has_every_row_and_replaces_no_file(
    directory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], suffix: str
) -> None:
    path = tmp_path / f"rows{suffix}"
    run(capsys, "export", MODEL, "--out", str(path))
    read: dict[str, Any] = {
        ".parquet": pa.parquet.read_table, ".csv": pa.csv.read_csv,
        ".arrow": lambda file: pa.ipc.open_file(file).read_all(),
    }  # fmt: skip
    assert read[suffix](path).num_rows == 12
    assert "exists; replace it with --force" in run(capsys, "export", MODEL, "--out", str(path), code=2)
    run(capsys, "export", MODEL, "--out", str(path), "--force", "--version", "3")
    assert read[suffix](path).num_rows == 6
    assert [each.name for each in tmp_path.iterdir() if each.name.startswith(".")] == []


def test_an_export_as_known_is_the_training_set_bit_for_bit_as_served(
    directory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "train.parquet"
    instant = at(104).isoformat()
    run(capsys, "export", MODEL, "--as-known", instant, "--labelled", "--out", str(path))
    table = pa.parquet.read_table(path)
    assert table["label"].to_pylist() == ["late"] * 4, "the others were not known yet"
    inputs = table["inputs"].combine_chunks()
    for name, served in rows(1, [1] * 4).inputs.items():
        if name in ("distance", "delay"):
            assert inputs.field(name).to_numpy(zero_copy_only=False).dtype == served.dtype
            assert inputs.field(name).to_numpy(zero_copy_only=False).tobytes() == served.tobytes()
    probabilities = table["outputs"].combine_chunks().field("probabilities").flatten().to_numpy()
    assert probabilities.dtype == np.float32


def test_a_training_set_has_no_row_that_was_served_later(directory: Path) -> None:
    joined = training_set(directory, MODEL, at(3), columns=["inputs.distance"])
    assert joined.table.schema.names == ["inputs", "label", "value", "known_at", "recorded_at"]
    assert joined.table["inputs"].combine_chunks().field("distance").to_pylist() == [1, 2, 3]
    assert joined.counts.labelled == 0
    assert journal.read(directory, MODEL).num_rows == 12


@pytest.fixture
def replayed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Four events of June 2013 that were served in 2023; the outcomes of the first two were known a day later."""
    written = WrittenJournal(tmp_path / "replayed", MODEL)
    times = [f"2013-06-0{day}T00:00:00Z" for day in range(1, 5)]
    outputs = {"label": ["late"] * 4, "probabilities": [[0.2, 0.8]] * 4}
    name = written.predict({"due": times, "distance": [1.0, 2.0, 3.0, 4.0]}, outputs, int(NOON * 1e6), event_time="due")
    known = [int(datetime(2013, 6, day, tzinfo=UTC).timestamp() * 1e6) for day in (2, 3)]
    written.record(name, ["late", "late"], known)
    written.close()
    monkeypatch.setenv("SKYLANE_JOURNAL", str(written.directory))
    return written.directory


@pytest.mark.parametrize(
    ("instant", "rows_known", "labelled"),
    [
        pytest.param("2013-06-01", 0, 0, id="not before its event"),
        pytest.param("2013-06-02", 1, 1, id="an outcome that was known at the instant"),
        pytest.param("2013-06-04", 3, 2, id="outcomes that are still to come"),
    ],
)
def test_as_known_goes_by_the_time_of_the_event(
    replayed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], instant: str, rows_known: int, labelled: int
) -> None:
    joined = training_set(replayed, MODEL, parse_time(instant, NOON))
    assert (joined.table.num_rows, joined.counts.labelled) == (rows_known, labelled)
    path = tmp_path / "train.parquet"
    run(capsys, "export", MODEL, "--as-known", instant, "--labelled", "--out", str(path))
    assert pa.parquet.read_table(path).num_rows == labelled


def test_show_chooses_by_the_time_of_the_event(replayed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    choice = ["--since", "2013-06-02", "--until", "2013-06-04"]
    shown = json.loads(run(capsys, "show", MODEL, "--format", "json", *choice))
    assert [row["inputs.distance"] for row in shown] == [2, 3]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        pytest.param(["export", "--as-known", "2013-05-01"], "4 rows are not before 2013-05-01 00:00:00 UTC; rows are "
                     "chosen by event_at, which is 2013-06-01 00:00:00 to 2013-06-04 00:00:00 UTC", id="too early"),
        pytest.param(["export", "--as-known", "2013-06-02", "--since", "2013-06-04", "--labelled"],
                     "3 rows are not before 2013-06-02 00:00:00 UTC and 3 rows are before 2013-06-04", id="two bounds"),
        pytest.param(["export", "--as-known", "2013-06-01T12:00Z", "--labelled"],
                     "1 row has no outcome known at 2013-06-01T12:00:00+00:00; 3 rows are not before", id="no labels"),
        pytest.param(["show", "--since", "2014-01-01"], "4 rows are before 2014-01-01", id="show"),
    ],
)  # fmt: skip
def test_where_no_row_is_left_it_is_said_why(
    replayed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    command, *more = arguments
    out = ["--out", str(tmp_path / "none.parquet")] if command == "export" else []
    assert main(["journal", command, MODEL, *more, *out]) == 0
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("2013-06-01", "2013-06-01T00:00:00+00:00", id="a date is midnight UTC"),
        pytest.param("2013-06-01T12:00+02:00", "2013-06-01T10:00:00+00:00", id="a zone"),
        pytest.param("12h", "2023-11-14T10:13:20+00:00", id="so long ago"),
    ],
)
def test_times(text: str, expected: str) -> None:
    assert parse_time(text, NOON).isoformat() == expected


@pytest.mark.parametrize("text", ["2013-06-01T12:00", "yesterday", "", "12", "999999999d"])
def test_times_that_are_none_are_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected a time .*such as"):
        parse_time(text, NOON)
