"""Figures of rows whose labels are still to come, in a world where the labels of one class come later."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from skylane.statistics.performance import Nowcast, TimedRows, nowcast, nowcast_mean
from skylane.statistics.performance.metrics import Floats, Labels

HOUR, DAY = 3600.0, 86400.0
PER_DAY = 240


@cache
def _world(days: int = 110, seed: int = 13) -> tuple[TimedRows, Labels, Floats]:
    """Rows all day; class 1 takes 5 h instead of 3 h and depends on the day; one row in 30 never gets a label."""
    generator = np.random.default_rng(seed)
    count = days * PER_DAY
    happened_at = np.sort(generator.uniform(0, days * DAY, count))
    scores = generator.beta(2, 5, count)
    odds = np.log(scores / (1 - scores)) + generator.normal(0, 0.6, days)[(happened_at // DAY).astype(int)]
    labels = (generator.random(count) < 1 / (1 + np.exp(-odds))).astype(np.int64)
    delay = generator.gamma(9, HOUR / 9, count) * np.where(labels == 1, 5, 3)
    known_at = np.where(generator.random(count) < 1 / 30, np.inf, happened_at + delay)
    return TimedRows(happened_at, known_at), labels, scores


def _at(day: int, rows: TimedRows, labels: Labels, scores: Floats) -> Nowcast:
    now = day * DAY + 18 * HOUR
    return nowcast(rows, labels, scores, now=now, since=now - 6 * HOUR, block_s=DAY, horizon_s=12 * HOUR)


def _final(day: int, rows: TimedRows, labels: Labels) -> float:
    now = day * DAY + 18 * HOUR
    mine = (rows.happened_at >= now - 6 * HOUR) & (rows.happened_at < now) & np.isfinite(rows.known_at)
    return float(labels[mine].mean())


@cache
def _days() -> tuple[tuple[Nowcast, float], ...]:
    return tuple((_at(day, *_world()), _final(day, *_world()[:2])) for day in range(45, 109))


def test_the_early_figure_is_far_too_low_and_the_corrected_one_is_not() -> None:
    shares = [(each.figures["positive_share"], final) for each, final in _days()]
    assert np.mean([share.as_it_looks - final for share, final in shares]) < -0.08
    assert abs(np.mean([share.corrected - final for share, final in shares])) < 0.01


def test_the_interval_holds_the_final_figure_as_often_as_it_says() -> None:
    """64 days tell a coverage of 0.95 to ± 0.05."""
    shares = [(each.figures["positive_share"], final) for each, final in _days()]
    inside = [share.low <= final <= share.high for share, final in shares if share.low is not None and share.high]
    assert len(inside) == len(shares)
    assert 0.9 <= np.mean(inside) <= 1


def test_losses_are_corrected_with_the_labels() -> None:
    rows, labels, scores = _world()
    errors, early = [], []
    for day, (found, _) in zip(range(45, 109), _days(), strict=True):
        now = day * DAY + 18 * HOUR
        mine = (rows.happened_at >= now - 6 * HOUR) & (rows.happened_at < now) & np.isfinite(rows.known_at)
        final = float(-np.log(np.where(labels == 1, scores, 1 - scores))[mine].mean())
        errors.append(found.figures["log_loss"].corrected - final)
        early.append(found.figures["log_loss"].as_it_looks - final)
    assert np.mean(early) < -0.05
    assert abs(np.mean(errors)) < 0.015


def test_labels_still_to_come_are_counted_without_those_that_never_come() -> None:
    rows = _world()[0]
    for day, (found, _) in zip(range(45, 109), _days(), strict=True):
        now = day * DAY + 18 * HOUR
        mine = (rows.happened_at >= now - 6 * HOUR) & (rows.happened_at < now)
        truth = np.mean(rows.known_at[mine & np.isfinite(rows.known_at)] > now)
        assert found.share_to_come == pytest.approx(truth, abs=0.05)
        assert (found.rows, found.known) == (mine.sum(), (rows.known_at[mine] <= now).sum())


def test_nothing_that_is_known_after_now_is_used() -> None:
    rows, labels, scores = _world()
    now = 60 * DAY + 18 * HOUR
    later = rows.known_at > now
    blind = replace(rows, known_at=np.where(later, np.inf, rows.known_at))
    hidden = np.where(later, 1 - labels, labels)
    asked = np.where(rows.happened_at >= now, 0.5, scores)
    assert _at(60, blind, hidden, asked) == _at(60, rows, labels, scores)


def test_the_order_of_rows_does_not_matter() -> None:
    rows, labels, scores = _world()
    order = np.random.default_rng(14).permutation(len(labels))
    shuffled = TimedRows(rows.happened_at[order], rows.known_at[order])
    first = _at(60, shuffled, labels[order], scores[order]).figures["positive_share"]
    second = _at(60, rows, labels, scores).figures["positive_share"]
    assert first.corrected == pytest.approx(second.corrected, abs=1e-9)


@pytest.mark.parametrize(
    ("day", "reason", "corrected"),
    [
        pytest.param(0, "no earlier rows have complete labels", False, id="on the first day only what came is shown"),
        pytest.param(
            8, "an interval needs 14 earlier blocks with complete labels, and there are 8", True,
            id="after some days there is a corrected figure without an interval",
        ),
        pytest.param(14, None, True, id="after 14 days there are both"),
    ],
)  # fmt: skip
def test_says_what_is_missing(day: int, reason: str | None, corrected: bool) -> None:
    found = _at(day, *_world())
    share = found.figures["positive_share"]
    assert (found.reason or "").startswith(reason or "")
    assert np.isfinite(share.corrected) == corrected
    assert (share.low is None) == (share.high is None) == (reason is not None)


def test_groups_with_delays_of_their_own_make_the_interval_narrower() -> None:
    rows, labels, scores = _world()
    groups = np.random.default_rng(15).integers(0, 2, len(labels))
    known_at = rows.known_at + np.where(groups == 1, 3 * HOUR, 0)
    widths = []
    for group in (None, groups):
        shares = [_at(day, TimedRows(rows.happened_at, known_at, group), labels, scores) for day in range(60, 72)]
        ends = [each.figures["positive_share"] for each in shares]
        widths.append(
            np.mean([each.high - each.low for each in ends if each.high is not None and each.low is not None])
        )
    assert widths[1] < widths[0]


def test_labels_that_have_stopped_are_not_taken_for_labels_that_come_late() -> None:
    rows, labels, scores = _world()
    stopped = 60 * DAY + 11 * HOUR
    cut = replace(rows, known_at=np.where(rows.known_at > stopped, np.inf, rows.known_at))
    found = _at(60, cut, labels, scores)
    assert found.reason is not None
    assert "has their source stopped?" in found.reason
    assert found.figures["positive_share"].low is None
    losses = labels.astype(float)
    now = 60 * DAY + 18 * HOUR
    mean = nowcast_mean(cut, losses, now=now, since=now - 6 * HOUR, block_s=DAY, horizon_s=12 * HOUR)
    assert mean.reason == found.reason


def test_no_rows_in_the_window_are_no_error() -> None:
    rows, labels, scores = _world()
    found = _at(200, rows, labels, scores)
    assert (found.rows, found.known) == (0, 0)
    assert np.isnan(found.figures["positive_share"].corrected)


def test_the_mean_of_any_loss_is_corrected() -> None:
    rows, labels, _ = _world()
    errors, inside = [], []
    for day in range(45, 85):
        now = day * DAY + 18 * HOUR
        found = nowcast_mean(
            rows, labels.astype(float), now=now, since=now - 6 * HOUR, block_s=DAY, horizon_s=12 * HOUR
        )
        mean, final = found.figures["mean"], _final(day, rows, labels)
        assert mean.low is not None
        assert mean.high is not None
        errors.append(mean.corrected - final)
        inside.append(mean.low <= final <= mean.high)
    assert abs(np.mean(errors)) < 0.015
    assert 0.88 <= np.mean(inside) <= 1
