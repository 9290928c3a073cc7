"""The training join over files: every row in its order, known-at, time zones, and what is said of wrong sources."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from skylane.features import (
    Csv,
    Parquet,
    SourceError,
    View,
    at,
    col,
    count,
    days,
    hours,
    mean,
    minutes,
    seconds_between,
    text,
    time,
)  # fmt: skip
from skylane.features.training import join

BEGIN = datetime(2013, 7, 1, tzinfo=UTC)
FLIGHTS: dict[str, Any] = {
    "entity": "origin",
    "happened_at": "left",
    "known_at": "landed",
    "ttl": hours(6),
    "tile": minutes(30),
}


def _at(hour: float) -> datetime:
    return BEGIN + timedelta(hours=hour)


def _flights(folder: Path, **columns: Any) -> None:
    table = {
        "origin": ["JFK", "JFK", "EWR"], "left": [_at(1), _at(2), _at(2)], "landed": [_at(4), _at(3), _at(5)],
        "delay": [30, 0, 60], "carrier": ["UA", "B6", "UA"],
    }  # fmt: skip
    pq.write_table(pa.table(table | columns), folder / "flights.parquet")


def _late(**changes: Any) -> View:
    features = {"late": mean(col("delay") > 15, over=hours(6)), "flights": count(over=hours(6))}
    arguments: dict[str, Any] = {"source": Parquet("flights.parquet"), "features": features} | FLIGHTS | changes
    return View("late", **arguments)


def _labels(hours_after: list[float], origins: list[str]) -> Any:
    return pa.table({"origin": origins, "at": [_at(each) for each in hours_after], "row": range(len(origins))})


def test_only_what_was_known_counts(tmp_path: Path) -> None:
    _flights(tmp_path)
    labels = _labels([2.5, 3, 4, 4, 20, 4], ["JFK", "JFK", "JFK", "EWR", "JFK", "SFO"])
    table = join(labels, [_late().compiled], tmp_path).table
    assert table["late.flights"].to_pylist() == [0, 1, 2, 0, 0, 0]
    assert table["late.late"].to_pylist() == [None, 0, 0.5, None, None, None]


def test_every_row_is_kept_in_its_order_with_its_duplicates(tmp_path: Path) -> None:
    _flights(tmp_path)
    labels = _labels([4] * 5000, ["JFK"] * 5000)
    table = join(labels, [_late().compiled], tmp_path).table
    assert table["row"].to_pylist() == list(range(5000))
    assert set(table["late.flights"].to_pylist()) == {2}


@pytest.mark.parametrize("convert", [lambda table: table.to_pandas(), polars.from_arrow], ids=["pandas", "polars"])
def test_frames_of_other_libraries(tmp_path: Path, convert: Callable[[Any], Any]) -> None:
    _flights(tmp_path)
    table = join(convert(_labels([4, 4], ["JFK", "SFO"])), [_late().compiled], tmp_path).table
    assert table["late.flights"].to_pylist() == [2, 0]


def test_a_source_without_rows_and_labels_without_rows(tmp_path: Path) -> None:
    _flights(tmp_path)
    table = pq.read_table(tmp_path / "flights.parquet")
    pq.write_table(table.slice(0, 0), tmp_path / "none.parquet")
    plane = View(
        "plane", entity=["origin", "carrier"], source=Parquet("none.parquet"), happened_at="left", known="event",
        ttl=days(1), features={"delay": col("delay"), "carrier": text("carrier")},
    ).compiled  # fmt: skip
    views = [_late(source=Parquet("none.parquet")).compiled, plane]
    labels = _labels([4], ["JFK"]).append_column("carrier", [["UA"]])
    joined = join(labels, views, tmp_path)
    assert joined.table.select(["late.flights", "plane.delay", "plane.carrier"]).to_pylist() == [
        {"late.flights": 0, "plane.delay": None, "plane.carrier": None}
    ]
    assert joined.counts["plane"].absent == 1
    assert len(join(labels.slice(0, 0), views, tmp_path).table) == 0


def test_a_directory_of_files_is_one_source(tmp_path: Path) -> None:
    _flights(tmp_path)
    table = pq.read_table(tmp_path / "flights.parquet")
    (tmp_path / "lake").mkdir()
    for row in range(3):
        pq.write_table(table.slice(row, 1), tmp_path / "lake" / f"{row}.parquet")
    whole = join(_labels([4], ["JFK"]), [_late().compiled], tmp_path).table
    assert join(_labels([4], ["JFK"]), [_late(source=Parquet("lake")).compiled], tmp_path).table.equals(whole)


def test_on_demand_views_use_columns_and_other_views(tmp_path: Path) -> None:
    _flights(tmp_path)
    last = View(
        "last_flight", entity="origin", source=Parquet("flights.parquet"), happened_at="left", known_at="landed",
        ttl=days(1), features={"carrier": text("carrier"), "delay": col("delay")},
    )  # fmt: skip
    asked = View("asked", features={
        "double": col("last_flight.delay") * 2, "is_ua": text("last_flight.carrier") == "UA",
        "age": seconds_between(time("at"), at()),
    })  # fmt: skip
    joined = join(_labels([4, 40, 1], ["JFK", "JFK", "JFK"]), [asked.compiled, last.compiled], tmp_path)
    assert joined.table["asked.double"].to_pylist() == [0, None, None]
    assert joined.table["asked.is_ua"].to_pylist() == [0, None, None]
    assert joined.table["last_flight.carrier"].to_pylist() == ["B6", None, None]
    assert joined.table["asked.age"].to_pylist() == [0, 0, 0]
    counts = joined.counts["last_flight"]
    assert (counts.rows, counts.absent, counts.expired, counts.source_rows) == (3, 1, 1, 3)


def test_rows_that_are_not_known_yet_are_counted(tmp_path: Path) -> None:
    _flights(tmp_path, landed=[_at(4), None, _at(5)])
    joined = join(_labels([4], ["JFK"]), [_late().compiled], tmp_path)
    assert joined.table["late.flights"].to_pylist() == [1]
    assert joined.counts["late"].skipped_source_rows == 1


@pytest.mark.parametrize("code", ["0017", "17"])
def test_csv_keys_stay_what_they_are(tmp_path: Path, code: str) -> None:
    (tmp_path / "f.csv").write_text(
        "origin,left,landed,delay\n0017,2013-07-01T01:00:00Z,2013-07-01T02:00:00Z,3\n"
        "0017,2013-07-01T01:00:00-04:00,2013-07-01T02:00:00-04:00,0.5\n"
    )
    view = _late(source=Csv("f.csv"))
    table = join(_labels([3, 6.5], [code, code]), [view.compiled], tmp_path).table
    assert table["late.flights"].to_pylist() == ([1, 2] if code == "0017" else [0, 0])


def test_keys_of_several_columns(tmp_path: Path) -> None:
    _flights(tmp_path)
    view = _late(entity=["origin", "carrier"])
    labels = _labels([9, 9, 7, 7], ["EWR", "JFK", "EWR", "JFK"]).append_column("carrier", [["UA", "EWR", "B6", "B6"]])
    table = join(labels, [view.compiled], tmp_path).table
    assert table["late.flights"].to_pylist() == [0, 0, 0, 1]


NAIVE = {"left": [datetime(2013, 7, 1, each) for each in (1, 2, 2)]}
ONCE = [datetime(2013, 11, 3, 1, 30)] * 3


@pytest.mark.parametrize(
    ("columns", "changes", "expected"),
    [
        pytest.param(NAIVE, {}, "left: expected times with a zone.*time_zone=", id="times without a zone"),
        pytest.param(
            {"left": ONCE, "landed": ONCE}, {"source": Parquet("flights.parquet", "America/New_York")},
            "show once", id="a time that clocks show twice",
        ),
        pytest.param(
            {"landed": [_at(0), _at(3), _at(5)]}, {},
            "1 of 3 rows were known before they happened, by up to 1.0 hours.*zone", id="another time zone",
        ),
        pytest.param({"delay": ["a", "b", "c"]}, {}, "delay: expected numbers, received string", id="texts"),
        pytest.param({"origin": [1.5, 2.5, 3.5]}, {}, "origin: expected a key of", id="a key of fractions"),
        pytest.param({"delay": [2**53 + 1, 0, 0]}, {}, "at most 2..53 in size", id="too large"),
        pytest.param({}, {"known_at": "seen"}, "expected the columns seen, the file has origin", id="no such column"),
        pytest.param({}, {"source": Parquet("none.parquet")}, "none.parquet: cannot be read", id="no such file"),
    ],
)  # fmt: skip
def test_sources_that_cannot_be_used_are_named(
    tmp_path: Path, columns: dict[str, Any], changes: dict[str, Any], expected: str
) -> None:
    _flights(tmp_path, **columns)
    with pytest.raises(SourceError, match=f"late: .*{expected}"):
        join(_labels([4], ["JFK"]), [_late(**changes).compiled], tmp_path)


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        pytest.param({"origin": ["JFK"]}, "columns at", id="no time"),
        pytest.param({"at": [_at(1)]}, "columns origin", id="no key"),
        pytest.param({"origin": ["JFK"], "at": [datetime(2013, 7, 1)]}, "at: expected times with a zone", id="naive"),
        pytest.param({"origin": ["JFK", "JFK"], "at": [_at(1), None]}, "at: .* received 1 empty", id="an empty time"),
        pytest.param({"origin": ["JFK"], "at": [_at(1)], "late.late": [0]}, "names of features", id="a taken name"),
    ],
)  # fmt: skip
def test_labels_that_cannot_be_used_are_named(tmp_path: Path, labels: dict[str, Any], expected: str) -> None:
    _flights(tmp_path)
    with pytest.raises(SourceError, match=expected):
        join(pa.table(labels), [_late().compiled], tmp_path)


def test_schedules_may_be_known_ahead(tmp_path: Path) -> None:
    _flights(tmp_path, landed=[_at(0), _at(0), _at(0)])
    table = join(_labels([1, 2], ["JFK", "JFK"]), [_late(known_ahead=True).compiled], tmp_path).table
    assert table["late.flights"].to_pylist() == [1, 2]


def test_clocks_of_the_source_and_of_the_rows_are_read_in_their_zones(tmp_path: Path) -> None:
    _flights(tmp_path, **NAIVE, landed=[datetime(2013, 7, 1, 3)] * 3)
    view = _late(source=Parquet("flights.parquet", "America/New_York")).compiled
    labels = pa.table({"origin": ["JFK", "JFK"], "at": [datetime(2013, 7, 1, 9), datetime(2013, 7, 1, 8, 59)]})
    table = join(labels, [view], tmp_path, time_zone="Europe/Berlin").table  # 09:00 there is 03:00 in New York
    assert table["late.flights"].to_pylist() == [2, 0]


def test_numbers_keep_their_bits(tmp_path: Path) -> None:
    values = np.random.default_rng(7).normal(size=3)
    _flights(tmp_path, delay=values, landed=[_at(3)] * 3, origin=["JFK"] * 3)
    view = _late(features={"mean": mean(col("delay"), over=hours(6))}).compiled
    (mean_served,) = join(_labels([4], ["JFK"]), [view], tmp_path).table["late.mean"].to_pylist()
    assert mean_served == pytest.approx(values.mean(), rel=1e-15)
