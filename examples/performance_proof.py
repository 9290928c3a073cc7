"""How far the statistics of performance hold on the flights: the figures of docs/performance-statistics.md.

    python -m examples.performance_proof

Trains on January and February, answers March to December at each scheduled departure, and lets labels come when the
flights landed. About five minutes on one core.
"""

import argparse
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd
from sklearn.model_selection import GroupKFold, cross_val_predict

from examples.flight_rows import features, load_flights
from examples.flight_times import NEW_YORK, flight_times
from examples.flights import pipeline
from skylane.statistics.performance import (
    Calibration,
    ClassificationSums,
    Kept,
    Nowcast,
    RegressionSums,
    Segment,
    TimedRows,
    TrackRecord,
    block_interval,
    expected_figures,
    label_horizon,
    loss_change,
    nowcast,
    total,
    track_record,
    worst_segments,
)
from skylane.statistics.performance.intervals import serial_widening
from skylane.statistics.performance.metrics import Floats, Labels

HOUR: Final = 3600.0
DAY: Final = 24 * HOUR
WINDOW: Final = 6 * HOUR
LAST_TRAINING_MONTH: Final = 2
METRICS: Final = ("log_loss", "skill", "brier", "accuracy", "auc", "calibration", "positive_share")
HISTORY: Final = 75 * DAY
"""Rows this old are enough for 60 replays."""


