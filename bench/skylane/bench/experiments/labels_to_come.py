"""How right figures are while labels are still to come: each day of a replay at 18:00, against what became true.

    python -m examples.replay --first 2013-02-01 --flights-a-day 5000 --journal journal
    python -m skylane.bench.experiments.labels_to_come --journal journal --state monitor.sqlite

At 18:00 of each day (New York) only what was known then is used. The corrected figure and the one from the labels so
far are compared with the final figure of the same flights. docs/monitoring.md quotes the result.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

import numpy as np

from skylane.monitor import estimators, performance_figures
from skylane.monitor.labelled_blocks import LabelledRows, concatenated
from skylane.monitor.monitor import Monitor
from skylane.monitor.served_models import Answers, ServedModels, block_us
from skylane.monitor.state import State
from skylane.statistics.performance import nowcast

MODEL: Final = "flights_replay"
ZONE: Final = ZoneInfo("America/New_York")
AT: Final = time(18)
HOURS: Final = 6
"""Flights due out in the last hours before."""
PAST_DAYS: Final = 80
"""What is looked at of the past; the correction uses 60 blocks of it."""
DAY_US: Final = 86_400_000_000


@dataclass(frozen=True)
class Day:
    """One day at 18:00, in shares from 0 to 1."""

    day: date
    known: float
    """Share of the flights with a label."""
    looks: float
    corrected: float
    low: float
    high: float
    final: float

    @property
    def covered(self) -> bool:
        """Whether the interval holds the final figure."""
        return self.low <= self.final <= self.high


def days(history: LabelledRows, answers: Answers, length: int, first: date, last: date) -> Iterator[Day]:
    """Each day from the first on and before the last."""
    day = first
    while day < last:
        now = round(datetime.combine(day, AT, ZONE).timestamp() * 1e6)
        found = one_day(history, answers, length, now, day)
        if found is not None:
            yield found
        day += timedelta(days=1)


def one_day(history: LabelledRows, answers: Answers, length: int, now: int, day: date) -> Day | None:
    """The late share of the flights due in the last hours, as known now, and in the end."""
    since = now - HOURS * 3_600_000_000
    own = history.where((history.at >= since) & (history.at < now))
    past = history.where((history.at >= now - PAST_DAYS * DAY_US) & (history.at < now)).as_of(now)
    if not len(own):
        return None
    delays = estimators.learn([(int(past.at.min() // length * length), past)], answers, now, length, None)
    if delays.horizon is None:
        return None
    found = nowcast(
        delays.rows, delays.labels, delays.scores, now=now / 1e6, since=since / 1e6, block_s=length / 1e6,
        horizon_s=delays.horizon / 1e6,
    )  # fmt: skip
    figure = found.figures["positive_share"]
    if figure.low is None or figure.high is None:
        return None
    final = float(np.average(own.truth, weights=own.weights))
    return Day(day, found.known / found.rows, figure.as_it_looks, figure.corrected, figure.low, figure.high, final)


def summary(found: Sequence[Day]) -> str:
    """The figures that the page quotes."""
    columns: dict[str, Any] = {
        name: np.array([getattr(day, name) for day in found]) for name in Day.__dataclass_fields__
    }
    final, corrected, looks = columns["final"], columns["corrected"], columns["looks"]
    covered = np.array([day.covered for day in found])
    seen = ~np.isnan(looks)
    error = 100 * (corrected - final)
    return "\n".join(
        [
            f"{len(found)} days, {found[0].day} to {found[-1].day}; flights due from 12:00 to 18:00 in New York",
            f"labels known at 18:00: {100 * columns['known'].mean():.1f} %",
            f"late share in the end: {100 * final.mean():.2f} %",
            f"as it looks - final: {100 * (looks - final)[seen].mean():+.2f} points on average",
            f"corrected - final: {error.mean():+.2f} points on average (standard deviation {error.std():.1f})",
            f"the 95 % interval holds the final share on {covered.sum()} of {len(found)} days "
            f"({100 * covered.mean():.1f} %)",
            f"width of the interval: {100 * (columns['high'] - columns['low']).mean():.1f} points on average",
        ]
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Print the comparison. Returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--journal", type=Path, action="append", required=True)
    parser.add_argument("--state", type=Path, required=True, help="made if it does not exist")
    parser.add_argument("--models", type=Path, default=Path("models"))
    parser.add_argument("--first", type=date.fromisoformat, default=date(2013, 3, 1))
    parser.add_argument("--last", type=date.fromisoformat, default=date(2014, 1, 1))
    options = parser.parse_args(argv)
    now = round(datetime.now(UTC).timestamp() * 1e6)
    models = ServedModels(options.models)
    with State(options.state) as state:
        Monitor(state, options.journal, options.models).read(MODEL)
        length = block_us(models.refresh(MODEL))
        blocks = performance_figures.load(state, models, MODEL, options.journal, now)
        answers = models.answers_of(MODEL, state.versions(MODEL))
    history = concatenated([rows for _, rows in blocks])
    if history is None:
        print(f"no rows of {MODEL} are in the journal", file=sys.stderr)
        return 1
    print(summary(list(days(history, answers, length, options.first, options.last))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
