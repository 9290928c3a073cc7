"""A project with feature views: the flights of 2013 as sources, labels to join, and views/flights.py.

python -m examples.flight_views        writes views/, planes.parquet, flights.parquet and labels.parquet here
"""

from pathlib import Path
from typing import Final

import pandas as pd

from examples.flight_rows import load_flights
from examples.flight_times import flight_times

VIEWS: Final = """\
from skylane.features import Parquet, View, at, col, count, days, hour, hours, mean, minutes

planes = View(
    "planes",
    entity="tailnum",
    source=Parquet("planes.parquet"),
    happened_at="registered_at",
    known="event",
    ttl=days(400),
    features={"seats": col("seats"), "age": 2013 - col("built")},
)

# A flight is due out at one instant, and whether it is late is known when it has landed: joins use that one.
delays = View(
    "delays",
    entity="origin",
    source=Parquet("flights.parquet"),
    happened_at="due_at",
    known_at="landed_at",
    ttl=hours(1),
    tile=minutes(15),
    features={"late_share": mean(col("late"), over=hours(3)), "flights": count(over=hours(3))},
)

trip = View(
    "trip",
    features={"hour": hour(at(), "America/New_York"), "miles_per_seat": col("distance") / col("planes.seats")},
)
"""


def write(folder: Path) -> None:
    """Write the project."""
    flights = load_flights()
    times = flight_times(flights)
    planes = flights[["tailnum", "plane_built", "plane_seats"]].dropna(subset=["tailnum", "plane_seats"])
    planes = planes.drop_duplicates("tailnum").rename(columns={"plane_built": "built", "plane_seats": "seats"})
    planes["registered_at"] = pd.Timestamp("2013-01-01T00:00Z")
    planes.to_parquet(folder / "planes.parquet", index=False)
    source = pd.concat([flights[["origin", "tailnum", "distance"]], times], axis=1)
    source[["origin", "due_at", "landed_at", "late"]].to_parquet(folder / "flights.parquet", index=False)
    flown = source[source["late"].notna()].rename(columns={"due_at": "at"})
    flown[["tailnum", "origin", "distance", "at", "late"]].to_parquet(folder / "labels.parquet", index=False)
    (folder / "views").mkdir(exist_ok=True)
    (folder / "views" / "flights.py").write_text(VIEWS)


if __name__ == "__main__":
    write(Path.cwd())
