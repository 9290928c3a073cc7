"""From the engine to the journal's files: whoever is answered has an id, and what was answered lies under it."""

import threading
from collections.abc import Hashable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fakes import PlainBlock, RecordingSink
from skylane import journal
from skylane.bench.fuzz.clock import Simulation
from skylane.journal import Counters, Rows, SegmentLimits
from skylane.manifest import ColumnSpec, OutputSpec, TensorSpec
from skylane.policy import Cache, Monitor, Policy
from skylane.server.core.batch_task import Bound, RequestGroup
from skylane.server.core.rejection_counter import RejectionCounter
from skylane.server.core.types import Array, Call, Interface, Route
from skylane.server.engine.cost import CostModel
from skylane.server.engine.engine import Engine
from skylane.server.engine.recorder import answer
from skylane.server.engine.routes import ModelRoutes, Routes
from skylane.server.engine.served_version import LoadedModel, ServedVersion
from skylane.server.recording.id_blocks import Blocks
from skylane.server.recording.journal import Journal
from skylane.server.recording.recorder import PLACE_BYTES, PredictionRecorder, Room, row_bytes
from skylane.server.recording.sampler import Sampler

INTERFACE = Interface(
    "m",
    1,
    (TensorSpec(name="x", dtype="float64", shape=(None, 2)), TensorSpec(name="t", dtype="string", shape=(None, 1))),
    (
        ColumnSpec(name="a", tensor="x", index=0, dtype="float64"),
        ColumnSpec(name="b", tensor="x", index=1, dtype="float64"),
        ColumnSpec(name="who", tensor="t", index=0, dtype="string"),
    ),
    (
        OutputSpec(name="twice", dtype="float64", shape=(None, 1)),
        OutputSpec(name="label", dtype="string", shape=(None,)),
    ),
)
ROWS_EACH = 2


class Twice:
    """Doubles the first column, and labels it."""

    def run(self, inputs: Sequence[Array]) -> Sequence[Array]:
        """See Runner."""
        first = inputs[0][:, 0]
        return [first[:, None] * 2, np.array([f"l{value:g}" for value in first], object)]


class Block(PlainBlock):
    """Two rows for each call, of the number that is its handle: n and n + 0.5."""

    def __init__(self, calls: list[Call], rows_each: int = ROWS_EACH, keys: Sequence[Hashable] = ()) -> None:
        super().__init__(calls, rows_each, keys or [call.handle for call in calls])

    def arrays(self) -> Sequence[Array]:
        """See Block."""
        first = np.array([call.handle + row / 2 for call in self.calls for row in range(self.rows_each)])
        return [np.stack([first, -first], axis=1), np.array([[f"w{value:g}"] for value in first], object)]

    def encode(self, outputs: Sequence[Array]) -> list[bytes]:
        """See Block. The number 1313 has no answer."""
        if 2626 in outputs[0]:
            raise ValueError("an answer that cannot be encoded")
        return [b"%g" % outputs[0][place * self.rows_each, 0] for place in range(len(self.calls))]


class Group(RequestGroup):
    """Calls whose handle is their number."""

    def bind(self, interface: Interface) -> Bound:
        """See RequestGroup."""
        return Block(self.calls), ()


class Server:
    """An engine with one model, and the journal of it."""

    def __init__(self, journal_: Journal, monitor: Monitor, *, cached: bool = False) -> None:
        self.sim, self.sink, self.journal = Simulation(), RecordingSink(), journal_
        self.engine = Engine(self.sim, self.sim.clock, RejectionCounter())
        model = LoadedModel(interface=INTERFACE, runner=Twice(), cost=CostModel([(1, 1e-6)]), empty=())
        self.served = ServedVersion(model, Policy(cache=Cache(enabled=cached), monitor=monitor))
        routes = Routes({"m": ModelRoutes({1: self.served}, 1)})
        journal_.follow(routes)
        self.engine.serve(routes)

    def ask(self, *numbers: int, tail: bytes = b"", request_id: str = "") -> list[tuple[int, bytes]]:
        """The numbers of calls that came together, and their answers."""
        self.sink.got.clear()
        calls = [Call(number, self.sink, tail=tail, request_id=request_id) for number in numbers]
        for call in calls:
            call.protocol = "test"
        self.engine.submit([Group(Route("m"), calls, self.sink)])
        return [(call.handle, result) for call, result in self.sink.got if isinstance(result, bytes)]


