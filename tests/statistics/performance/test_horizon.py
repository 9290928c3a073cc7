"""How long labels take, learnt with rows whose label has not come."""

import numpy as np
import pytest
from scipy import stats

from skylane.statistics.performance import TimedRows, delay_curve, horizon_by_group, label_horizon

HOUR = 3600.0
NEVER = np.inf


def _rows(seed: int = 5, count: int = 4000, *, hours: float = 100.0) -> TimedRows:
    """Rows over some hours, labels after 2 h on average; one in ten never gets one."""
    generator = np.random.default_rng(seed)
    happened_at = generator.uniform(0, hours * HOUR, count)
    delay = generator.gamma(4, 0.5 * HOUR, count)
    return TimedRows(happened_at, np.where(generator.random(count) < 0.1, NEVER, happened_at + delay))


def test_equals_the_estimate_of_scipy() -> None:
    rows, now = _rows(), 60 * HOUR
    curve = delay_curve(rows, now)
    asked = rows.happened_at <= now
    came = (rows.known_at <= now)[asked]
    delay = np.where(came, rows.known_at[asked] - rows.happened_at[asked], now - rows.happened_at[asked])
    reference = stats.ecdf(stats.CensoredData.right_censored(delay, ~came)).cdf
    assert curve.share_known == pytest.approx(reference.evaluate(curve.delay_s), abs=1e-9)


def test_finds_the_delay_of_most_labels_and_those_that_never_come() -> None:
    horizon = label_horizon(_rows(count=40_000), 100 * HOUR)
    truth = stats.gamma(4, scale=0.5 * HOUR).ppf(0.99)
    assert horizon.seconds == pytest.approx(truth, rel=0.03)
    assert horizon.curve.share_ever_known == pytest.approx(0.9, abs=0.01)
    assert horizon.curve.share_to_come(2 * HOUR) == pytest.approx(stats.gamma(4, scale=0.5).sf(2.0), abs=0.02)


def test_nothing_from_after_now_is_used() -> None:
    rows, now = _rows(), 50 * HOUR
    later = rows.known_at > now
    changed = TimedRows(rows.happened_at, np.where(later, NEVER, rows.known_at))
    before, after = (delay_curve(each, now) for each in (rows, changed))
    assert np.array_equal(before.share_known, after.share_known)


def test_a_row_counts_as_often_as_its_weight_says() -> None:
    rows = _rows(count=300)
    weights = np.random.default_rng(6).integers(1, 4, 300)
    again = TimedRows(np.repeat(rows.happened_at, weights), np.repeat(rows.known_at, weights))
    weighted = TimedRows(rows.happened_at, rows.known_at, None, weights.astype(float))
    expected, found = (delay_curve(each, 80 * HOUR) for each in (again, weighted))
    assert found.share_known == pytest.approx(expected.share_known, abs=1e-12)


@pytest.mark.parametrize(
    ("hours", "count", "reason"),
    [
        pytest.param(100.0, 50, "labels have come, and 100 are needed", id="few labels"),
        pytest.param(4.0, 4000, "too young to tell", id="no row old enough"),
    ],
)
def test_says_why_it_is_not_known_yet(hours: float, count: int, reason: str) -> None:
    horizon = label_horizon(_rows(count=count, hours=hours), hours * HOUR)
    assert horizon.seconds is None
    assert horizon.reason is not None
    assert reason in horizon.reason


def test_each_group_has_a_horizon_of_its_own() -> None:
    rows = _rows(count=8000)
    groups = (np.arange(8000) % 2).astype(np.int64)
    slow = np.where(groups == 1, 3.0, 1.0)
    known_at = rows.happened_at + np.where(np.isfinite(rows.known_at), rows.known_at - rows.happened_at, 0) * slow
    found = horizon_by_group(TimedRows(rows.happened_at, known_at, groups), 100 * HOUR)
    short, long = found[0].seconds, found[1].seconds
    assert short is not None
    assert long is not None
    assert long / short == pytest.approx(3, rel=0.1)


def test_no_rows_are_no_error() -> None:
    empty = TimedRows(np.zeros(0), np.zeros(0))
    assert label_horizon(empty, 1.0).reason == "0 labels have come, and 100 are needed"
    assert np.isnan(delay_curve(empty, 1.0).share_ever_known)


def test_refuses_nan_where_infinity_is_meant() -> None:
    with pytest.raises(ValueError, match="expected infinity in known_at"):
        TimedRows(np.zeros(1), np.array([np.nan]))
