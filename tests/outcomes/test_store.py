"""Outcomes on disk: recorded, repeated, corrected, dropped; by several processes and after a crash."""

import errno
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from skylane import journal, outcomes
from skylane.journal import Capture, Column, PredictionWriter, Rows, layout
from skylane.journal.columns import Treatment
from skylane.outcomes import Submission
from skylane.outcomes.recorded import CORRECTIONS_MAX, RecordedOutcomes
from skylane.outcomes.recorder import table_of
from skylane.outcomes.schema import SUBMISSION
from skylane.outcomes.store import OutcomeStore, Receipt

NOW = datetime(2013, 7, 1, 18, tzinfo=UTC)


class Clock:
    """Time that the test sets."""

    def __init__(self) -> None:
        self.at = NOW

    def __call__(self) -> float:
        return self.at.timestamp()


def call(number: int) -> str:
    return f"9f2c1a7be04d5538-{number:x}"


def submission(
    *labels: str, model: str = "flights", sender: str = "airline", first: int = 1, **fields: Any
) -> Submission:
    columns: dict[str, list[Any]] = {name: [fields.get(name)] * len(labels) for name in SUBMISSION.names}
    columns |= {"prediction_id": [call(first + place) for place in range(len(labels))], "label": list(labels)}
    return Submission(model, sender, table_of(columns), {})


def record(store: OutcomeStore, *submissions: Submission) -> Receipt:
    receipts = store.record(submissions)
    assert isinstance(receipts[-1], Receipt)
    return receipts[-1]


def labels(directory: Path, model: str = "flights", **instants: datetime) -> list[str]:
    found: list[str] = outcomes.read(directory, model, **instants)["label"].to_pylist()
    return found


def test_what_is_recorded_is_read_before_the_store_is_closed(tmp_path: Path) -> None:
    store = OutcomeStore(tmp_path, Clock())

    assert record(store, submission("1", "0")) == Receipt(accepted=2, unknown=2)
    assert labels(tmp_path) == ["1", "0"]

    store.close()
    assert labels(tmp_path) == ["1", "0"]


def test_several_submissions_are_one_batch_for_each_model(tmp_path: Path) -> None:
    store = OutcomeStore(tmp_path, Clock())

    receipts = store.record([submission("1"), submission("0", model="other"), submission("0", first=2)])

    assert [receipt.accepted for receipt in receipts if isinstance(receipt, Receipt)] == [1, 1, 1]
    assert (labels(tmp_path), labels(tmp_path, "other")) == (["1", "0"], ["0"])
    assert len(layout.segments(tmp_path / "outcomes" / "flights")) == 1


def test_files_are_for_their_owner_alone(tmp_path: Path) -> None:
    record(OutcomeStore(tmp_path / "journal", Clock()), submission("1"))

    modes = {path.is_dir(): stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "journal").rglob("*")}
    assert modes == {True: 0o700, False: 0o600}


def test_the_same_again_is_repeated_and_something_else_corrects(tmp_path: Path) -> None:
    clock = Clock()
    store = OutcomeStore(tmp_path, clock)
    record(store, submission("1", "0"))
    clock.at += timedelta(hours=1)

    receipt = record(store, submission("1", "1"))

    assert (receipt.accepted, receipt.repeated, receipt.corrected) == (2, 1, 1)
    assert labels(tmp_path) == ["1", "1"]
    assert labels(tmp_path, known_by=NOW) == labels(tmp_path, recorded_by=NOW) == ["1", "0"]


def test_a_process_that_starts_anew_knows_what_is_recorded(tmp_path: Path) -> None:
    record(OutcomeStore(tmp_path, Clock()), submission("1", "0"))

    receipt = record(OutcomeStore(tmp_path, Clock()), submission("1", "1"))

    assert (receipt.repeated, receipt.corrected) == (1, 1)


def test_the_instant_of_recording_never_goes_back(tmp_path: Path) -> None:
    clock = Clock()
    record(OutcomeStore(tmp_path, clock), submission("1"))
    clock.at -= timedelta(days=1)

    record(OutcomeStore(tmp_path, clock), submission("0", first=2, known_at=None))

    first, second = outcomes.read(tmp_path, "flights")["recorded_at"].to_pylist()
    assert first < second


def test_several_processes_record_at_once(tmp_path: Path) -> None:
    one, other = OutcomeStore(tmp_path, Clock()), OutcomeStore(tmp_path, Clock())

    record(one, submission("1"))
    record(other, submission("0", first=2))
    record(one, submission("1", first=3))

    assert labels(tmp_path) == ["1", "0", "1"]


def test_dropping_a_sender_undoes_its_outcomes_and_no_earlier_report(tmp_path: Path) -> None:
    clock = Clock()
    store = OutcomeStore(tmp_path, clock)
    record(store, submission("1"), submission("0", first=2, sender="rogue"))
    clock.at += timedelta(hours=1)

    store.drop("flights", "rogue")

    assert labels(tmp_path) == ["1"]
    assert labels(tmp_path, recorded_by=NOW + timedelta(minutes=1)) == ["1", "0"]


