"""The model of a replay: the flights' own pipeline, trained on January and February, and told when a flight is due.

The instant is a column of the model, so that the journal knows what time a row is about (`event_time` in model.toml).
It does not change the answers: the pipeline only asks whether it is positive.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import Binarizer

from examples.flight_rows import NUMBERS, Labels, features, load_flights
from examples.flight_times import flight_times
from examples.flights import pipeline
from skylane.convert import Published, publish
from skylane.convert.console import Reporter

NAME: Final = "flights_replay"
MONTH: Final = "month"
LAST_TRAINING_MONTH: Final = 2
HELD_OUT_ROWS: Final = 3000
TREES: Final = 60

MODEL_TOML: Final = """\
# How flights_replay is served: by `python -m examples.replay`, which plays March to December 2013 again.

[monitor]
journal = true
# The replay plays days in a second: all rows are recorded, not a sample.
rows_per_second = 1000000
# Texts are recorded only if they are named.
keep = ["*", "carrier", "origin", "dest"]
# A row is about the flight's scheduled departure, not about the moment of the replay.
event_time = "due_at"
positive = "1"
segments = ["carrier", "origin", "dest"]
block = "1d"
"""


@dataclass(frozen=True)
class Flights:
    """Flights that arrived, in the order in which they were due."""

    rows: pd.DataFrame
    late: Labels
    due_at: "pd.Series[pd.Timestamp]"
    landed_at: "pd.Series[pd.Timestamp]"

    def between(self, first: pd.Timestamp, last: pd.Timestamp) -> "Flights":
        """Flights that were due from the first instant on and before the last."""
        return self.where(((self.due_at >= first) & (self.due_at < last)).to_numpy())

    def part(self, start: int, end: int) -> "Flights":
        """The flights at these places."""
        rows, times = self.rows.iloc[start:end], (self.due_at.iloc[start:end], self.landed_at.iloc[start:end])
        due_at, landed_at = (each.reset_index(drop=True) for each in times)
        return Flights(rows.reset_index(drop=True), self.late[start:end], due_at, landed_at)

    def where(self, chosen: "np.ndarray[Any, np.dtype[Any]]") -> "Flights":
        """The flights that are chosen."""
        return Flights(
            self.rows[chosen].reset_index(drop=True),
            self.late[chosen],
            self.due_at[chosen].reset_index(drop=True),
            self.landed_at[chosen].reset_index(drop=True),
        )


def load() -> Flights:
    """All 327,346 flights that arrived. About two seconds."""
    flights = load_flights()
    flights = flights[flights["arr_delay"].notna()].reset_index(drop=True)
    rows, late = features(flights)
    times = flight_times(flights)
    order = np.argsort(times["due_at"].to_numpy(), kind="stable")
    due_at = times["due_at"].iloc[order].reset_index(drop=True)
    seconds = (due_at - pd.Timestamp(0, tz="UTC")).dt.total_seconds()
    return Flights(
        rows.iloc[order].reset_index(drop=True).assign(due_at=seconds),
        late[order],
        due_at,
        times["landed_at"].iloc[order].reset_index(drop=True),
    )


def train(rows: pd.DataFrame, late: Labels, trees: int = TREES) -> Pipeline:
    """Fit the flights' pipeline without the month, which is one of two in training. About three seconds."""
    made = pipeline(trees)
    numbers = [name for name in NUMBERS if name != MONTH]
    branches = [
        (name, branch, numbers if columns == NUMBERS else columns)
        for name, branch, columns in made.named_steps["columns"].transformers
    ]
    made.steps[0] = ("columns", ColumnTransformer([*branches, ("due_at", Binarizer(), ["due_at"])]))
    made.set_params(forest__max_samples=min(0.5, 30_000 / len(rows)))
    fitted = made.fit(rows.drop(columns=MONTH), late)
    fitted.set_params(forest__n_jobs=None)
    return fitted


def publish_trained(
    flights: Flights, models: Path, *, fault: str = "", trees: int = TREES, reporter: Reporter | None = None
) -> Published:
    """Train on January and February and publish. `fault`: worse_model or leak. Raises ConversionError."""
    reporter = reporter or Reporter(quiet=True)
    early = (flights.rows[MONTH] <= LAST_TRAINING_MONTH).to_numpy()
    rows, late = flights.rows[early].reset_index(drop=True), flights.late[early]
    random = np.random.default_rng(0)
    if fault == "worse_model":
        late = random.permutation(late)
    if fault == "leak":  # a table that was joined by departure: it knows how the flight ended
        rows = rows.assign(visib=np.where(random.random(len(late)) < 0.6, 10.0 - 9.0 * late, rows["visib"]))
    folder = models / NAME
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "model.toml").exists():
        (folder / "model.toml").write_text(MODEL_TOML)
    fitted = train(rows, late, trees)
    later = flights.where(~early)
    chosen = np.linspace(0, len(later.late) - 1, HELD_OUT_ROWS).astype(int)
    if fault:
        chosen = np.linspace(0, int(early.sum()) - 1, HELD_OUT_ROWS).astype(int)
        return _publish(fitted, rows.iloc[chosen].reset_index(drop=True), late[chosen], rows, models, reporter)
    return _publish(fitted, later.rows.iloc[chosen].reset_index(drop=True), later.late[chosen], rows, models, reporter)


def _publish(
    fitted: Pipeline, held_out: pd.DataFrame, target: Labels, training: pd.DataFrame, models: Path, reporter: Reporter
) -> Published:
    with reporter.working(NAME):
        return publish(
            fitted,
            held_out.drop(columns=MONTH),
            name=NAME,
            repository=models,
            target=target,
            training=training.drop(columns=MONTH),
            times="due_at",
            timezone="UTC",
            say=reporter.say,
        )
