"""What readers get: filters, several directories, versions that differ, damage, and positions."""

import json
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

import skylane.journal as journal
from skylane.journal import (
    Capture,
    ColumnNotKept,
    DamagedSegment,
    InvalidArgument,
    JournalError,
    JournalNotFound,
    PredictionWriter,
    Reader,
    Rows,
    UnsupportedFormat,
    treatments,
)
from skylane.journal.compaction import write_segment
from skylane.journal.predictions import NAMES
from support.journals import MODEL, NOON, OTHER_WRITER, WRITER, capture, files, rows


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Ten calls, one a second, each in a segment of its own but the last two; versions 3 and 4 by turns."""
    directory = tmp_path / "journal"
    writer = PredictionWriter(directory, WRITER)
    for second in range(10):
        writer.append(rows(second + 1, at=NOON + second, what=capture(3 + second % 2)))
        writer.flush(NOON + second)
        if second < 8:
            writer.close(NOON + second)
    return directory


def distances(table: pa.Table) -> list[float]:
    values: list[float] = table["inputs"].combine_chunks().field("distance").to_pylist()
    return sorted(values)


def second(number: float) -> datetime:
    return datetime.fromtimestamp(NOON + number, UTC)


def test_the_table_has_the_documented_columns(directory: Path) -> None:
    table = journal.read(directory)
    assert tuple(table.schema.names) == NAMES
    assert table.num_rows == 10


def test_a_time_bounds_the_rows_from_it_on_and_before_it(directory: Path) -> None:
    east = timezone(timedelta(hours=9))
    table = journal.read(directory, MODEL, since=second(2).astimezone(east), until=second(5))
    assert distances(table) == [3, 4, 5]
    assert distances(journal.read(directory, MODEL, since=second(20))) == []


def test_a_version_is_read_alone(directory: Path) -> None:
    assert distances(journal.read(directory, MODEL, version=4)) == [2, 4, 6, 8, 10]


def test_columns_and_fields_are_read_alone(directory: Path) -> None:
    table = journal.read(directory, MODEL, columns=["version", "outputs.label", "inputs.distance", "prediction_id"])
    assert table.schema.names == ["version", "outputs", "inputs", "prediction_id"]
    assert [field.name for field in table.schema.field("inputs").type] == ["distance"]
    assert [field.name for field in table.schema.field("outputs").type] == ["label"]


def test_a_segment_that_lies_in_two_directories_is_read_once(directory: Path, tmp_path: Path) -> None:
    other = PredictionWriter(tmp_path / "other", OTHER_WRITER)
    other.append(rows(77))
    other.close(NOON)
    copied = tmp_path / "other" / "predictions" / MODEL
    first = files(directory)[0]
    (copied / first.name).write_bytes(first.read_bytes())
    assert journal.read([directory, tmp_path / "other"], MODEL).num_rows == 11
    assert journal.read([directory, directory], MODEL).num_rows == 10


def test_what_a_version_lacks_is_null_in_its_rows(directory: Path) -> None:
    writer = PredictionWriter(directory, OTHER_WRITER)
    what = Capture(model=MODEL, version=5, columns=treatments({"wind": False, "distance": False}))
    inputs = {"wind": np.array([7.0]), "distance": np.array([1], np.int64)}
    writer.append(Rows(capture=what, calls=[1], counts=[1], happened_at_us=0, inputs=inputs))
    writer.flush(NOON)
    inputs_read = journal.read(directory, MODEL)["inputs"].combine_chunks()
    assert inputs_read.field("wind").null_count == 10
    assert inputs_read.field("distance").type == pa.float64(), "whole numbers of one version beside others"


def test_versions_whose_types_do_not_fit_are_read_one_at_a_time(directory: Path) -> None:
    writer = PredictionWriter(directory, OTHER_WRITER)
    what = Capture(model=MODEL, version=5, columns=treatments({"distance": True}, keep=["distance"]))
    inputs = {"distance": np.array(["far"], object)}
    writer.append(Rows(capture=what, calls=[1], counts=[1], happened_at_us=0, inputs=inputs))
    writer.flush(NOON)
    with pytest.raises(InvalidArgument, match=r"inputs\.distance is (string|double) in one version and .*version="):
        journal.read(directory, MODEL)
    assert journal.read(directory, MODEL, version=5).num_rows == 1


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        pytest.param({"model": "wine"}, JournalNotFound, r"no predictions of 'wine'; it has flights.*journal = true",
                     id="a model that is not there"),
        pytest.param({"version": 9}, JournalNotFound, r"version 9 has no rows; these have: flights/3, flights/4",
                     id="a version that is not there"),
        pytest.param({"columns": ["inputs.carrier"]}, ColumnNotKept,
                     r'holds texts.*keep = \["\*", "carrier"\] under \[monitor\] in flights/model.toml',
                     id="a column that was not kept"),
        pytest.param({"columns": ["inputs.distanc"]}, InvalidArgument, r"did you mean 'inputs.distance'",
                     id="a misspelt field"),
        pytest.param({"columns": ["rows"]}, InvalidArgument, r"no column 'rows'; did you mean 'row'",
                     id="a misspelt column"),
        pytest.param({"columns": "row"}, InvalidArgument, r"expected a list of names", id="a text for a list"),
        pytest.param({"since": datetime(2013, 1, 1)}, InvalidArgument, r"since: expected a time with a zone",
                     id="a time without a zone"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_named(
    directory: Path, arguments: dict[str, object], error: type[JournalError], text: str
) -> None:
    with pytest.raises(error, match=text):
        journal.read(directory, **arguments)  # type: ignore[arg-type]


def test_a_directory_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(JournalNotFound, match="there is no such directory"):
        journal.read(tmp_path / "nothing")


@pytest.mark.parametrize(
    ("metadata", "text"),
    [
        pytest.param({"skylane.format": "0"}, r"has format 0 of the journal.*reads format 1", id="an older format"),
        pytest.param(
            {"skylane.format": "2"}, r"has format 2 of the journal.*release that wrote it", id="a newer format"
        ),
        pytest.param({}, r"no segment of a journal", id="another program's Arrow stream"),
    ],
)
def test_other_formats_are_refused_with_words(directory: Path, metadata: dict[str, str], text: str) -> None:
    table = pa.table({"x": [1]}).replace_schema_metadata(metadata)
    write_segment(files(directory)[0], table)
    with pytest.raises(UnsupportedFormat, match=text):
        journal.read(directory, MODEL)


def test_a_damaged_segment_is_named_by_read_and_skipped_by_a_reader(
    directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = files(directory)[0]
    content = bytearray(path.read_bytes())
    frames = (b"\x28\xb5\x2f\xfd", b"\x04\x22\x4d\x18")  # how those of Zstandard and LZ4 begin
    places = [place for place in range(len(content)) if content.startswith(frames, place)]
    for place in places:
        content[place : place + 4] = b"oops"
    path.write_bytes(bytes(content))
    assert places
    with pytest.raises(DamagedSegment, match=path.name):
        journal.read(directory, MODEL)
    reader = Reader(directory, MODEL)
    assert reader.poll().rows == 9
    assert reader.poll().rows == 0
    assert [record.levelname for record in caplog.records] == ["ERROR"]


def test_a_reader_goes_on_where_its_position_says_through_json(directory: Path) -> None:
    reader = Reader(directory, MODEL, rows_max=4)
    first = reader.poll()
    assert (first.rows, first.more) == (4, True)
    again = Reader(directory, MODEL, json.loads(json.dumps(first.position)))
    rest = again.poll()
    assert (rest.rows, rest.more) == (6, False)
    ids = [each for polled in (first, rest) for batch in polled.batches for each in batch["prediction_id"].to_pylist()]
    assert len(set(ids)) == 10


def test_a_position_has_no_more_entries_than_writers_with_segments(directory: Path) -> None:
    reader = Reader(directory, MODEL)
    reader.poll()
    assert reader.position["writers"] == {WRITER: {"done": [[1, 8]], "reading": {"9": 1, "10": 1}}}
    for path in files(directory, ".arrow"):
        path.unlink()
    other = PredictionWriter(directory, OTHER_WRITER)
    other.append(rows(1))
    other.flush(NOON)
    for path in files(directory):
        if WRITER in path.name:
            path.unlink()
    assert reader.poll().rows == 1
    assert list(reader.position["writers"]) == [OTHER_WRITER]


def test_a_directory_that_is_empty_for_a_while_is_not_read_again(directory: Path, tmp_path: Path) -> None:
    reader = Reader(directory, MODEL)
    assert reader.poll().rows == 10
    os.rename(directory, tmp_path / "unmounted")
    assert reader.poll().rows == 0
    os.rename(tmp_path / "unmounted", directory)
    assert reader.poll().rows == 0


def test_a_position_of_another_format_is_refused(directory: Path) -> None:
    with pytest.raises(InvalidArgument, match="position: expected format 1, received 7"):
        Reader(directory, MODEL, {"format": 7})


def test_frames_of_pandas_and_polars(directory: Path) -> None:
    polars = pytest.importorskip("polars")
    table = journal.read(directory, MODEL)
    assert len(table.to_pandas()) == 10
    assert polars.from_arrow(table).unnest("inputs")["distance"].sum() == 55


@pytest.fixture
def two_writers(tmp_path: Path) -> tuple[Path, PredictionWriter]:
    """Two processes with an open segment each, and the writer of the first."""
    writers = [PredictionWriter(tmp_path, name) for name in (WRITER, OTHER_WRITER)]
    for writer in writers:
        writer.append(rows(1, (1, 1)))
        writer.flush(NOON)
    return tmp_path, writers[0]


def closing(writer: PredictionWriter) -> Callable[[Path], list["os.DirEntry[str]"]]:
    """A listing after which the writer closes its segments, before anybody has used it."""
    listing = os.scandir

    def listed(path: Path) -> list["os.DirEntry[str]"]:
        entries = list(listing(path))
        if path.name == MODEL:
            writer.close(NOON)
        return entries

    return listed


def test_a_segment_that_is_closed_while_it_is_listed_is_read_once(
    two_writers: tuple[Path, PredictionWriter], monkeypatch: pytest.MonkeyPatch
) -> None:
    directory, writer = two_writers
    reader = Reader(directory, MODEL)
    assert reader.poll().rows == 4
    monkeypatch.setattr(os, "scandir", closing(writer))
    assert reader.poll().rows == 0
    monkeypatch.undo()
    assert reader.poll().rows == 0
    assert len(journal.read(directory, MODEL)) == 4


def test_a_table_has_the_rows_of_a_segment_that_is_closed_while_it_is_listed(
    two_writers: tuple[Path, PredictionWriter], monkeypatch: pytest.MonkeyPatch
) -> None:
    directory, writer = two_writers
    monkeypatch.setattr(os, "scandir", closing(writer))
    assert len(journal.read(directory, MODEL)) == 4


def test_a_listing_that_lacks_a_renamed_segment_makes_no_row_double(
    two_writers: tuple[Path, PredictionWriter], monkeypatch: pytest.MonkeyPatch
) -> None:
    directory, writer = two_writers
    reader, listing, listings = Reader(directory, MODEL), os.scandir, list[int]()
    assert reader.poll().rows == 4

    def lacking(path: Path) -> list["os.DirEntry[str]"]:
        listings.append(1)
        return [entry for entry in listing(path) if len(listings) > 1 or WRITER not in entry.name]

    monkeypatch.setattr(os, "scandir", lacking)
    assert reader.poll().rows == 0
    writer.close(NOON)
    assert reader.poll().rows == 0
