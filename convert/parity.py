"""How far a graph's answers are from scikit-learn's. Pure: answers in, numbers out."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from convert.answers import Answers
from convert.schema import Array

TIE: Final = 1e-6
"""Two classes whose probabilities are closer than this are a tie: rounding decides, in scikit-learn as well."""


@dataclass(frozen=True)
class Case:
    """Rows with known answers."""

    name: str
    expected: Answers
    actual: Answers


@dataclass(frozen=True)
class Parity:
    """What a candidate was found to do."""

    worst_difference: float
    """Largest absolute difference of a number, over all cases; infinite where only one side is finite."""
    worst_case: str
    """Name of the case with the largest difference."""
    held_out_difference: float
    """Largest absolute difference on the held-out rows alone."""
    label_flips: float
    """Share of the first case's rows, the held-out ones, with another label."""
    decided_flips: float
    """The largest share over the cases of rows with another label that were no tie."""
    flips_case: str
    """Name of the case with that share."""
    metric_drop: float | None = None
    """How much of accuracy or R² is lost on the held-out rows."""
    batch_effect: float = 0.0
    """Largest difference between a row's answers alone and among others: int8 scales depend on the whole batch."""


def measure(cases: Sequence[Case], target: Array | None = None) -> Parity:
    """Compare all cases; the first is the held-out rows, to which the target belongs."""
    worst = [float(difference(case.expected, case.actual).max(initial=0.0)) for case in cases]
    decided = [_share(flips(case.expected, case.actual) & ~_ties(case.expected)) for case in cases]
    held_out = cases[0]
    drop = None
    if target is not None:
        drop = metric(held_out.expected, target) - metric(held_out.actual, target)
    return Parity(
        worst_difference=max(worst),
        worst_case=cases[int(np.argmax(worst))].name,
        held_out_difference=worst[0],
        label_flips=_share(flips(held_out.expected, held_out.actual)),
        decided_flips=max(decided),
        flips_case=cases[int(np.argmax(decided))].name,
        metric_drop=drop,
    )


def difference(expected: Answers, actual: Answers) -> Array:
    """Largest absolute difference in each row: (rows) float64; 0 for answers without numbers."""
    if expected.numbers is None and actual.numbers is None:
        return np.zeros(len(expected))
    if expected.numbers is None or actual.numbers is None or expected.numbers.shape != actual.numbers.shape:
        return np.full(max(len(expected), 1), np.inf)
    with np.errstate(invalid="ignore"):
        gap = np.abs(expected.numbers - actual.numbers)
    same = (expected.numbers == actual.numbers) | (np.isnan(expected.numbers) & np.isnan(actual.numbers))
    gap = np.where(same, 0.0, np.where(np.isnan(gap), np.inf, gap))
    worst: Array = gap.max(axis=1, initial=0.0)
    return worst


def flips(expected: Answers, actual: Answers) -> Array:
    """Which rows have another label: (rows) bool; none for answers without labels."""
    if expected.label is None or actual.label is None:
        return np.zeros(len(expected), np.bool_)
    if actual.label.dtype.kind in "OUS":
        return np.asarray(expected.label.astype(str) != actual.label.astype(str))
    return np.asarray(expected.label.astype(np.float64) != actual.label.astype(np.float64))


def metric(answers: Answers, target: Array) -> float:
    """Accuracy for labels, R² for numbers."""
    if answers.label is not None:
        return _share(~flips(Answers(np.asarray(target), None), answers))
    assert answers.numbers is not None, "answers have labels or numbers"
    truth = np.asarray(target, np.float64).reshape(len(target), -1)
    spread = ((truth - truth.mean(axis=0)) ** 2).sum()
    return float(1.0 - ((truth - answers.numbers) ** 2).sum() / spread) if spread else 0.0


def _ties(expected: Answers) -> Array:
    if expected.numbers is None or expected.numbers.shape[1] < 2:
        return np.zeros(len(expected), np.bool_)
    top = np.sort(expected.numbers, axis=1)[:, -2:]
    return np.asarray(top[:, 1] - top[:, 0] <= TIE)


def _share(rows: Array) -> float:
    return float(np.mean(rows)) if len(rows) else 0.0
