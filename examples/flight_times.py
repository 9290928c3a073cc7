"""When each flight was due out and when it landed, in UTC: what a monitor may know of it, and from when on.

Departures are printed in New York's time and arrivals in the destination's: read as New York's, 31 % of the labels
would be known more than an hour early. Needs only pandas.
"""

from typing import Final

import numpy as np
import pandas as pd

from examples.flight_rows import LATE_MINUTES, _data

NEW_YORK: Final = "America/New_York"
NOT_LISTED: Final = dict.fromkeys(("BQN", "PSE", "SJU", "STT"), "America/Puerto_Rico")
"""Airports in the Caribbean that the package's table leaves out; all keep Atlantic time without a summer."""
_MINUTES_A_DAY: Final = 24 * 60


def flight_times(flights: pd.DataFrame) -> pd.DataFrame:
    """One row per flight, as given: `due_at`, `landed_at` (UTC, NaT if it never did) and `late` (1, 0 or NaN).

    `flights` are rows as `load_flights` returns them. A flight's answer is asked for at its scheduled departure, and
    its label is known once it has landed: scheduled arrival plus the delay. Cancelled and diverted flights never
    land.
    """
    midnight = pd.to_datetime(flights[["year", "month", "day"]])
    due_at = _utc(midnight + _minutes(flights["sched_dep_time"]), pd.Series(NEW_YORK, index=flights.index))
    arrival = _utc(midnight + _minutes(flights["sched_arr_time"]), _zones(flights["dest"]))
    expected = flights["distance"] / 450 * 60 + 60  # minutes from gate to gate, to tell the day of the arrival
    printed = (arrival - due_at).dt.total_seconds() / 60
    days = ((expected - printed) / _MINUTES_A_DAY).round()
    landed_at = arrival + pd.to_timedelta(days, unit="D") + pd.to_timedelta(flights["arr_delay"], unit="min")
    late = (flights["arr_delay"] > LATE_MINUTES).astype(float).where(flights["arr_delay"].notna())
    return pd.DataFrame({"due_at": due_at, "landed_at": landed_at, "late": late})


def _minutes(clock: pd.Series) -> pd.Series:
    return pd.to_timedelta(clock // 100 * 60 + clock % 100, unit="min")


def _zones(dest: pd.Series) -> pd.Series:
    airports = pd.read_csv(_data() / "airports.csv", usecols=["faa", "tzone"]).set_index("faa")["tzone"]
    return dest.map({str(faa): str(zone) for faa, zone in airports.items()} | NOT_LISTED)


def _utc(local: pd.Series, zones: pd.Series) -> pd.Series:
    found = pd.Series(np.datetime64("NaT", "us"), index=local.index).dt.tz_localize("UTC")
    for zone in zones.unique():
        here = zones == zone
        # The hour that summer time repeats is read as its first; no flight is due in the hour that it skips.
        clock = local[here].dt.tz_localize(zone, ambiguous=np.ones(here.sum(), bool), nonexistent="shift_forward")
        found.loc[here] = clock.dt.tz_convert("UTC")
    return found
