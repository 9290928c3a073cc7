"""How far a graph's answers are from scikit-learn's. Pure: answers in, numbers out."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from scipy.stats import beta

from skylane.convert.inspection.schema import Array
from skylane.convert.verification.answers import Answers

TIE: Final = 1e-6
"""Two classes whose probabilities are closer than this are a tie: rounding decides, in scikit-learn as well."""

CONFIDENCE: Final = 0.95
"""Confidence level of the bound on the share of flipped labels."""


@dataclass(frozen=True)
class Case:
    """Rows with known answers."""

    name: str
    expected: Answers
    actual: Answers
    unit: Array | float = 1.0
    """Divisor of the differences, (rows) or one for all rows. Far outside the sample's range, answers in the millions
    need not be right to the thousandth."""
    extreme: bool = False
    """Whether numbers lie at the ends of the sample's range or outside, where quantization clips values."""


@dataclass(frozen=True)
class CaseParity:
    """The parity of one candidate on one case."""

    name: str
    rows: int
    worst_difference: float
    """Largest absolute difference of a number; infinite where only one side is finite."""
    p99_difference: float
    """99th percentile of the difference."""
    bad_rows: float
    """Share of rows that differ by more than the tolerance allows."""
    label_flips: float
    """Share of rows whose label differs."""
    decided_flips: float
    """Share of rows whose label differs and that are not a tie."""
    extreme: bool = False
    """Whether numbers lie at the ends of the sample's range or outside."""


@dataclass(frozen=True)
class Parity:
    """The parity of one candidate."""

    worst_difference: float
    """Largest absolute difference of a number, over all cases; infinite where only one side is finite."""
    worst_case: str
    """Name of the case with the largest difference."""
    held_out_difference: float
    """Largest absolute difference on the held-out rows alone."""
    label_flips: float
    """Share of the held-out rows, the first case, whose label differs."""
    decided_flips: float
    """Largest share, over all cases, of rows whose label differs and that are not a tie."""
    flips_case: str
    """Name of the case with that share."""
    metric_drop: float | None = None
    """Drop in accuracy or R² on the held-out rows."""
    batch_effect: float = 0.0
    """Largest difference between a row's answers alone and in a batch: dynamic int8 scales depend on the batch."""
    p99_difference: float = 0.0
    """99th percentile of the difference on the held-out rows."""
    bad_rows: float = 0.0
    """Share of the held-out rows that differ by more than the tolerance allows."""
    label_flips_below: float | None = None
    """Upper bound of the share of flipped labels among all rows such as the held-out ones, with 95 % confidence
    (Clopper and Pearson); None where there are no labels."""
    cases: tuple[CaseParity, ...] = ()
    """All cases, the held-out rows first."""

    def usual(self) -> "Parity":
        """The same without the cases whose numbers lie at the ends of the sample's range or outside.

        One flip among a few probes says little about the share, so for cases other than the held-out rows the lower
        confidence bound of the share is used.
        """
        if not self.cases:
            return self
        held_out, *others = (case for case in self.cases if not case.extreme)
        sure = [
            replace(case, decided_flips=bound_below(round(case.decided_flips * case.rows), case.rows))
            for case in others
        ]
        return replace(self, **_worst([held_out, *sure]))


def measure(cases: Iterable[Case], target: Array | None = None, allowed: float = np.inf) -> Parity:
    """Measure all cases; the first is the held-out rows, to which the target belongs.

    A row with a difference above `allowed` is bad. Cases are consumed one by one and not kept.
    """
    measured: list[CaseParity] = []
    drop = below = None
    for case in cases:
        measured.append(_case_parity(case, allowed))
        if len(measured) == 1:
            if target is not None:
                drop = metric(case.expected, target) - metric(case.actual, target)
            if case.expected.label is not None:
                below = bound(round(measured[0].label_flips * measured[0].rows), measured[0].rows)
    held_out = measured[0]
    return Parity(
        **_worst(measured),
        held_out_difference=held_out.worst_difference,
        label_flips=held_out.label_flips,
        metric_drop=drop,
        p99_difference=held_out.p99_difference,
        bad_rows=held_out.bad_rows,
        label_flips_below=below,
        cases=tuple(measured),
    )


def _worst(measured: Sequence[CaseParity]) -> dict[str, Any]:
    """The case with the largest difference, and the one with the most flips."""
    worst = max(measured, key=lambda one: one.worst_difference)
    flipped = max(measured, key=lambda one: one.decided_flips)
    return {
        "worst_difference": worst.worst_difference,
        "worst_case": worst.name,
        "decided_flips": flipped.decided_flips,
        "flips_case": flipped.name,
    }


def _case_parity(case: Case, allowed: float) -> CaseParity:
    gap = difference(case.expected, case.actual) / case.unit
    flipped = flips(case.expected, case.actual)
    return CaseParity(
        name=case.name,
        rows=len(case.expected),
        worst_difference=float(gap.max(initial=0.0)),
        # An order statistic, not the mean of two: an infinity must stay infinite.
        p99_difference=float(np.quantile(gap, 0.99, method="inverted_cdf")) if len(gap) else 0.0,
        bad_rows=_share(gap > allowed),
        label_flips=_share(flipped),
        decided_flips=_share(flipped & ~_ties(case.expected)),
        extreme=case.extreme,
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
    """Which rows' labels differ: (rows) bool; none for answers without labels, all if only one side has them."""
    if expected.label is None or actual.label is None:
        return np.full(len(expected), (expected.label is None) != (actual.label is None))
    if _texts(expected.label) or _texts(actual.label):
        return np.asarray(expected.label.astype(str) != actual.label.astype(str))
    return np.asarray(expected.label.astype(np.float64) != actual.label.astype(np.float64))


def _texts(labels: Array) -> bool:
    return labels.dtype.kind in "US" or (labels.dtype.kind == "O" and any(isinstance(one, str) for one in labels))


def metric(answers: Answers, target: Array) -> float:
    """Accuracy for labels, R² for numbers."""
    if answers.label is not None:
        return _share(~flips(Answers(np.asarray(target), None), answers))
    assert answers.numbers is not None, "answers have labels or numbers"
    truth = np.asarray(target, np.float64).reshape(len(target), -1)
    spread = ((truth - truth.mean(axis=0)) ** 2).sum()
    return float(1.0 - ((truth - answers.numbers) ** 2).sum() / spread) if spread else 0.0


def bound(events: int, trials: int) -> float:
    """Upper bound of the share with 95 % confidence (Clopper and Pearson), given the number of events."""
    return 1.0 if events >= trials else float(beta.ppf(CONFIDENCE, events + 1, trials - events))


def bound_below(events: int, trials: int) -> float:
    """Lower bound of the share with 95 % confidence."""
    return float(beta.ppf(1 - CONFIDENCE, events, trials - events + 1)) if events else 0.0


def _ties(expected: Answers) -> Array:
    if expected.numbers is None or expected.numbers.shape[1] < 2:
        return np.zeros(len(expected), np.bool_)
    top = np.sort(expected.numbers, axis=1)[:, -2:]
    return np.asarray(top[:, 1] - top[:, 0] <= TIE)


def _share(rows: Array) -> float:
    return float(np.mean(rows)) if len(rows) else 0.0
