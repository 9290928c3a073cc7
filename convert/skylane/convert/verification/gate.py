"""Compares candidates with scikit-learn on held-out rows and edge cases, in several batch sizes. Decides nothing."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
import pandas as pd
from sklearn.exceptions import NotFittedError

from skylane.convert.errors import BadRows, Defective, Unconvertible
from skylane.convert.export.candidates import Built
from skylane.convert.export.session import Session
from skylane.convert.inspection.schema import Array, Layout
from skylane.convert.inspection.structure import Task
from skylane.convert.verification.answers import Answers, by_estimator, by_graph
from skylane.convert.verification.parity import Case, Parity, difference, measure
from skylane.convert.verification.probes import outliers, probes

CHUNK_ROWS: Final = 4096

ALONE_ROWS: Final = 16
"""Held-out rows that are also run one by one: a graph whose answers depend on the batch's other rows shows it there."""

ODD_BATCH: Final = 7
ODD_ROWS: Final = 10 * ODD_BATCH - 1
"""Rows that are also run in batches of an odd size, of which the last is smaller."""


@dataclass(frozen=True)
class _Comparison:
    """Rows, and scikit-learn's answers to the first of them; the other rows only share their batches."""

    name: str
    frame: pd.DataFrame
    expected: Answers
    batch: int = CHUNK_ROWS
    """Rows of one run."""
    unit: Array | float = 1.0
    extreme: bool = False


@dataclass(frozen=True)
class Gate:
    """scikit-learn's answers, computed once for all candidates."""

    estimator: Any
    layout: Layout
    frame: pd.DataFrame
    task: Task
    expected: Answers
    """The answers to the frame."""
    scale: float = 1.0
    """The unit of differences: 1 for probabilities, the standard deviation for other numbers."""
    _comparisons: list[_Comparison] = field(default_factory=list)

    def __post_init__(self) -> None:
        alone, odd = (self._head(rows) for rows in (ALONE_ROWS, ODD_ROWS))
        self._comparisons.append(_Comparison("held-out rows", self.frame, self.expected))
        self._comparisons.append(_Comparison("held-out rows, one at a time", *alone, batch=1))
        self._comparisons.append(_Comparison(f"held-out rows, {ODD_BATCH} at a time", *odd, batch=ODD_BATCH))
        for probe in probes(self.estimator, self.layout, self.frame, self._accepts):
            expected = by_estimator(self.estimator, self.layout, probe.frame, self.task)
            unit = self._unit(expected) if probe.far else 1.0
            self._comparisons.append(_Comparison(probe.name, probe.frame, expected, unit=unit, extreme=probe.extreme))
        outlier = outliers(self.layout, self.frame)
        if outlier is not None and self._accepts(outlier):
            frame, expected = alone
            beside = pd.concat([frame, outlier], ignore_index=True)
            self._comparisons.append(_Comparison("held-out rows beside an outlier", beside, expected))

    def judge(self, built: Built, session: Session, target: Array | None, allowed: float) -> Parity:
        """How far this graph is from scikit-learn. Raises Unconvertible if it fails on rows that scikit-learn takes."""
        self._empty(built, session)
        first: dict[str, Answers] = {}

        def cases() -> Iterator[Case]:
            for comparison in self._comparisons:
                frame, expected = comparison.frame, comparison.expected
                tensors = self.layout.tensors(frame, built.numbers)
                actual = _head(in_batches(session, tensors, len(frame), comparison.batch), len(expected))
                self._check_shares(comparison.name, actual)
                if len(first) < 2:  # in large batches, and alone
                    first[comparison.name] = actual
                yield Case(comparison.name, expected, actual, comparison.unit, comparison.extreme)

        parity = measure(cases(), target, allowed)
        among, alone = first.values()
        effect = difference(_head(among, len(alone)), alone)
        return replace(parity, batch_effect=float(effect.max(initial=0.0)))

    def _empty(self, built: Built, session: Session) -> None:
        """A graph may fail on a batch without rows, as scikit-learn does, but must not return answers to it."""
        try:
            answers = session.named(self.layout.tensors(self.frame.head(0), built.numbers))
        except Exception:  # ONNX Runtime's errors have no common base class
            return
        if any(len(values) for values in answers.values()):
            raise Unconvertible("the graph answers where there are no rows")

    def _check_shares(self, name: str, answers: Answers) -> None:
        """Probabilities must not be below 0 or above 1 even by rounding, because callers take logarithms of them."""
        if self.task != "classifier" or answers.numbers is None:
            return
        outside = answers.numbers[(answers.numbers < 0) | (answers.numbers > 1)]
        if len(outside):
            raise Unconvertible(f"the graph's probabilities are not all between 0 and 1: {outside[0]:.17g} ({name})")

    def _accepts(self, frame: pd.DataFrame) -> bool:
        try:
            by_estimator(self.estimator, self.layout, frame, self.task)
        except Exception:  # pipelines raise errors of any type for rows that they refuse
            return False
        return True

    def _head(self, rows: int) -> tuple[pd.DataFrame, Answers]:
        frame = self.frame.head(rows)
        return frame, _head(self.expected, len(frame))

    def _unit(self, expected: Answers) -> Array | float:
        """For rows far outside the sample's range, differences are relative to the size of the answers."""
        if expected.numbers is None or self.expected.numbers is None or self.task == "classifier":
            return 1.0
        with np.errstate(all="ignore"):
            far = np.abs(expected.numbers - np.nanmean(self.expected.numbers, axis=0)).max(axis=1, initial=0.0)
        return np.asarray(np.where(np.isfinite(far), np.maximum(1.0, far / self.scale), 1.0))


