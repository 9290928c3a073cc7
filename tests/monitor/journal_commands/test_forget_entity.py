"""Removing one person: from predictions and outcomes, hashed or not, while servers write, killed anywhere."""

import json
import os
import stat
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest

import skylane.journal as journal
from skylane import outcomes
from skylane.cli import main
from skylane.journal import JournalError, PredictionWriter, Reader, layout
from skylane.journal.hashing import hash_text, read_key
from skylane.journal.row_removal import exclusive
from skylane.monitor.journal_commands import forget_entity
from skylane.monitor.journal_commands.forget_entity import Report, Request
from skylane.outcomes.schema import SUBMISSION
from support.journals import MODEL, NOON, WRITER, capture, crashed, files, rows

AT = datetime.fromtimestamp(NOON, UTC)


def never() -> bool:
    raise AssertionError("there is nothing to wait for")


def forget(
    directory: Path,
    entity: str,
    model: str | None = MODEL,
    *,
    settle: Callable[[], None] = lambda: None,
    again: Callable[[], bool] = never,
) -> Report:
    (report,) = forget_entity.forget([directory], Request(entity, model, NOON + 1000, settle, again))
    return report


def tails(directory: Path) -> list[str]:
    return [str(each) for each in journal.read(directory, MODEL)["entity"].to_pylist()]


@pytest.fixture(autouse=True)
def no_settling(monkeypatch: pytest.MonkeyPatch) -> None:
    """Writers of these tests flush when the test says so."""
    monkeypatch.setattr(forget_entity, "SETTLE_S", 0)


@pytest.fixture
def writer(tmp_path: Path) -> PredictionWriter:
    return PredictionWriter(tmp_path / "journal", WRITER)


@pytest.fixture
def directory(writer: PredictionWriter) -> Path:
    """Eight calls about N1 and N2 by turns, in four closed segments, of which one has entities that are not hashed."""
    for number in range(4):
        what = capture(hash=[], keep=["*", "tail"]) if number == 1 else capture()
        writer.append(rows(2 * number + 1, (1, 1), tails=["N1", "N2"], what=what))
        writer.close(NOON + number)
    return writer.directory


def record(directory: Path, *keys: tuple[str | None, int | None, str | None]) -> None:
    """Outcomes with an id and a row, or with an entity."""
    store = outcomes.OutcomeStore(directory, lambda: NOON + 100, "b" * 16)
    table = pa.Table.from_pylist(
        [
            {
                "prediction_id": call, "row": row, "entity": entity, "event_at": None if entity is None else AT,
                "label": "late", "value": None, "happened_at": AT, "known_at": AT,
            }
            for call, row, entity in keys
        ],
        SUBMISSION,
    )  # fmt: skip
    (receipt,) = store.record([outcomes.Submission(MODEL, "test", table, {})])
    assert not isinstance(receipt, OSError)
    assert receipt.accepted == len(keys), receipt
    store.close()


def test_an_entity_is_removed_hashed_or_not_and_the_others_stay(directory: Path) -> None:
    report = forget(directory, "N1", None)
    assert (report.model, report.predictions, report.outcomes, report.segments) == (MODEL, 4, 0, 4)
    assert report.not_changed == ()
    assert len(tails(directory)) == 4
    assert b"N1" not in b"".join(path.read_bytes() for path in files(directory))
    again = forget(directory, "N1", None)
    assert (again.predictions, again.segments) == (0, 0)


def test_outcomes_of_the_removed_rows_and_of_the_entity_are_removed(directory: Path) -> None:
    record(directory, (f"{WRITER}-1", 0, None), (f"{WRITER}-2", 0, None), (None, None, "N1"), (None, None, "N2"))
    report = forget(directory, "N1", MODEL)
    assert (report.predictions, report.outcomes) == (4, 2)
    left = outcomes.read(directory, MODEL).to_pylist()
    assert [(row["prediction_id"], row["entity"]) for row in left] == [
        (f"{WRITER}-2", None),
        (None, hash_text(read_key(directory), "N2")),
    ]


def test_positions_of_readers_stay_valid(directory: Path, writer: PredictionWriter) -> None:
    writer.append(rows(9, (1,) * 4, tails=["N1", "N2", "N3", "N1"]))
    writer.flush(NOON + 5)
    early, late = Reader(directory, MODEL), Reader(directory, MODEL, rows_max=1)
    assert early.poll().rows == 12
    position = early.position
    assert late.poll().rows == 2
    writer.append(rows(20, (1,) * 2, tails=["N1", "N4"]))
    writer.close(NOON + 6)
    forget(directory, "N1", MODEL)
    rest = Reader(directory, MODEL, json.loads(json.dumps(position))).poll()
    assert rest.rows == 1
    assert rest.batches[0]["prediction_id"].to_pylist() == [f"{WRITER}-15"]
    count = 0
    while (polled := late.poll()).rows:
        count += polled.rows
    assert count == 6
    forget(directory, "N4", MODEL)
    assert Reader(directory, MODEL, position).poll().rows == 0