def ids_of(answers: Sequence[tuple[int, bytes]]) -> list[tuple[int, str]]:
    """Of each answer: number and id."""
    return [(number, answer.partition(b" id ")[2].decode()) for number, answer in answers]


JOURNALLED = Monitor(journal=True)


@pytest.mark.parametrize("cached", [False, True])
def test_rows_and_answers_lie_under_the_id_of_their_call_however_it_was_answered(tmp_path: Path, cached: bool) -> None:
    server = Server(Journal(tmp_path), JOURNALLED, cached=cached)
    asked = ids_of([each for numbers in ([1, 2, 1], [3, 1, 2], [2], [4, 4, 4]) for each in server.ask(*numbers)])
    server.journal.write()
    table = journal.read(tmp_path, "m").to_pylist()
    assert len({prediction_id for _, prediction_id in asked}) == len(asked) == 10
    for number, prediction_id in asked:
        rows = [row for row in table if row["prediction_id"] == prediction_id]
        assert [row["row"] for row in rows] == [0, 1]
        assert [row["inputs"] for row in rows] == [{"a": number + half, "b": -number - half} for half in (0, 0.5)]
        assert [row["outputs"]["twice"] for row in rows] == [2 * number, 2 * number + 1]
        assert [row["outputs"]["label"] for row in rows] == [f"l{number:g}", f"l{number + 0.5:g}"]
    assert len(table) == 20
    assert sum(row["cached"] for row in table) == (12 if cached else 0)
    assert {(row["probability"], row["protocol"], row["version"]) for row in table} == {(1.0, "test", 1)}


@pytest.mark.parametrize("cached", [False, True])
def test_a_batch_that_is_run_again_in_parts_is_recorded_once_and_without_the_call_at_fault(
    tmp_path: Path, cached: bool
) -> None:
    server = Server(Journal(tmp_path), JOURNALLED, cached=cached)
    answers = ids_of(server.ask(1, 1313, 2, 3, 1313))
    server.journal.write()
    table = journal.read(tmp_path, "m").to_pylist()
    assert sorted(number for number, _ in answers) == [1, 2, 3]
    assert {(row["prediction_id"], row["row"]) for row in table} == {
        (each, row) for _, each in answers for row in (0, 1)
    }
    assert len(table) == 6


def test_the_callers_own_id_is_kept_beside_it_that_of_a_message_before_that_of_its_metadata(tmp_path: Path) -> None:
    server = Server(Journal(tmp_path), JOURNALLED)
    server.ask(1)
    server.ask(2, request_id="of metadata")
    server.ask(3, tail=b"\x7a\x0aof message", request_id="of metadata")
    server.journal.write()
    told = journal.read(tmp_path, "m", columns=["request_id", "row"]).to_pylist()
    assert [row["request_id"] for row in told if row["row"] == 0] == [None, "of metadata", "of message"]


