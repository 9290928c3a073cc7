"""The online store: what is served and how old it may be; replaced at once, whenever the writer is killed."""

import os
import signal
import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from skylane.features import Csv, StoreError, View, col, count, days, hours, minutes, sum_of, text
from skylane.features.compiled import CompiledView
from skylane.features.evaluation.rows import ABSENT, EXPIRED, OK
from skylane.features.online import Store
from skylane.features.online.keys import key_text
from skylane.features.training.materializing import materialize, store_values
from skylane.features.training.sources import Source, read_source

HOUR = 3600 * 1_000_000
PLANES = View(
    "planes", entity="tail", source=Csv("planes.csv"), happened_at="at", known="event", ttl=days(1),
    features={"model": text("model"), "seats": col("seats"), "rows": col("seats") / 6},
).compiled  # fmt: skip
FLOWN = View(
    "flown", entity="tail", source=Csv("planes.csv"), happened_at="at", known="event", ttl=hours(2), tile=minutes(30),
    features={"n": count(over=hours(1)), "seats": sum_of(col("seats"), over=hours(1))},
).compiled  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A project with 300 planes, whose rows are from the first ten hours of 1970."""
    lines = [f"N{i},1970-01-01T{i % 10:02}:00:00Z,A{i % 3},{i}" for i in range(300)]
    (tmp_path / "planes.csv").write_text("\n".join(["tail,at,model,seats", *lines]) + "\n")
    return tmp_path


@pytest.fixture
def store(folder: Path) -> Iterator[Store]:
    with Store(folder / "features.db", create=True, now=lambda: 10 * 3600.0) as store:
        yield store


def test_values_of_entities_in_the_order_asked(store: Store, folder: Path) -> None:
    materialize(store, PLANES, 10 * HOUR, folder)
    served = store.get(PLANES, ["N7", "N1", "none", "N7"])
    assert served.features["model"].tolist() == ["A1", "A1", None, "A1"]
    np.testing.assert_array_equal(served.features["seats"], [7, 1, np.nan, 7])
    np.testing.assert_array_equal(served.numbers[:, 1], [7 / 6, 1 / 6, np.nan, 7 / 6])
    assert served.status.tolist() == [OK, OK, ABSENT, OK]
    assert served.happened.tolist() == [7 * HOUR, HOUR, 0, 7 * HOUR]


def test_a_value_older_than_the_ttl_is_missing_flagged_and_counted(store: Store, folder: Path) -> None:
    materialize(store, PLANES, 10 * HOUR, folder)
    served = store.get(PLANES, ["N1", "N2", "none"], 25 * HOUR + 1)
    assert served.status.tolist() == [EXPIRED, OK, ABSENT]
    assert served.features["model"].tolist() == [None, "A2", None]
    assert np.isnan(served.numbers[0]).all()
    counts = store.counts["planes"]
    assert (counts.entities, counts.absent, counts.expired) == (3, 1, 1)


def test_a_window_moves_on_after_it_was_materialised_and_ends_with_its_ttl(store: Store, folder: Path) -> None:
    materialize(store, FLOWN, 9 * HOUR, folder)
    assert store.get(FLOWN, ["N9", "N8", "none"], 9 * HOUR).features["n"].tolist() == [1, 1, 0]
    assert store.get(FLOWN, ["N9", "N8", "none"], 10 * HOUR).features["n"].tolist() == [1, 0, 0]
    assert store.get(FLOWN, ["N9"], 11 * HOUR).features["seats"].tolist() == [0]
    assert store.get(FLOWN, ["N9", "none"], 11 * HOUR + 1).status.tolist() == [EXPIRED, EXPIRED]


def test_again_changes_nothing_and_earlier_is_refused(store: Store, folder: Path) -> None:
    for view in (PLANES, FLOWN):
        contents = []
        for _ in range(2):
            materialize(store, view, 10 * HOUR, folder)
            contents.append(_content(folder, view))
        assert contents[0] == contents[1]
        with pytest.raises(StoreError, match=r"known by 1970-01-01T10:00.* received 1970-01-01T09:00"):
            materialize(store, view, 9 * HOUR, folder)
        assert _content(folder, view) == contents[0]


def test_an_old_and_a_new_definition_live_beside_each_other(store: Store, folder: Path) -> None:
    new = View(
        "planes", entity="tail", source=Csv("planes.csv"), happened_at="at", known="event", ttl=days(2),
        features={"seats": col("seats") * 2},
    ).compiled  # fmt: skip
    materialize(store, PLANES, 10 * HOUR, folder)
    with pytest.raises(StoreError, match="planes: this definition of the view is not in the store: run"):
        store.get(new, ["N1"])
    materialize(store, new, 10 * HOUR, folder)
    assert store.get(new, ["N4"]).features["seats"].tolist() == [8]
    assert store.get(PLANES, ["N4"]).features["seats"].tolist() == [4]


@pytest.mark.parametrize("steps", [1, 3, 10, 30, 100, 300, 600, 10_000])
def test_killed_at_any_point_the_store_holds_the_old_values_or_the_new(folder: Path, steps: int) -> None:
    path = folder / "features.db"
    with Store(path, create=True) as store:
        materialize(store, PLANES, 5 * HOUR, folder)
    before = _content(folder, PLANES)
    source = read_source(PLANES, folder)  # before the fork: Arrow reads on threads
    process = os.fork()
    if not process:
        _materialize_until_killed(path, source, steps)
    _, status = os.waitpid(process, 0)
    killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
    with Store(path) as store:
        fresh = store.freshness(PLANES)
        assert fresh is not None
        assert killed == (fresh.materialised_at == 5 * HOUR)
        assert (_content(folder, PLANES) == before) == killed
        materialize(store, PLANES, 10 * HOUR, folder)
        assert store.get(PLANES, ["N9"], 10 * HOUR).status.tolist() == [OK]


def _materialize_until_killed(path: Path, source: Source, steps: int) -> None:
    """Materialise, but kill this process after a number of SQLite's instructions, in tens; else end with 0."""
    left = [steps]

    def step() -> int:
        left[0] -= 1
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)
        return 0

    connect = sqlite3.connect

    def connected(*args: object, **options: object) -> sqlite3.Connection:
        connection: sqlite3.Connection = connect(*args, **options)  # type: ignore[call-overload]
        connection.set_progress_handler(step, 10)
        return connection

    sqlite3.connect = connected  # type: ignore[assignment]  # in a process of its own that ends here
    try:
        store_values(Store(path), PLANES, source, 10 * HOUR)
    finally:
        os._exit(0)