def expected_of(estimator: Any, layout: Layout, frame: pd.DataFrame, task: Task) -> Answers:
    """scikit-learn's answers to the held-out rows. Raises BadRows if it refuses them; or Unconvertible."""
    try:
        return by_estimator(estimator, layout, frame, task)
    except NotFittedError as error:
        raise Unconvertible("the pipeline is not fitted: train it first, with fit") from error
    except Exception as error:  # pipelines raise errors of any type for rows that they refuse
        reason = " ".join(str(error).split())
        raise BadRows(f"the pipeline itself refuses the held-out rows: {reason[:240]}") from error


def scale_of(expected: Answers, task: Task) -> float:
    """The unit of differences: 1 for probabilities, the standard deviation for other numbers."""
    if task == "classifier" or expected.numbers is None:
        return 1.0
    spread = float(np.std(expected.numbers))
    return spread if np.isfinite(spread) and spread > 0 else 1.0


def in_batches(session: Session, tensors: dict[str, Array], rows: int, size: int) -> Answers:
    """The graph's answers to all rows, in batches of this size. Raises Unconvertible if it fails."""
    parts = [
        named(session, {name: array[start : start + size] for name, array in tensors.items()})
        for start in range(0, rows, size)
    ]
    if any(len({part[name].shape[1:] for part in parts}) > 1 for name in parts[0]):
        raise Unconvertible("the graph's answers have another shape for fewer rows")
    whole = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    for name, values in whole.items():
        if len(values) != rows:
            raise Unconvertible(f"the graph's {name} has {len(values)} rows where {rows} are asked about")
    return by_graph(whole)


def named(session: Session, tensors: dict[str, Array]) -> dict[str, Array]:
    """The graph's outputs by name. Raises Unconvertible if it fails."""
    try:
        return session.named(tensors)
    except Exception as error:  # ONNX Runtime's errors have no common base class
        raise Defective(f"the graph fails on rows of the sample: {' '.join(str(error).split())[:200]}") from error


def _head(answers: Answers, rows: int) -> Answers:
    return Answers(
        None if answers.label is None else answers.label[:rows],
        None if answers.numbers is None else answers.numbers[:rows],
    )
