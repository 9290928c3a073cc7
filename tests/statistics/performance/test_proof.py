"""The bars for the figures on the real flights: what docs/performance-statistics.md promises."""

from collections.abc import Sequence

import numpy as np
import pytest

from examples import performance_proof as proof
from examples.flight_rows import load_flights
from examples.flight_times import flight_times

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def flights() -> proof.Flights:
    return proof.load()


@pytest.fixture(scope="module")
def instants(flights: proof.Flights) -> Sequence[proof.Instant]:
    return proof.nowcasts(flights)


@pytest.mark.parametrize("figure", ["positive_share", "accuracy"])
def test_the_corrected_figure_is_right_on_average(instants: Sequence[proof.Instant], figure: str) -> None:
    found = proof.accuracy(instants, figure)
    assert abs(found.early_bias) > 0.07
    assert abs(found.bias) <= 0.005


@pytest.mark.parametrize("figure", ["positive_share", "log_loss", "brier", "accuracy"])
def test_its_interval_holds_the_final_figure(instants: Sequence[proof.Instant], figure: str) -> None:
    assert 0.93 <= proof.accuracy(instants, figure).coverage <= 0.97


@pytest.mark.parametrize("metric", proof.METRICS)
def test_intervals_over_thirty_days_hold_the_figure_of_all_days(flights: proof.Flights, metric: str) -> None:
    """400 resamplings tell a coverage of 0.95 to ± 0.02."""
    days = list(proof.days_of(flights, flights.month > proof.LAST_TRAINING_MONTH).values())
    assert 0.92 <= proof.coverage(days, metric, 30, 400) <= 0.98


def test_the_estimate_without_labels_is_compared_with_each_day(flights: proof.Flights) -> None:
    record = proof.unlabelled(flights, "log_loss")[1][-1]
    assert record.blocks == 306
    assert record.typical_error > 0.1  # of a log loss of 0.5: nothing to rely on


def test_a_flight_takes_as_long_as_it_is_in_the_air_and_on_the_ground() -> None:
    """With wrong time zones the difference would be off by whole hours for most of the flights."""
    flights = load_flights()
    times = flight_times(flights)
    minutes = (times["landed_at"] - times["due_at"]).dt.total_seconds() / 60
    flying = minutes - flights["dep_delay"] - flights["air_time"]
    assert flying.median() == pytest.approx(30, abs=5)
    assert np.mean((flying < 0) | (flying > 150)) < 0.001
    assert (times["landed_at"].isna() == flights["arr_delay"].isna()).all()