def test_a_reader_sees_no_half_of_a_new_state(store: Store, folder: Path) -> None:
    materialize(store, PLANES, 5 * HOUR, folder)
    seen: list[object] = []

    def rows() -> Iterator[tuple[str, bytes, str | None]]:
        yield "N1", b"", None
        with Store(folder / "features.db") as reader:
            served = reader.get(PLANES, ["N1", "N2"], 6 * HOUR)
            seen.append((served.features["seats"].tolist(), served.materialised_at))

    store.replace(PLANES, 6 * HOUR, rows())
    assert seen == [([1, 2], 5 * HOUR)]


def test_the_store_is_the_owners_alone(store: Store, folder: Path) -> None:
    assert stat.S_IMODE((folder / "features.db").stat().st_mode) == 0o600


def test_a_store_that_cannot_be_written_keeps_what_it_has(store: Store, folder: Path) -> None:
    materialize(store, PLANES, 5 * HOUR, folder)
    with pytest.raises(StoreError, match="planes: the store cannot be written: UNIQUE"):
        store.replace(PLANES, 6 * HOUR, [("N1", b"", None), ("N1", b"", None)])
    assert store.get(PLANES, ["N1"], 6 * HOUR).features["seats"].tolist() == [1]
    materialize(store, PLANES, 6 * HOUR, folder)


def test_files_that_are_no_store_are_refused(folder: Path) -> None:
    with pytest.raises(StoreError, match=r"none\.db: expected an online store, there is no such file"):
        Store(folder / "none.db")
    other = sqlite3.connect(folder / "other.db")
    other.execute("CREATE TABLE people(name)")
    other.close()
    for create in (False, True):
        with pytest.raises(StoreError, match=r"other\.db: expected an online store, it is another database"):
            Store(folder / "other.db", create=create)
    with pytest.raises(StoreError, match=r"planes\.csv: expected an online store"):
        Store(folder / "planes.csv")


@pytest.mark.parametrize("count", [0, 10_001])
def test_the_number_of_entities_is_bounded(store: Store, count: int) -> None:
    with pytest.raises(StoreError, match=f"expected 1 to 10000, received {count}"):
        store.get(PLANES, ["N1"] * count)


def test_keys_of_several_columns_cannot_be_mistaken() -> None:
    keys: list[list[str | int]] = [["a", "b,c"], ["a,b", "c"], ['a","b', "c"], ["a", 'b","c'], ["a", 1]]
    assert len({key_text(key) for key in keys}) == len(keys)
    assert key_text([17]) == "17"


def _content(folder: Path, view: CompiledView) -> list[tuple[object, ...]]:
    connection = sqlite3.connect(folder / "features.db")
    rows = connection.execute(f"SELECT * FROM rows_{view.hash[:32]} ORDER BY entity").fetchall()
    rows += connection.execute("SELECT * FROM views WHERE hash = ?", (view.hash,)).fetchall()
    connection.close()
    return rows
