"""What the writer does with disks that refuse, limits, schemas and permissions; real processes are killed."""

import os
import resource
import signal
import stat
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import skylane.journal as journal
from skylane.journal import PredictionWriter, Reader, SegmentLimits, SegmentWriter, layout
from skylane.journal.prediction_writer import PENDING_BYTES_MAX, PENDING_ROWS_MAX
from support.journals import MODEL, NOON, OTHER_WRITER, WRITER, capture, files, rows


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "journal"


@pytest.fixture
def writer(directory: Path) -> PredictionWriter:
    return PredictionWriter(directory, WRITER)


def calls(directory: Path) -> list[str]:
    """The ids of all rows."""
    ids: list[str] = journal.read(directory, MODEL, columns=["prediction_id"])["prediction_id"].to_pylist()
    return ids


def test_what_is_flushed_is_read_as_it_was_served_bit_for_bit(directory: Path, writer: PredictionWriter) -> None:
    batch = rows(0x1A4, (2, 1), protocols=["grpc", "http"], request_ids=["a", None], cached=[False, True], arm="b")
    nan = np.frombuffer(np.uint32(0x7FC0BEEF).tobytes(), np.float32)  # a NaN with a payload of its own
    batch.inputs["delay"][1] = nan[0]
    writer.append(batch)
    writer.flush(NOON)
    table = journal.read(directory, MODEL)
    assert table["prediction_id"].to_pylist() == [f"{WRITER}-1a4", f"{WRITER}-1a4", f"{WRITER}-1a5"]
    assert table["row"].to_pylist() == [0, 1, 0]
    assert table["request_id"].to_pylist() == ["a", "a", None]
    assert table["protocol"].to_pylist() == ["grpc", "grpc", "http"]
    assert table["cached"].to_pylist() == [False, False, True]
    assert table["arm"].to_pylist() == ["b"] * 3
    assert table["degraded"].to_pylist() == [None] * 3
    assert set(table["model"].to_pylist()) == {MODEL}
    assert set(table["version"].to_pylist()) == {3}
    inputs, outputs = (table[name].combine_chunks() for name in ("inputs", "outputs"))
    assert [field.name for field in inputs.type] == ["distance", "delay", "tail"], "carrier holds texts"
    delay = inputs.field("delay").to_numpy()
    assert delay.dtype == np.float32
    assert delay.tobytes() == batch.inputs["delay"].tobytes()
    assert inputs.field("distance").to_numpy().tobytes() == batch.inputs["distance"].tobytes()
    probabilities = outputs.field("probabilities")
    assert probabilities.type == pa.list_(pa.float32(), 2)
    assert probabilities.flatten().to_numpy().tobytes() == batch.outputs["probabilities"].tobytes()


@pytest.mark.parametrize("dtype", ["f4", "f8", "f2", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "?"])
def test_each_type_of_numbers_stays_what_it_is(directory: Path, writer: PredictionWriter, dtype: str) -> None:
    what = journal.Capture(model=MODEL, version=1, columns=journal.treatments({"x": False}))
    values = np.array([0, 1, 0], dtype)
    writer.append(journal.Rows(capture=what, calls=[1], counts=[3], happened_at_us=0, inputs={"x": values}))
    writer.append(journal.Rows(capture=what, calls=[2], counts=[1], happened_at_us=0, inputs={"x": values[:1]}))
    writer.flush(NOON)
    read = journal.read(directory, MODEL)["inputs"].combine_chunks().field("x").to_numpy(zero_copy_only=False)
    assert read.dtype == values.dtype
    assert read.tolist() == [*values.tolist(), values[0]]


def test_rows_of_other_versions_policies_and_types_have_segments_of_their_own(
    directory: Path, writer: PredictionWriter
) -> None:
    writer.append(rows(1))
    writer.append(rows(2, what=capture(version=4)))
    writer.append(rows(3, what=capture(hash=[])))
    writer.append(rows(4))
    writer.flush(NOON)
    assert len(files(directory, ".open")) == 3
    assert sorted(calls(directory)) == [f"{WRITER}-{number}" for number in (1, 2, 3, 4)]
    assert journal.read(directory, MODEL, version=4).num_rows == 1


def test_only_so_many_segments_are_open_at_once(directory: Path, writer: PredictionWriter) -> None:
    for version in range(1, 21):
        writer.append(rows(version, what=capture(version)))
    writer.flush(NOON)
    assert len(files(directory, ".open")) == 8
    assert len(calls(directory)) == 20


def test_files_and_directories_are_for_their_owner_alone(directory: Path, writer: PredictionWriter) -> None:
    previous = os.umask(0)
    try:
        writer.append(rows(1))
        writer.flush(NOON)
        writer.append(rows(2, what=capture(4)))
        for second in range(20):  # so many small batches that they are written anew
            writer.append(rows(3 + second))
            writer.flush(NOON + second)
        writer.close(NOON + 20)
    finally:
        os.umask(previous)
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in (directory, *directory.rglob("*"))}
    assert {mode for path, mode in modes.items() if path.is_dir()} == {0o700}
    assert {mode for path, mode in modes.items() if path.is_file()} == {0o600}
    assert {path.name for path in modes if path.is_file() and path.suffix != ".arrow"} == {"key"}