@pytest.mark.parametrize(
    ("monitor", "inputs", "entity", "in_plain"),
    [
        pytest.param(Monitor(journal=True), {"a", "b"}, None, False, id="texts are dropped unless they are named"),
        pytest.param(
            Monitor(journal=True, keep=("who",)), {"who"}, None, True, id="what keep does not name is dropped"
        ),
        pytest.param(Monitor(journal=True, drop=("*",)), set(), None, False, id="everything is dropped"),
        pytest.param(
            Monitor(journal=True, entity="who"), {"a", "b"}, "w7", True, id="the entity is a column of its own"
        ),
        pytest.param(
            Monitor(journal=True, entity="who", hash=("who",)), {"a", "b", "who"}, "h:", False, id="or its hash"
        ),
        pytest.param(Monitor(journal=True, hash=("*",)), {"a", "b", "who"}, None, False, id="everything is hashed"),
    ],
)
def test_what_is_dropped_or_hashed_never_reaches_a_file(
    tmp_path: Path, monitor: Monitor, inputs: set[str], entity: str | None, in_plain: bool
) -> None:
    server = Server(Journal(tmp_path), monitor)
    server.ask(7)
    server.journal.close()
    row = journal.read(tmp_path, "m").to_pylist()[0]
    assert set(row["inputs"]) == inputs
    assert (row["entity"] or "").startswith(entity or "")
    assert (row["entity"] is None) == (entity is None)
    written = b"".join(file.read_bytes() for file in tmp_path.rglob("*.*") if file.is_file())
    assert (b"w7" in written) == in_plain
    if monitor.hash:
        assert all(str(row["inputs"][name]).startswith("h:") for name in inputs if name in monitor.hash)


class Disk:
    """A writer that does with a flush what the test says."""

    def __init__(self) -> None:
        self.appended = 0
        self.fault: Exception | None = None
        self.lost: dict[str, int] = {}
        self.hold = threading.Event()
        self.hold.set()

    def limit(self, model: str, limits: SegmentLimits) -> None:
        """See Writer."""

    def append(self, rows: Rows) -> None:
        """See Writer."""
        if self.fault:
            raise self.fault
        self.appended += rows.rows

    def flush(self, now: float) -> None:
        """See Writer."""
        self.hold.wait(30)

    def close(self, now: float) -> None:
        """See Writer."""

    def counters(self, model: str) -> Counters:
        """See Writer."""
        return Counters(written=self.appended, lost=self.lost)


def test_a_disk_that_hangs_costs_rows_and_no_answer(tmp_path: Path) -> None:
    disk = Disk()
    recorded = Journal(tmp_path, writer=disk, room=Room(1000))
    server = Server(recorded, JOURNALLED)
    disk.hold.clear()
    writing = threading.Thread(target=recorded.write)
    writing.start()
    for number in range(100):
        assert [answer.partition(b" ")[0] for _, answer in server.ask(number)] == [b"%d" % (2 * number)]
    counts = recorded.counts()["m"]
    assert 150 < counts.dropped["full"] < 200
    disk.hold.set()
    writing.join()
    recorded.write()
    counts = recorded.counts()["m"]
    assert counts.kept + counts.dropped["full"] == 200
    server.ask(1)
    recorded.write()
    assert recorded.counts()["m"].kept == counts.kept + 2, "there is room again"


@pytest.mark.parametrize("tails", [(b"", b""), (b"<tail>", b""), (b"", b"<tail>"), (b"<1>", b"<2>")])
def test_each_reply_has_its_own_tail_and_then_its_id(tails: tuple[bytes, bytes]) -> None:
    sink = RecordingSink()
    task = Block([Call(number, sink, tail=tail) for number, tail in enumerate(tails)])
    answer(task, task.calls, [b"reply 0", b"reply 1"], (b"9f2c1a7be04d5538-10000", [b"00", b"01"]))
    ids = [b" id 9f2c1a7be04d5538-1000000", b" id 9f2c1a7be04d5538-1000001"]
    assert [result for _, result in sink.got] == [b"reply %d%b%b" % (i, tails[i], ids[i]) for i in (0, 1)]


def test_those_who_share_answers_of_one_batch_take_its_room_once() -> None:
    """Each of the tasks of a batch may have followers, and all of them refer to the same arrays."""
    sampler, blocks = Sampler(1000, lambda: 0.0), Blocks("9f2c1a7be04d5538")
    recorder = PredictionRecorder(INTERFACE, sampler, blocks, Room(10_000), lambda: 0.0)
    tasks = [Block([Call(number, RecordingSink())]) for number in (1, 2)]
    inputs = [np.concatenate(each) for each in zip(*[task.arrays() for task in tasks], strict=True)]
    _, run = recorder.ran(tasks, inputs, Twice().run(inputs), 0.0, shared=True)
    assert run is not None
    for place, task in enumerate(tasks):
        recorder.followed(run, place, [task.calls])
    ran, first, second = [record.size for record in recorder.take_records()]
    assert (ran, second) == (4 * row_bytes(INTERFACE), ROWS_EACH * PLACE_BYTES)
    assert first == ran + second


