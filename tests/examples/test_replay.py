"""The replay of flights: which are chosen, what faults do, and that nothing is known before it happened."""

import re

import numpy as np
import pandas as pd
import pytest

from examples import replay, replay_faults
from examples.replay_model import Flights

MIDNIGHT = pd.Timestamp("2013-07-01", tz="UTC")


def flights(count: int, per_hour: int = 10) -> Flights:
    due_at = pd.Series(MIDNIGHT + pd.to_timedelta(np.arange(count) / per_hour, unit="h"))
    rows = pd.DataFrame(
        {
            "wind_speed": np.linspace(5, 20, count), "temp": np.full(count, 50.0), "visib": np.full(count, 10.0),
            "dep_minute_of_day": np.arange(count) % 1440.0, "arr_minute_of_day": np.full(count, 7.0),
        }
    )  # fmt: skip
    late = np.arange(count) % 2
    return Flights(rows, late.astype(np.int64), due_at, due_at + pd.to_timedelta(1 + late, unit="h"))


def test_so_many_flights_a_day_in_their_order() -> None:
    chosen = replay.sampled(flights(480), 50, seed=0)
    days = chosen.due_at.dt.floor("D").value_counts()
    assert days.tolist() == [50, 50]
    assert chosen.due_at.is_monotonic_increasing
    assert replay.sampled(flights(480), 50, seed=0).due_at.equals(chosen.due_at)
    assert not replay.sampled(flights(480), 50, seed=1).due_at.equals(chosen.due_at)


def test_an_outcome_is_known_when_the_flight_has_landed_and_in_that_order() -> None:
    pending, some = replay._Pending(), flights(6)
    pending.add(some, pd.Series(some.late, dtype=float), "id")
    assert pending.landed(MIDNIGHT) == []
    early = pending.landed(MIDNIGHT + pd.Timedelta(hours=1.9))
    assert [(row, label) for _, _, row, label in early] == [(0, "0"), (2, "0"), (4, "0")]
    assert len(pending.landed(MIDNIGHT + pd.Timedelta(hours=9))) == 3


@pytest.mark.parametrize(
    ("text", "column", "value"),
    [
        pytest.param("wind_speed_kmh@2013-07-01", "wind_speed", 5 * 1.609344, id="miles become kilometres"),
        pytest.param("temp_celsius@2013-07-01", "temp", 10.0, id="Fahrenheit becomes Celsius"),
        pytest.param("constant:visib@2013-07-01", "visib", 10.0, id="a constant"),
        pytest.param("swapped_clocks@2013-07-01", "dep_minute_of_day", 7.0, id="two columns are swapped"),
        pytest.param("wind_speed_kmh@2013-07-02", "wind_speed", 5.0, id="not before its day"),
        pytest.param("worse_model@2013-07-01", "wind_speed", 5.0, id="a worse model leaves the rows alone"),
    ],
)
def test_what_a_fault_does_to_a_row(text: str, column: str, value: float) -> None:
    rows = flights(3).rows
    changed = replay_faults.apply([replay_faults.parse(text)], rows, MIDNIGHT)
    assert changed[column].iloc[0] == pytest.approx(value)
    assert rows["wind_speed"].iloc[0] == 5.0


def test_a_missing_column_is_missing() -> None:
    fault = replay_faults.parse("missing:temp@2013-07-01")
    assert replay_faults.apply([fault], flights(3).rows, MIDNIGHT)["temp"].isna().all()


def test_half_of_the_late_flights_come_in_time() -> None:
    some = flights(400)
    late = pd.Series(np.ones(400))
    changed = replay_faults.labels([replay_faults.parse("late_halved@2013-07-02")], late, some.due_at)
    assert (changed[:240].mean(), changed[240:].mean()) == (1.0, 0.5)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        pytest.param("wind@2013-07-01", "expected KIND@DATE with one of wind_speed_kmh", id="another kind"),
        pytest.param("missing@2013-07-01", "expected KIND:COLUMN@DATE for missing", id="without a column"),
        pytest.param("leak:temp@2013-07-01", "expected KIND@DATE for leak", id="with a column"),
        pytest.param("leak@July", "expected a date as 2013-07-01", id="no date"),
        pytest.param("leak", "expected a date as 2013-07-01", id="without a date"),
    ],
)
def test_what_is_no_fault(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=re.escape(says)):
        replay_faults.parse(text)