def test_small_batches_become_large_ones_when_a_segment_is_closed(directory: Path, writer: PredictionWriter) -> None:
    for second in range(50):
        writer.append(rows(1 + second))
        writer.flush(NOON + second)
    (path,) = files(directory)
    size = path.stat().st_size
    reader = Reader(directory, MODEL)
    assert reader.poll().rows == 50
    writer.close(NOON + 50)
    (path,) = files(directory)
    assert path.stat().st_size < size / 10
    assert reader.poll().rows == 0
    assert len(calls(directory)) == 50


def test_segments_are_closed_by_size_and_by_age(directory: Path, writer: PredictionWriter) -> None:
    writer.limit(MODEL, SegmentLimits(segment_bytes_max=1000, segment_s_max=60))
    for number in (1, 2, 3):
        writer.append(rows(number))
        writer.flush(NOON)
        assert len(files(directory, ".arrow")) == number
    writer.limit(MODEL, SegmentLimits(segment_s_max=60))
    writer.append(rows(4))
    writer.flush(NOON)
    for second, closed in ((59, 3), (60, 4)):
        writer.flush(NOON + second)
        assert len(files(directory, ".arrow")) == closed


@pytest.fixture
def file_size_limit() -> Iterator[Callable[[int], None]]:
    """Limits the size of files that this process writes, as a full disk would; 0 lifts the limit."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]) if size else before)
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.parametrize("room", [0, 1, 100, 1000, 3000, 6000], ids=lambda room: f"room for {room} more bytes")
def test_a_disk_that_refuses_costs_counted_rows_and_nothing_else(
    directory: Path, writer: PredictionWriter, file_size_limit: Callable[[int], None], room: int,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    writer.append(rows(1))
    writer.flush(NOON)
    reader = Reader(directory, MODEL)
    assert reader.poll().rows == 1
    (path,) = files(directory)
    file_size_limit(path.stat().st_size + room)
    for second in range(1, 6):
        writer.append(rows(100 * second, [1] * 50))
        writer.flush(NOON + second)
    file_size_limit(0)
    lost = writer.counters(MODEL).lost
    assert set(lost) == {"disk"}
    writer.append(rows(9000))
    writer.flush(NOON + 10)
    written = writer.counters(MODEL).written
    assert written + lost["disk"] == 252
    assert len(calls(directory)) == written
    assert reader.poll().rows == written - 1
    levels = [record.levelname for record in caplog.records]
    assert levels == ["ERROR", "WARNING"] * (len(levels) // 2), "once when it stops working, once when it works again"
    writer.close(NOON + 11)
    assert len(calls(directory)) == written


def test_a_directory_that_cannot_be_made_costs_counted_rows(tmp_path: Path) -> None:
    (tmp_path / "journal").write_text("a file where the directory should be")
    writer = PredictionWriter(tmp_path / "journal", WRITER)
    writer.append(rows(1, (3,)))
    writer.flush(NOON)
    assert writer.counters(MODEL).lost == {"disk": 3}


def test_what_waits_is_bounded_by_rows_and_by_bytes(directory: Path, writer: PredictionWriter) -> None:
    what = journal.Capture(model=MODEL, version=1, columns=journal.treatments({"x": False}))
    wide = np.zeros((2, PENDING_BYTES_MAX // 16 + 1))
    writer.append(rows(1, [PENDING_ROWS_MAX]))
    writer.append(rows(2))
    writer.append(journal.Rows(capture=what, calls=[1], counts=[2], happened_at_us=0, inputs={"x": wide}))
    assert writer.counters(MODEL).lost == {"full": 3}
    writer.flush(NOON)
    writer.append(rows(3))
    writer.append(journal.Rows(capture=what, calls=[1], counts=[2], happened_at_us=0, inputs={"x": wide}))
    writer.flush(NOON)
    assert writer.counters(MODEL).lost == {"full": 5}
    assert writer.counters(MODEL).written == PENDING_ROWS_MAX + 1


def test_values_that_arrow_cannot_hold_cost_their_rows_and_no_others(
    directory: Path, writer: PredictionWriter, caplog: pytest.LogCaptureFixture
) -> None:
    what = journal.Capture(model=MODEL, version=1, columns=journal.treatments({"x": False}))
    values = np.array([object()], object)
    writer.append(journal.Rows(capture=what, calls=[1], counts=[1], happened_at_us=0, inputs={"x": values}))
    writer.append(rows(2))
    writer.flush(NOON)
    assert writer.counters(MODEL).lost == {"type": 1}
    assert calls(directory) == [f"{WRITER}-2"]
    assert "Arrow cannot hold their values" in caplog.text


def test_times_of_events_without_a_zone_are_null_and_counted(directory: Path, writer: PredictionWriter) -> None:
    what = journal.Capture(
        model=MODEL, version=1, columns=journal.treatments({"at": True}, keep=["at"]), event_time="at"
    )
    values = np.array(["2013-01-01T10:00:00Z", "2013-01-01T10:00:00", "2013-01-01T05:00-05:00", "noon", None], object)
    writer.append(journal.Rows(capture=what, calls=[1], counts=[5], happened_at_us=0, inputs={"at": values}))
    writer.flush(NOON)
    assert writer.counters(MODEL).event_times_refused == 2
    instants = journal.read(directory, MODEL)["event_at"].to_pylist()
    assert [instant and instant.isoformat() for instant in instants] == [
        "2013-01-01T10:00:00+00:00", None, "2013-01-01T10:00:00+00:00", None, None,
    ]  # fmt: skip


class Numbers:
    """A directory of small segments of about equal size, without the columns of predictions."""

    def __init__(self, folder: Path, limits: SegmentLimits, writer: str = WRITER) -> None:
        self.writer, self.now, self.folder = SegmentWriter(folder, writer, limits), NOON, folder

    def segment(self) -> None:
        self.now += 10
        self.writer.write(pa.record_batch({"n": [1, 2, 3]}), self.now)
        self.writer.close()

    def names(self) -> list[int]:
        return [segment.name.number for segment in layout.segments(self.folder)]


def test_the_oldest_segments_are_removed_by_bytes_and_counted(directory: Path) -> None:
    probe = Numbers(directory / "probe", SegmentLimits())
    probe.segment()
    size = layout.segments(directory / "probe")[0].size
    numbers = Numbers(directory, SegmentLimits(bytes_max=8 * size, segment_bytes_max=size))
    for _ in range(20):
        numbers.segment()
    assert numbers.names() == list(range(13, 21))
    assert numbers.writer.removed.segments == 12
    assert numbers.writer.removed.bytes == 12 * size


def test_old_segments_are_removed_by_age_also_without_new_rows(directory: Path) -> None:
    numbers = Numbers(directory, SegmentLimits(age_s_max=100, segment_s_max=10))
    for _ in range(3):
        numbers.segment()
    for now, left in ((120, [1, 2, 3]), (121, [2, 3]), (1000, [])):
        SegmentWriter(directory, OTHER_WRITER, numbers.writer.limits).tick(NOON + now)
        assert numbers.names() == left


def test_retention_spares_segments_that_are_open(directory: Path) -> None:
    numbers = Numbers(directory, SegmentLimits())
    numbers.writer.write(pa.record_batch({"n": [1]}), NOON)
    other = Numbers(directory, SegmentLimits(bytes_max=1, age_s_max=0), OTHER_WRITER)
    other.writer.tick(NOON + 1e6)
    assert numbers.names() == [1]


def test_the_segments_of_a_dead_writer_are_closed_by_the_next_and_those_of_a_living_one_are_not(
    directory: Path, writer: PredictionWriter
) -> None:
    script = f"""
        import os, sys
        from pathlib import Path
        from skylane.journal import PredictionWriter
        from support.journals import NOON, rows
        writer = PredictionWriter(sys.argv[1], {OTHER_WRITER!r})
        writer.append(rows(1))
        writer.flush(NOON)
        os.kill(os.getpid(), 9)
    """
    assert python(script, str(directory)).wait(60) == -signal.SIGKILL
    (dead,) = files(directory, ".open")
    writer.append(rows(1))
    writer.flush(NOON)
    PredictionWriter(directory, "f" * 16).flush(NOON)
    closed, still = files(directory)
    assert closed.stem == dead.stem
    assert (closed.suffix, still.suffix) == (".arrow", ".open")
    assert len(calls(directory)) == 2


def test_a_process_that_is_killed_again_and_again_loses_only_what_it_had_not_flushed(directory: Path) -> None:
    script = """
        import sys
        from skylane.journal import PredictionWriter
        from support.journals import NOON, rows
        writer, call = PredictionWriter(sys.argv[1], sys.argv[2]), 0
        while True:
            call += 1
            writer.append(rows(call, (2,)))
            writer.flush(NOON + call)
            print(call, flush=True)
            if call % 3 == 0:
                writer.close(NOON + call)
    """
    reader, seen = Reader(directory, MODEL), 0
    for life in range(3):
        name = f"{life:016x}"
        process = python(script, str(directory), name, stdout=subprocess.PIPE)
        assert process.stdout is not None
        for _ in range(4 + life):
            flushed = int(process.stdout.readline())
        process.kill()
        flushed += len(process.stdout.read().split())
        process.wait()
        process.stdout.close()
        mine = [each for each in calls(directory) if each.startswith(name)]
        assert mine == [f"{name}-{call:x}" for call in range(1, len(mine) // 2 + 1) for _ in range(2)]
        assert flushed <= len(mine) // 2 <= flushed + 1, "the last may be written, and not yet reported"
        seen += reader.poll().rows
    assert seen == len(calls(directory))


def python(script: str, *arguments: str, **options: Any) -> "subprocess.Popen[bytes]":
    path = os.pathsep.join(sys.path)
    command = [sys.executable, "-P", "-c", textwrap.dedent(script), *arguments]
    return subprocess.Popen(command, env={**os.environ, "PYTHONPATH": path}, **options)