@dataclass(frozen=True)
class Flights:
    """All flights in the order of their scheduled departure. Arrays are (flights,)."""

    rows: TimedRows
    labels: Labels
    scores: Floats
    """Probability of coming late; out of fold in the months of training."""
    month: Labels
    day: Labels
    """Day of the year in New York, from 0."""
    carrier: np.ndarray[Any, Any]

    @property
    def known(self) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Flights that landed."""
        return np.isfinite(self.rows.known_at)


@dataclass(frozen=True)
class Instant:
    """A figure as it looked at 18:00, as it was corrected, and as it was once all flights had landed."""

    found: Nowcast
    final: dict[str, float]


@dataclass(frozen=True)
class Accuracy:
    """One corrected figure over all days."""

    name: str
    early_bias: float
    bias: float
    spread: float
    width: float
    coverage: float


def load() -> Flights:
    """Flights with the answers of a model that was trained on January and February: about 15 s."""
    flights = load_flights()
    times = flight_times(flights)
    order = np.argsort(times["due_at"].to_numpy(), kind="stable")
    flights, times = flights.iloc[order].reset_index(drop=True), times.iloc[order].reset_index(drop=True)
    inputs, _ = features(flights.assign(arr_delay=flights["arr_delay"].fillna(0)))
    late = times["late"].fillna(0).to_numpy().astype(np.int64)
    month = flights["month"].to_numpy()
    days = pd.to_datetime(flights[["year", "month", "day"]]).dt.day_of_year.to_numpy() - 1
    train = (month <= LAST_TRAINING_MONTH) & times["late"].notna().to_numpy()
    model = pipeline().fit(inputs[train], late[train])
    scores = model.predict_proba(inputs)[:, 1]
    folds = GroupKFold(5).split(inputs[train], late[train], days[train] // 7)
    scores[train] = cross_val_predict(pipeline(), inputs[train], late[train], cv=folds, method="predict_proba")[:, 1]
    groups = flights["dest"].astype("category").cat.codes.to_numpy().astype(np.int64)
    known_at = np.where(times["landed_at"].isna(), np.inf, _seconds(times["landed_at"]))
    rows = TimedRows(_seconds(times["due_at"]), known_at, groups)
    return Flights(rows, late, scores, month, days.astype(np.int64), flights["carrier"].to_numpy())


def nowcasts(flights: Flights, step: int = 1, *, grouped: bool = True) -> list[Instant]:
    """Figures at 18:00 of flights due out in the last six hours, on each `step`-th day from 1 March on."""
    made = []
    for now in _evenings(step):
        horizon = label_horizon(_between(flights.rows, now - HISTORY, now)[0], now, 0.999).seconds
        assert horizon is not None
        rows, chosen = _between(flights.rows, now - HISTORY, now)
        if not grouped:
            rows = TimedRows(rows.happened_at, rows.known_at)
        found = nowcast(
            rows, flights.labels[chosen], flights.scores[chosen],
            now=now, since=now - WINDOW, block_s=DAY, horizon_s=horizon,
        )  # fmt: skip
        made.append(Instant(found, _final(flights, now)))
    return made


def accuracy(instants: Sequence[Instant], name: str) -> Accuracy:
    """How far one figure was off, and how often its interval held the final one."""
    early, errors, widths, inside = [], [], [], []
    for each in instants:
        figure, final = each.found.figures[name], each.final[name]
        early.append(figure.as_it_looks - final)
        errors.append(figure.corrected - final)
        assert figure.low is not None
        assert figure.high is not None
        widths.append(figure.high - figure.low)
        inside.append(figure.low <= final <= figure.high)
    return Accuracy(
        name, float(np.mean(early)), float(np.mean(errors)), float(np.std(errors)), float(np.mean(widths)),
        float(np.mean(inside)),
    )  # fmt: skip


def days_of(flights: Flights, chosen: np.ndarray[Any, np.dtype[np.bool_]]) -> dict[int, ClassificationSums]:
    """Sums by day over the chosen flights that landed."""
    chosen = chosen & flights.known
    labels, scores, day = flights.labels[chosen], flights.scores[chosen], flights.day[chosen]
    return {one: ClassificationSums.of(labels[day == one], scores[day == one]) for one in np.unique(day).tolist()}


def coverage(days: Sequence[ClassificationSums], metric: str, blocks: int, repeats: int, seed: int = 0) -> float:
    """Share of resamplings (days drawn with replacement) whose interval holds the figure over all days."""
    generator = np.random.default_rng(seed)
    truth = block_interval(days, metric, generator, replicates=2).estimate
    inside = 0
    for _ in range(repeats):
        drawn = [days[position] for position in generator.integers(0, len(days), blocks)]
        found = block_interval(drawn, metric, generator, replicates=999)
        inside += found.low is not None and found.high is not None and found.low <= truth <= found.high
    return inside / repeats


def simulated_coverage(blocks: int, memory: float, *, skewed: bool, repeats: int) -> tuple[float, float]:
    """Coverage where each block remembers the one before: of intervals as they are, and without the widening."""
    generator = np.random.default_rng(1)
    truth = math.exp(0.18) if skewed else 0.0
    inside = np.zeros(2)
    for _ in range(repeats):
        values = _autoregressive(generator, blocks, memory)
        values = np.exp(0.6 * values) if skewed else values
        found = block_interval(
            [RegressionSums.of(np.zeros(1), values[i : i + 1]) for i in range(blocks)], "bias", generator
        )
        assert found.low is not None
        assert found.high is not None
        for position, factor in enumerate((1.0, serial_widening(values))):
            low, high = (found.estimate + (end - found.estimate) / factor for end in (found.low, found.high))
            inside[position] += low <= truth <= high
    return float(inside[0]) / repeats, float(inside[1]) / repeats


def retired_by_luck(memory: float, repeats: int) -> float:
    """Share of years in which an estimate that is right is retired, if errors remember the block before."""
    generator = np.random.default_rng(2)
    years = [_autoregressive(generator, 365, memory) for _ in range(repeats)]
    return float(np.mean([track_record([Kept(error, 0.0) for error in year.tolist()]).retired for year in years]))


def unlabelled(flights: Flights, metric: str) -> tuple[list[tuple[int, float, float]], list[TrackRecord]]:
    """By month: estimate and realised figure. And the record after each day from 1 March on."""
    reference = (flights.month <= LAST_TRAINING_MONTH) & flights.known
    calibration = Calibration.of(flights.labels[reference], flights.scores[reference])

    def pair(chosen: np.ndarray[Any, np.dtype[np.bool_]]) -> Kept:
        estimate = getattr(expected_figures(flights.scores[chosen], calibration=calibration), metric)
        realised = ClassificationSums.of(flights.labels[chosen], flights.scores[chosen]).figures()
        return Kept(estimate, getattr(realised, metric))

    months = [pair((flights.month == month) & flights.known) for month in range(3, 13)]
    later = np.unique(flights.day[flights.month > LAST_TRAINING_MONTH]).tolist()
    kept = [pair((flights.day == day) & flights.known) for day in later]
    records = [track_record(kept[: count + 1]) for count in range(len(kept))]
    return [(month, each.estimate, each.realised) for month, each in zip(range(3, 13), months, strict=True)], records


def carriers(flights: Flights) -> list[Segment]:
    """The carriers on which the model does worst from March on, by log loss."""
    later = flights.month > LAST_TRAINING_MONTH
    names = np.unique(flights.carrier[later]).tolist()
    return worst_segments({name: days_of(flights, later & (flights.carrier == name)) for name in names}, "log_loss")


def _autoregressive(generator: np.random.Generator, count: int, memory: float) -> Floats:
    values = generator.normal(size=count)
    for position in range(1, count):
        values[position] = memory * values[position - 1] + math.sqrt(1 - memory**2) * values[position]
    return values


def _evenings(step: int) -> Iterator[float]:
    for day in pd.date_range("2013-03-01 18:00", "2013-12-31 18:00", tz=NEW_YORK)[::step]:
        yield day.timestamp()


def _between(rows: TimedRows, start: float, end: float) -> tuple[TimedRows, slice]:
    chosen = slice(*np.searchsorted(rows.happened_at, [start, end]).tolist())
    return TimedRows(rows.happened_at[chosen], rows.known_at[chosen], rows.group[chosen]), chosen


def _final(flights: Flights, now: float) -> dict[str, float]:
    rows, chosen = _between(flights.rows, now - WINDOW, now)
    landed = np.isfinite(rows.known_at)
    sums = ClassificationSums.of(flights.labels[chosen][landed], flights.scores[chosen][landed]).figures()
    return {
        "positive_share": sums.class_shares[1], "log_loss": sums.log_loss, "brier": sums.brier,
        "accuracy": sums.accuracy,
    }  # fmt: skip


def _seconds(instants: pd.Series) -> Floats:
    return np.asarray((instants - pd.Timestamp(0, tz="UTC")) / pd.Timedelta(1, "s"), np.float64)


def _print_nowcasts(flights: Flights, step: int) -> None:
    for title, grouped in (("delays by destination", True), ("one delay for all", False)):
        instants = nowcasts(flights, step, grouped=grouped)
        to_come = np.mean([each.found.share_to_come for each in instants])
        print(f"\nAt 18:00, flights due out in the last 6 h, {len(instants)} days, {title}")
        print(f"labels still to come: {to_come:.0%}")
        print("figure           early − final   corrected − final   its spread   interval width   coverage")
        for name in ("positive_share", "log_loss", "brier", "accuracy"):
            row = accuracy(instants, name)
            print(
                f"{name:15}  {row.early_bias:+13.4f}   {row.bias:+17.4f}   {row.spread:10.4f}   {row.width:14.4f}"
                f"   {row.coverage:8.1%}"
            )


def _print_horizon(flights: Flights) -> None:
    print("\nLabel horizon, as learnt on the day")
    for date in ("2013-01-05", "2013-03-01", "2013-07-01", "2013-12-31"):
        now = pd.Timestamp(date, tz=NEW_YORK).timestamp()
        rows, _ = _between(flights.rows, -math.inf, now)
        most, nearly = (label_horizon(rows, now, share) for share in (0.99, 0.999))
        seconds = [
            f"{each.seconds / HOUR:5.1f} h" if each.seconds is not None else each.reason for each in (most, nearly)
        ]
        print(f"{date}   99 %: {seconds[0]}   99.9 %: {seconds[1]}   ever known: {most.curve.share_ever_known:.1%}")


def _print_coverage(days: Sequence[ClassificationSums], repeats: int) -> None:
    print(f"\nCoverage of 95 % intervals over days drawn from March to December, {repeats} resamplings")
    print("metric           14 days   30 days   60 days")
    for metric in METRICS:
        shares = [coverage(days, metric, blocks, repeats) for blocks in (14, 30, 60)]
        print(f"{metric:15}" + "".join(f"  {share:8.1%}" for share in shares), flush=True)
    print("\nMarch to December")
    for metric in METRICS:
        found = block_interval(days, metric, np.random.default_rng(0))
        counted = "" if found.effective_rows is None else f"   {found.rows:,} rows count as {found.effective_rows:,.0f}"
        print(f"{metric:15}  {found.estimate:.4f}   {found.low:.4f} to {found.high:.4f}{counted}")


def _print_simulations(repeats: int) -> None:
    print(
        f"\nSimulated blocks that remember the one before, {repeats} draws: coverage as it is, and without the widening"
    )
    for skewed in (False, True):
        for memory in (0.0, 0.5):
            shares = [simulated_coverage(blocks, memory, skewed=skewed, repeats=repeats) for blocks in (30, 60)]
            words = "   ".join(f"{wide:.1%} ({plain:.1%})" for wide, plain in shares)
            print(f"{'skewed' if skewed else 'normal'}, correlation {memory}   30 and 60 blocks: {words}", flush=True)
    shares_of_years = [retired_by_luck(memory, repeats) for memory in (0.0, 0.5)]
    print(
        "a right estimate without labels is retired in",
        " and ".join(f"{each:.1%}" for each in shares_of_years),
        "of years",
    )


def _print_unlabelled(flights: Flights) -> None:
    for metric in ("auc", "log_loss"):
        months, records = unlabelled(flights, metric)
        print(f"\nEstimate without labels: {metric}")
        for month, estimate, realised in months:
            error = estimate - realised
            print(f"month {month:2}   estimate {estimate:.4f}   realised {realised:.4f}   error {error:+.4f}")
        retired = next((count for count, record in enumerate(records, 1) if record.retired), None)
        print(f"retired after {retired} days" if retired else "not retired", f"({records[-1].words})")


def _print_changes(flights: Flights) -> None:
    print("\nInputs or world: log loss against January and February (out of fold)")
    reference = total(list(days_of(flights, flights.month <= LAST_TRAINING_MONTH).values()))
    for month in range(3, 13):
        found = loss_change(reference, total(list(days_of(flights, flights.month == month).values())))
        print(f"month {month:2}   change {found.change:+.4f} = inputs {found.inputs:+.4f} + world {found.world:+.4f}")
    print("\nWorst carriers by log loss, simultaneous 95 % intervals")
    for each in carriers(flights)[:6]:
        interval = each.reason or f"{each.low:+.4f} to {each.high:+.4f}"
        print(
            f"{each.name}   {each.rows:6,} rows   worse by {each.worse_by:+.4f}   {interval}{'   worse' * each.worse}"
        )


def main(argv: Sequence[str] | None = None) -> int:
    """Print the tables. Returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m examples.performance_proof", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("--step", type=int, default=1, metavar="DAYS", help="replay each DAYS-th day (default: all)")
    parser.add_argument("--repeats", type=int, default=400, help="resamplings for the coverage (default: %(default)s)")
    options = parser.parse_args(argv)
    flights = load()
    _print_horizon(flights)
    _print_nowcasts(flights, options.step)
    _print_unlabelled(flights)
    _print_changes(flights)
    _print_simulations(options.repeats)
    _print_coverage(list(days_of(flights, flights.month > LAST_TRAINING_MONTH).values()), options.repeats)
    return 0


if __name__ == "__main__":
    sys.exit(main())
