"""The estimate without labels, and the record that retires it."""

import numpy as np
import pytest

from skylane.statistics.performance import Calibration, Kept, expected_figures, metrics, track_record


def test_is_right_where_the_probabilities_are() -> None:
    generator = np.random.default_rng(16)
    scores = generator.beta(2, 4, 200_000)
    labels = (generator.random(len(scores)) < scores).astype(np.int64)
    found = expected_figures(scores)
    assert found.log_loss == pytest.approx(metrics.log_loss(labels, scores), abs=0.003)
    assert found.brier == pytest.approx(metrics.brier_score(labels, scores), abs=0.002)
    assert found.accuracy == pytest.approx(metrics.accuracy(labels, scores), abs=0.004)
    assert found.auc == pytest.approx(metrics.auc(labels, scores), abs=0.004)


def test_a_calibration_makes_up_for_scores_that_are_not() -> None:
    generator = np.random.default_rng(17)
    truth = generator.beta(2, 4, 100_000)
    labels = (generator.random(len(truth)) < truth).astype(np.int64)
    scores = 1 / (1 + np.exp(-(2 * np.log(truth / (1 - truth)) + 0.7)))  # too sure, and too high
    found = expected_figures(scores, calibration=Calibration.of(labels, scores))
    assert found.log_loss == pytest.approx(metrics.log_loss(labels, scores), abs=0.01)
    assert abs(expected_figures(scores).log_loss - metrics.log_loss(labels, scores)) > 0.1


def test_more_classes_have_an_estimate_without_an_auc() -> None:
    given = np.array([[0.5, 0.3, 0.2], [0.1, 0.1, 0.8]])
    found = expected_figures(given)
    assert found.accuracy == pytest.approx(0.65)
    assert found.log_loss == pytest.approx(-(given * np.log(given)).sum() / 2)
    assert np.isnan(found.auc)


def test_no_rows_have_no_estimate() -> None:
    assert np.isnan(expected_figures(np.zeros(0)).log_loss)


def _kept(errors: list[float]) -> list[Kept]:
    return [Kept(0.5 + error, 0.5) for error in errors]


NOISE = np.random.default_rng(18).normal(0, 0.03, 112).tolist()


@pytest.mark.parametrize(
    ("errors", "contradictions", "retired"),
    [
        pytest.param(NOISE, 0, False, id="wrong by luck alone: kept"),
        pytest.param([each - 0.05 for each in NOISE[:28]] + NOISE[28:], 1, False, id="contradicted once: kept"),
        pytest.param([each - 0.05 for each in NOISE[:56]], 2, True, id="contradicted twice: retired"),
        pytest.param(
            [each - 0.05 for each in NOISE[:56]] + NOISE[56:], 2, True, id="right again later: still retired"
        ),
        pytest.param([each - 0.05 for each in NOISE[:55]], 1, False, id="one block short of two spans: kept"),
        pytest.param(
            [each + 0.05 for each in NOISE[:28]] + [each - 0.05 for each in NOISE[28:56]], 1, False,
            id="too high, then too low: no contradiction twice",
        ),
    ],
)  # fmt: skip
def test_two_contradictions_retire_it(errors: list[float], contradictions: int, retired: bool) -> None:
    found = track_record(_kept(errors))
    assert (found.contradictions, found.retired) == (contradictions, retired)
    assert found.mean_error == pytest.approx(np.mean(errors))
    assert found.words.startswith("retired") == retired


def test_an_error_within_the_tolerance_is_no_contradiction() -> None:
    assert not track_record(_kept([each - 0.05 for each in NOISE]), tolerance=0.06).retired


def test_without_labels_there_is_no_record() -> None:
    assert track_record([]).words == "not yet compared with labels"


@pytest.mark.parametrize("memory", [0.0, 0.5])
def test_an_estimate_that_is_right_is_hardly_ever_retired(memory: float) -> None:
    """A year of blocks has 13 spans; errors of neighbouring blocks may be alike."""
    generator = np.random.default_rng(19)
    retired = []
    for _ in range(100):
        errors = generator.normal(0, 0.05, 365)
        for block in range(1, 365):
            errors[block] = memory * errors[block - 1] + np.sqrt(1 - memory**2) * errors[block]
        retired.append(track_record(_kept(errors.tolist())).retired)
    assert np.mean(retired) <= 0.05