def test_rows_whose_size_callers_choose_take_the_room_that_they_need() -> None:
    wide = replace(INTERFACE, tensors=(TensorSpec(name="x", dtype="float64", shape=(None, None)),), columns=())
    sampler, blocks = Sampler(1000, lambda: 0.0), Blocks("9f2c1a7be04d5538")
    recorder = PredictionRecorder(wide, sampler, blocks, Room(10_000), lambda: 0.0)
    for width in (1000, 2000):
        rows = np.zeros((1, width))
        outputs = [rows[:, :1], np.array(["l"], object)]
        recorder.ran([Block([Call(1, RecordingSink())], 1)], [rows], outputs, 0.0, shared=False)
    assert [record.inputs[0].nbytes for record in recorder.take_records()] == [8000]
    assert recorder.counts() == (2, 2, 1)


def test_a_fault_of_ours_costs_rows_and_no_answer(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    disk = Disk()
    recorded = Journal(tmp_path, writer=disk, wall=lambda: 0.0)
    server = Server(recorded, JOURNALLED)
    disk.fault = RuntimeError("a fault")
    for _ in range(3):
        assert len(server.ask(1, 2)) == 2
        recorded.write()
    assert recorded.counts()["m"].dropped["fault"] == 12
    assert len([record for record in caplog.records if record.exc_info]) == 1, "logged once"
    disk.fault = None
    server.ask(1)
    recorded.write()
    assert recorded.counts()["m"].kept == 2
    disk.lost = {"type": 5}
    assert recorded.counts()["m"].dropped["type"] == 5, "rows that the writer could not encode are counted as well"


def test_a_disk_that_is_full_costs_rows_and_no_answer(tmp_path: Path) -> None:
    recorded = Journal(tmp_path)
    server = Server(recorded, JOURNALLED)
    (tmp_path / "predictions").write_text("a file where a directory must be")
    assert len(server.ask(1, 2)) == 2
    recorded.write()
    counts = recorded.counts()["m"]
    assert (counts.kept, counts.dropped["disk"]) == (0, 4)


def test_above_the_budget_rows_are_sampled_and_counted(tmp_path: Path) -> None:
    recorded = Journal(tmp_path, chance=lambda: 0.9)
    server = Server(recorded, Monitor(journal=True, rows_per_second=10))
    for number in range(20):
        assert len(ids_of(server.ask(number))[0][1]) == 25, "who is not recorded has an id as well"
    recorded.write()
    counts = recorded.counts()["m"]
    assert (counts.kept, counts.dropped["sampled"]) == (10, 30)


def test_versions_that_retired_are_let_go_and_stay_counted(tmp_path: Path) -> None:
    recorded = Journal(tmp_path)
    server = Server(recorded, JOURNALLED)
    server.ask(1)
    server.engine.serve(Routes({}))
    recorded.write()
    server.ask(1)
    recorded.write()
    assert recorded.counts()["m"].kept == 2
    assert recorded.versions == 0


def test_names_of_columns_that_the_model_has_not_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    Server(Journal(tmp_path), Monitor(journal=True, drop=("pasword", "a*"), entity="whom"))
    told = [record.getMessage() for record in caplog.records]
    assert [("pasword" in text, "whom" in text) for text in told] == [(True, False), (False, True)]
    assert all("expected some of 'a', 'b', 'who'" in text or "the model has no such column" in text for text in told)


def test_a_model_that_is_not_journalled_has_no_recorder_and_its_answers_no_ids(tmp_path: Path) -> None:
    server = Server(Journal(tmp_path), Monitor())
    assert server.served.recorder is None
    assert server.ask(1) == [(1, b"2")]
