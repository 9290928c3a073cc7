"""Whatever is killed when, and wherever a file ends: exactly the flushed rows are read, each once."""

import itertools
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import skylane.journal as journal
from skylane.journal import PredictionWriter, Reader, SegmentWriter, layout
from skylane.journal.framing import scan
from skylane.journal.recovery import recover
from skylane.journal.retention import remove_old
from skylane.journal.row_removal import Mask, remove_rows
from skylane.journal.segment_content import SegmentContent, load
from support.journals import MODEL, NOON, WRITER, capture, crashed, files, rows


def distances(directory: Path) -> list[float]:
    """The rows that `read` returns, by their distances, which differ."""
    if not (directory / "predictions" / MODEL).is_dir():
        return []
    table = journal.read(directory, MODEL, columns=["inputs.distance"])
    return [row["inputs"]["distance"] for row in table.to_pylist()]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "journal"


def test_a_file_that_ends_at_any_byte_is_read_and_recovered_up_to_its_last_complete_batch(directory: Path) -> None:
    folder = directory / "predictions" / MODEL
    writer = SegmentWriter(folder, WRITER)
    sizes = []
    for number in range(3):
        words = pa.array(["a", f"b{number}"]).dictionary_encode()  # another dictionary each time
        writer.write(pa.record_batch({"number": [number, number], "word": words}), NOON)
        (path,) = files(directory)
        sizes.append(path.stat().st_size)
    content = path.read_bytes()
    torn = folder / path.name
    for end in range(len(content) + 1):
        complete = sum(size <= end for size in sizes)
        framing = scan(content[:end])
        assert framing.rows == 2 * complete
        assert framing.complete_to == max([size for size in sizes if size <= end], default=framing.complete_to)
    writer.close()
    torn.unlink(missing_ok=True)
    for name in files(directory):
        name.unlink()
    for end in (place + step for place in [0, *sizes] for step in (-9, -1, 0, 1, 7, 8, 9, 100) if place + step >= 0):
        torn.write_bytes(content[:end])
        complete = sum(size <= end for size in sizes)
        assert recover(folder) == (complete > 0)
        closed = files(directory, ".arrow")
        assert len(closed) == (complete > 0)
        for name in closed:
            numbers = pa.ipc.open_stream(name.read_bytes()).read_all()["number"].to_pylist()
            assert numbers == [number for number in range(complete) for _ in range(2)]
            name.unlink()


CAPTURES = {version: capture(version) for version in (3, 4)}
"""Rows of one capture are one batch, which is written as a whole or not at all."""


class Machine:
    """A journal whose writer is killed and started again, beside the rows that must be in it."""

    def __init__(self, root: Path) -> None:
        self.root, self.now, self.call = root, NOON, 0
        self._images = itertools.count()
        self.directory = root / "journal"
        self.appended: list[float] = []
        self.expected: list[float] = []
        self.flushed: set[float] = set()
        """All rows that ever were in the journal, also those that were removed."""
        self.seen: list[float] = []
        self.position: str | None = None
        self.retired: list[PredictionWriter] = []
        self._names = (f"{number:016x}" for number in itertools.count(1))
        self._start()

    def _start(self) -> None:
        self.writer = PredictionWriter(self.directory, next(self._names))

    def append(self, counts: list[int], version: int) -> None:
        """Calls with so many rows each."""
        batch = rows(self.call + 1, counts, what=CAPTURES[version])
        self.call += len(counts)
        self.writer.append(batch)
        self.appended += batch.inputs["distance"].tolist()

    def flush(self) -> None:
        self.now += 1
        self.writer.flush(self.now)
        self.expected += self.appended
        self.flushed |= set(self.appended)
        self.appended = []

    def close(self) -> None:
        """Stop in peace, and start again."""
        self.now += 1
        self.writer.close(self.now)
        self.expected += self.appended
        self.flushed |= set(self.appended)
        self.appended = []
        self._start()

    def kill(self, cut: float) -> None:
        """Kill the writer during a flush, at a share of the bytes that the flush writes."""
        before = self._sizes()
        written, waiting = list(self.expected), list(self.appended)
        self.flush()
        after = self._sizes()
        self.retired.append(self.writer)  # its locks are on files that are read no more
        self.directory = crashed(self.directory, self.root / f"image{next(self._images)}")
        changed = [name for name in after if after[name] != before.get(name)]
        if len(changed) == 1 and (name := changed[0]).endswith(".open"):
            path = self.directory / "predictions" / MODEL / name
            start = before.get(name, 0)
            end = start + int(cut * (after[name] - start))
            os.truncate(path, end)
            self.expected = written if end < after[name] else written + waiting
        self._start()

    def remove(self, remainder: int) -> None:
        """Remove some calls from all closed segments, as `forget` does."""
        self.close()

        def chosen(content: SegmentContent) -> Mask:
            mask: Mask = content.table(["call"]).column("call").to_numpy() % 3 == remainder
            return mask

        recover(self._folder)
        remove_rows(self._folder, chosen)
        self.expected = [distance for distance in self.expected if int(distance) % 3 != remainder]

    def retain(self) -> None:
        """Remove the oldest segment, as retention does, if it is closed."""
        oldest = next(iter(layout.segments(self._folder)), None)
        if oldest is not None and oldest.closed:
            content = load(oldest)
            assert content is not None
            gone = pc.struct_field(content.table(["inputs"]).column("inputs"), "distance").to_pylist()
            remove_old(self._folder, sum(each.size for each in layout.segments(self._folder)) - 1, None)
            self.expected = [distance for distance in self.expected if distance not in gone]

    @property
    def _folder(self) -> Path:
        return self.directory / "predictions" / MODEL

    def poll(self) -> None:
        """A reader that remembers nothing but its position, as JSON."""
        reader = Reader(self.directory, MODEL, None if self.position is None else json.loads(self.position))
        for batch in reader.poll().batches:
            self.seen += [row["distance"] for row in batch.column("inputs").to_pylist()]
        self.position = json.dumps(reader.position)

    def check(self) -> None:
        assert sorted(distances(self.directory)) == sorted(self.expected)

    def _sizes(self) -> dict[str, int]:
        if not (self.directory / "predictions" / MODEL).is_dir():
            return {}
        return {path.name: path.stat().st_size for path in files(self.directory)}


STEPS = st.one_of(
    st.tuples(st.just("append"), st.lists(st.integers(1, 4), min_size=1, max_size=3), st.sampled_from([3, 4])),
    st.tuples(st.just("flush")),
    st.tuples(st.just("close")),
    st.tuples(st.just("kill"), st.floats(0, 1)),
    st.tuples(st.just("remove"), st.integers(0, 2)),
    st.tuples(st.just("retain")),
    st.tuples(st.just("poll")),
    st.tuples(st.just("check")),
)


@pytest.fixture(scope="module")
def root() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


@settings(deadline=None, max_examples=100)
@given(steps=st.lists(STEPS, max_size=25))
def test_any_order_of_appends_flushes_kills_removals_and_polls_gives_each_flushed_row_once(
    steps: list[tuple[object, ...]], root: Path
) -> None:
    machine = Machine(Path(tempfile.mkdtemp(dir=root)))
    for name, *arguments in steps:
        getattr(machine, str(name))(*arguments)
    for finish in (machine.flush, machine.close):
        finish()
        machine.check()
        machine.poll()
        assert len(set(machine.seen)) == len(machine.seen)
        assert set(machine.expected) <= set(machine.seen) <= machine.flushed
