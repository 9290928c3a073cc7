"""Inputs or world: two parts of a change of the loss that add up."""

import numpy as np
import pytest

from skylane.statistics.performance import ClassificationSums, change_by_cells, loss_change, total


def _rows(seed: int, *, hard: float = 2.0, shift: float = 0.0, count: int = 40_000) -> ClassificationSums:
    """`hard`: scores nearer to 0.5. `shift`: outcomes are likelier than the score says, in log-odds."""
    generator = np.random.default_rng(seed)
    scores = generator.beta(hard, 2 * hard, count)
    odds = np.log(scores / (1 - scores)) + shift
    return ClassificationSums.of((generator.random(count) < 1 / (1 + np.exp(-odds))).astype(np.int64), scores)


@pytest.mark.parametrize(
    ("current", "cause"),
    [
        pytest.param(_rows(21, hard=6), "inputs", id="harder rows, judged as well as before: inputs"),
        pytest.param(_rows(22, shift=0.8), "world", id="the same rows fare otherwise: world"),
        pytest.param(_rows(23, hard=0.3, shift=1.0), "either", id="both"),
        pytest.param(_rows(24), "none", id="nothing changed"),
    ],
)
def test_the_change_is_put_down_to_its_cause(current: ClassificationSums, cause: str) -> None:
    reference = _rows(20)
    found = loss_change(reference, current)
    assert found.inputs + found.world == pytest.approx(found.change, abs=1e-15)
    assert found.change == pytest.approx(current.figures().log_loss - reference.figures().log_loss, abs=1e-12)
    if cause in ("inputs", "none"):
        assert abs(found.world) < 0.01
    if cause in ("world", "none"):
        assert abs(found.inputs) < 0.01
    assert ("mostly" in found.words and cause in found.words) or cause in ("either", "none")


def test_rows_beyond_all_of_the_reference_are_compared_with_the_nearest() -> None:
    reference = ClassificationSums.of(np.array([0, 1] * 50), np.tile([0.3, 0.4], 50))
    current = ClassificationSums.of(np.array([0, 1] * 50), np.tile([0.01, 0.99], 50))
    found = loss_change(reference, current)
    assert found.inputs + found.world == pytest.approx(found.change, abs=1e-15)
    assert sum(cell.share_now for cell in found.cells) == pytest.approx(1)


def test_workers_and_blocks_merge_before_the_comparison() -> None:
    parts = [_rows(seed, count=500) for seed in range(30, 36)]
    assert loss_change(_rows(20), total(parts)) == loss_change(_rows(20), total(parts[::-1]))


def test_no_change_says_so() -> None:
    assert loss_change(_rows(20), _rows(20)).words == "the loss did not change"


def test_refuses_what_cannot_be_compared() -> None:
    none = ClassificationSums.of(np.zeros(0, np.int64), np.zeros(0))
    with pytest.raises(ValueError, match="expected labelled rows on both sides"):
        loss_change(_rows(20), none)
    with pytest.raises(ValueError, match="expected reference rows in every cell"):
        change_by_cells(np.array([[1.0, 1.0], [0.0, 0.0]]), np.array([[1.0, 1.0], [1.0, 1.0]]))
    with pytest.raises(ValueError, match="expected at least one block"):
        total([])