def test_dropping_since_an_instant_leaves_what_was_recorded_before(tmp_path: Path) -> None:
    clock = Clock()
    store = OutcomeStore(tmp_path, clock)
    record(store, submission("1"))
    clock.at += timedelta(hours=1)
    record(store, submission("0"))

    store.drop("flights", "airline", NOW + timedelta(minutes=30))

    assert labels(tmp_path) == ["1"]


def test_the_same_segment_in_two_directories_is_read_once(tmp_path: Path) -> None:
    record(OutcomeStore(tmp_path / "a", Clock()), submission("1"))
    (tmp_path / "b" / "outcomes").mkdir(parents=True)
    (tmp_path / "b" / "outcomes" / "flights").symlink_to(tmp_path / "a" / "outcomes" / "flights")

    assert len(outcomes.read_log([tmp_path / "a", tmp_path / "b"], "flights")) == 1


def test_ids_of_writers_in_the_journal_are_known(tmp_path: Path) -> None:
    directory = tmp_path / "predictions" / "flights"
    directory.mkdir(parents=True)
    name = layout.segment_name(NOW.timestamp(), call(1)[:16], 1)
    (directory / f"{name}{layout.OPEN}").touch()

    assert record(OutcomeStore(tmp_path, Clock()), submission("1")).unknown == 0


def test_unknown_ids_of_a_sender_are_bounded(tmp_path: Path) -> None:
    store = OutcomeStore(tmp_path, Clock(), recorded=RecordedOutcomes(unknown_max=2))

    receipt = record(store, submission("1", "1", "1"))
    other = record(store, submission("1", first=9, sender="other"))

    assert (receipt.accepted, receipt.refused, receipt.refusals[0].index) == (2, 1, 2)
    assert receipt.refusals[0].reason == (
        "prediction_id: expected the id of a prediction made here; 2 unknown ids of this sender are recorded already"
    )
    assert other.accepted == 1


def test_corrections_of_an_outcome_are_bounded(tmp_path: Path) -> None:
    store = OutcomeStore(tmp_path, Clock())
    for number in range(CORRECTIONS_MAX + 1):
        assert record(store, submission(f"{number}")).accepted == 1

    receipt = record(store, submission("one more", "0"))

    assert (receipt.accepted, receipt.refused) == (1, 1)
    assert receipt.refusals[0].reason == (
        f"label, value: expected at most {CORRECTIONS_MAX} corrections of an outcome, received another one"
    )
    assert labels(tmp_path) == [f"{CORRECTIONS_MAX}", "0"]


def test_what_is_remembered_is_bounded(tmp_path: Path) -> None:
    store = OutcomeStore(tmp_path, Clock(), recorded=RecordedOutcomes(keys_max=2))
    record(store, submission("1", "1", "1"))

    assert record(store, submission("1", first=3)).repeated == 1
    assert record(store, submission("1", first=1)).repeated == 0


def test_a_disk_that_refuses_acknowledges_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = OutcomeStore(tmp_path, Clock())
    record(store, submission("1"))

    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("skylane.journal.segment_writer.SegmentWriter.write", full)
        (failed,) = store.record([submission("0", first=2)])
    assert isinstance(failed, OSError)

    assert record(store, submission("0", first=2)).accepted == 1
    assert labels(tmp_path) == ["1", "0"]


@pytest.mark.parametrize("model", ["", "..", "a/b", "../flights"])
def test_a_text_that_is_no_models_name_is_refused(tmp_path: Path, model: str) -> None:
    with pytest.raises(ValueError, match="model: expected the name of a model"):
        OutcomeStore(tmp_path, Clock()).record([submission("1", model=model)])


def test_a_batch_is_synced_once_for_each_model_before_it_is_acknowledged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, synced = OutcomeStore(tmp_path, Clock()), list[str]()
    monkeypatch.setattr("skylane.journal.segment_writer.sync_file", lambda _: synced.append("file"))
    monkeypatch.setattr("skylane.outcomes.store._sync_directory", lambda directory: synced.append(directory.name))

    store.record([submission("1"), submission("0", first=2), submission("0", model="other")])

    assert synced == ["file", "flights", "file", "other"]


@pytest.mark.parametrize("treatment", ["kept", "hashed"])
def test_entities_are_recorded_as_the_journal_has_them(tmp_path: Path, treatment: Treatment) -> None:
    capture = Capture(model="flights", version=1, columns=(Column("tail", treatment),), entity="tail")
    inputs, outputs = {"tail": np.array(["N14228", "N2"], object)}, {"label": np.array([0, 1])}
    writer = PredictionWriter(tmp_path, call(1)[:16])
    writer.append(Rows(capture=capture, calls=[1], counts=[2], happened_at_us=0, inputs=inputs, outputs=outputs))
    writer.close(NOW.timestamp())
    store = OutcomeStore(tmp_path, Clock())
    fields: dict[str, list[Any]] = {"entity": ["N14228"], "event_at": [0], "label": ["1"]}

    table = table_of({name: [None] for name in SUBMISSION.names} | fields)
    assert record(store, Submission("flights", "airline", table, {})).accepted == 1

    predictions = journal.read(tmp_path, "flights")
    (recorded,) = outcomes.read(tmp_path, "flights")["entity"].to_pylist()
    assert recorded == predictions["entity"].to_pylist()[0]
    assert (recorded == "N14228") is (treatment == "kept")