def test_a_server_that_writes_closes_its_segment_and_goes_on(directory: Path, writer: PredictionWriter) -> None:
    writer.append(rows(9, tails=["N1"]))
    writer.flush(NOON + 10)
    writer.append(rows(10, tails=["N1"]))  # captured before the request, and flushed after it

    def settle() -> None:
        for second in (11, 12):
            writer.append(rows(second, tails=["N2"]))
            writer.flush(NOON + second)

    report = forget(directory, "N1", settle=settle)
    assert (report.predictions, report.not_changed) == (6, ())
    assert len(tails(directory)) == 6
    writer.append(rows(13, tails=["N5"]))
    writer.flush(NOON + 13)
    assert len(tails(directory)) == 7


def test_a_call_that_was_captured_while_no_segment_was_open_is_removed(
    directory: Path, writer: PredictionWriter
) -> None:
    writer.append(rows(9, tails=["N1"]))

    def settle() -> None:
        writer.flush(NOON + 10)
        writer.flush(NOON + 11)

    assert forget(directory, "N1", settle=settle).predictions == 5


def test_a_call_after_the_request_is_neither_waited_for_nor_removed(directory: Path, writer: PredictionWriter) -> None:
    def settle() -> None:
        writer.flush(NOON + 1000)
        writer.flush(NOON + 1001)
        writer.append(rows(9, tails=["N1"], at=NOON + 1001))
        writer.flush(NOON + 1002)

    assert forget(directory, "N1", settle=settle).predictions == 4
    assert len(tails(directory)) == 5


def test_a_server_that_does_not_answer_is_reported(directory: Path, writer: PredictionWriter) -> None:
    writer.append(rows(9, tails=["N1"]))
    writer.flush(NOON + 10)
    report = forget(directory, "N1", MODEL, again=lambda: False)
    assert report.predictions == 4
    assert [Path(path).suffix for path in report.not_changed] == [".open"]


def test_segments_of_dead_servers_are_closed_first(directory: Path, writer: PredictionWriter, tmp_path: Path) -> None:
    writer.append(rows(9, tails=["N1"]))
    writer.flush(NOON + 10)
    image = crashed(directory, tmp_path / "image")
    report = forget(image, "N1", MODEL)
    assert report.predictions == 5
    assert len(tails(image)) == 4


def test_it_can_be_killed_between_any_two_files_and_run_again(directory: Path, tmp_path: Path) -> None:
    record(directory, (f"{WRITER}-1", 0, None), (f"{WRITER}-5", 0, None))
    for step in range(1, 12):
        image = crashed(directory, tmp_path / f"image{step}")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "fsync", killed_at(step))
            try:
                forget(image, "N1", MODEL)
            except KeyboardInterrupt:
                finished = False
            else:
                finished = True
        forget(image, "N1", MODEL)
        assert len(tails(image)) == 4
        assert outcomes.read(image, MODEL).num_rows == 0
        assert not files(image, layout.STAGING)
        if finished:
            break
    assert step > 4


def killed_at(step: int) -> Callable[[int], None]:
    calls = 0

    def fsync(descriptor: int) -> None:
        nonlocal calls
        calls += 1
        if calls == step:
            raise KeyboardInterrupt

    return fsync


def test_files_keep_their_mode_and_the_seal_is_for_the_owner(directory: Path, writer: PredictionWriter) -> None:
    writer.append(rows(9, tails=["N1"]))
    writer.flush(NOON + 10)
    forget(directory, "N1", MODEL, again=lambda: False)
    assert {stat.S_IMODE(path.stat().st_mode) for path in directory.rglob("*") if path.is_file()} == {0o600}


def test_two_at_once_are_refused(directory: Path) -> None:
    with exclusive(directory), pytest.raises(JournalError, match="another process is removing rows"):
        forget(directory, "N1")


def test_an_entity_without_rows_removes_nothing(directory: Path) -> None:
    before = {path: path.read_bytes() for path in files(directory, ".arrow")}
    report = forget(directory, "nobody", None)
    assert (report.predictions, report.segments) == (0, 0)
    assert {path: path.read_bytes() for path in files(directory, ".arrow")} == before


def test_the_command_says_how_many_rows_and_which_segments_are_left(
    directory: Path, writer: PredictionWriter, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["journal", "forget", "--entity", "N1", "--journal", str(directory)]) == 0
    assert f"{MODEL}: removed 4 predictions and 0 outcomes" in capsys.readouterr().out
    writer.append(rows(9, tails=["N1"]))
    writer.flush(NOON + 10)
    assert main(["journal", "forget", "--entity", "N1", "--journal", str(directory), "--wait-s", "0"]) == 1
    assert "1 open segments with such rows were not closed by their servers within 0 s" in capsys.readouterr().err


def test_a_model_without_entities_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    writer = PredictionWriter(tmp_path / "journal", WRITER)
    writer.append(rows(1, what=capture(entity=None)))
    writer.close(NOON)
    assert main(["journal", "forget", "--entity", "N1", "--journal", str(tmp_path / "journal")]) == 0
    assert 'write entity = "COLUMN" under [monitor] in flights/model.toml' in capsys.readouterr().out


def test_a_model_that_is_not_there_is_named(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["journal", "forget", "--entity", "N1", "--model", "wine", "--journal", str(directory)]) == 2
    assert "there is no model 'wine'; there are: flights" in capsys.readouterr().err
