"""Gaps and infinities, column by column: asked of the pipeline, proved on the graph.

A graph answers both where scikit-learn raises, so what a column refuses must be known to the server.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Final

import numpy as np
import pandas as pd

from skylane.convert.errors import BadRows, OutOfTolerance, Unconvertible
from skylane.convert.inspection.missing import Gap, categories_of, is_object, kinds_of, natural, possible, trained_with
from skylane.convert.inspection.schema import Column, Layout
from skylane.convert.inspection.structure import Task
from skylane.convert.verification.answers import Answers, by_estimator
from skylane.convert.verification.parity import difference, flips
from skylane.convert.verification.probes import BASE_ROWS, filled, stacked, whole_rows, with_gaps

STAND_INS: Final = ("", "nan", "None", "<NA>", "gap")
"""Texts that may mean a gap to a graph; the first with the pipeline's answers is taken.

skl2onnx writes a category NaN as "nan" and None as "None"; where a gap is just an unseen category, any other text does.
"""

WRITTEN: Final[dict[Gap, str]] = {"NaN": "nan", "None": "None", "NA": "<NA>"}
"""How graphs write a gap that is a category, or that an imputer fills."""

TEXT_ROWS: Final = 64
"""Rows on which a text is proved to mean a gap: of few rows, a tree may answer a gap and an unseen text alike."""

SAME: Final = 1e-9
"""Two kinds of gaps whose answers differ by no more are one to the pipeline; of the same features, sums may be ordered
in other ways."""

Run = Callable[[Layout, pd.DataFrame], Answers]


def settle(
    estimator: Any, layout: Layout, frame: pd.DataFrame, task: Task, run: Run, max_difference: float
) -> tuple[Layout, list[str]]:
    """The layout with a stand-in for each column that may have gaps, without infinities where they are refused.

    And notes on columns where the graph errs; that scikit-learn raises is the usual case, and worth none.

    Raises OutOfTolerance if the sample has gaps in a text column that cannot be told to the graph, and BadRows if a
    column has gaps of several kinds that the pipeline tells apart.
    """
    few, many = whole_rows(frame, 2 * BASE_ROWS), whole_rows(frame, TEXT_ROWS)
    missing: dict[str, float | str | None] = {}
    kinds: dict[str, Gap] = {}
    notes: list[str] = []
    texts = categories_of(estimator)
    for column in layout.columns:
        base = few if column.kind == "number" else many
        question = _Question(estimator, layout, frame, base, column, task)
        meant = question.meant(notes)
        if meant is None:
            continue  # the pipeline refuses gaps here, so the server will, or nobody knows what they would be
        rows, expected = meant
        kinds[column.name] = rows.gap
        proved: dict[float | str, tuple[float, bool]] = {}
        for stand_in in _stand_ins(column, rows.gap, question.trained):
            error = _error(run, layout.with_missing({column.name: stand_in}), rows.frame, expected)
            if error <= max_difference:
                proved[stand_in] = error, stand_in in texts or stand_in in set(frame[column.name].dropna())
        if proved:
            # A category of little weight nearly answers as a gap does: what is nearest, and no category, is meant.
            missing[column.name] = min(proved, key=lambda stand_in: proved[stand_in])
        elif not frame[column.name].isna().any():
            notes.append(f"gaps in {column.name!r} will be refused: the graph would answer them differently")
        elif column.kind == "number" and rows.gap == "None":
            raise BadRows(
                f"column {column.name!r} has gaps that are None, which only a graph takes for NaN, not the pipeline: "
                f"make them NaN in the training and in the held-out rows, such as with fillna(numpy.nan)"
            )
        elif column.kind == "number":
            missing[column.name] = np.nan  # the gate will measure by how much it is wrong, and refuse
        else:
            raise _untold(column)
    layout = layout.with_gaps_as(kinds)
    refused, about_infinities = _infinities(estimator, layout, frame, task, run, max_difference)
    return layout.with_missing(missing).without_infinity(refused), notes + about_infinities


def _stand_ins(column: Column, gap: Gap, trained: Collection[Gap]) -> list[float | str]:
    """What may mean a gap to a graph; first how a gap of this kind is written, where the pipeline knows such gaps."""
    if column.kind == "number":
        return [np.nan]
    written = [WRITTEN[gap]] if gap in trained else []
    return [*written, *(text for text in STAND_INS if text not in written)]


@dataclass(frozen=True)
class _Rows:
    """Rows with one kind of gap in one column."""

    gap: Gap
    frame: pd.DataFrame


@dataclass(frozen=True)
class _Question:
    """The pipeline, asked about each kind of gap that one column could have."""

    estimator: Any
    layout: Layout
    frame: pd.DataFrame
    base: pd.DataFrame
    column: Column
    task: Task

    def meant(self, notes: list[str]) -> tuple[_Rows, Answers] | None:
        """The kind of gap that a gap in a request stands for, and what the pipeline answers to it.

        That of the sample; else that of the training, where the kinds are answered differently. None if the pipeline
        refuses gaps, or if nothing tells which kind is meant: a note says so. Raises BadRows for a sample with several.
        """
        name, answered = self.column.name, self._answered()
        if not answered:
            return None
        present = kinds_of(self.frame[name])
        (first, expected), *others = answered
        if all(_alike(expected, other) for _, other in others):
            return first, expected
        if present:
            raise BadRows(
                f"column {name!r} has gaps that are {' and '.join(present)}, which the pipeline answers differently: "
                f"make them one kind in the training and in the held-out rows, such as with fillna(numpy.nan)"
            )
        chosen = [(rows, answers) for rows, answers in answered if rows.gap in self.trained]
        if len(chosen) != 1:
            notes.append(
                f"gaps in {name!r} will be refused: the pipeline answers {' and '.join(r.gap for r, _ in answered)} "
                f"differently; held-out rows with gaps would say which of them is meant"
            )
            return None
        gap, dtype = chosen[0][0].gap, self.frame[name].dtype
        if is_object(dtype) or gap != natural(dtype):
            notes.append(f"gaps in {name!r} are answered as {gap}, as in training; scikit-learn tells others apart")
        return chosen[0]

    @cached_property
    def trained(self) -> set[Gap]:
        """The kinds of gaps that the pipeline knows in this column."""
        return trained_with(self.estimator, self.column.name)

    def _answered(self) -> list[tuple[_Rows, Answers]]:
        """The kinds that the pipeline takes, and its answers."""
        answered = []
        for gap in possible(self.frame[self.column.name]):
            rows = _Rows(gap, with_gaps(self.base, [replace(self.column, gap=gap)]))
            answers = _asked(self.estimator, self.layout, rows.frame, self.task)
            if answers is not None:
                answered.append((rows, answers))
        return answered


def _alike(one: Answers, other: Answers) -> bool:
    return not flips(one, other).any() and float(difference(one, other).max(initial=0.0)) <= SAME


def _infinities(
    estimator: Any, layout: Layout, frame: pd.DataFrame, task: Task, run: Run, max_difference: float
) -> tuple[set[str], list[str]]:
    """Columns in which infinities are refused, and notes on those where the graph errs."""
    base = whole_rows(frame, BASE_ROWS)
    refused: set[str] = set()
    notes: list[str] = []
    for column in layout.columns:
        if column.kind == "string" or np.isinf(frame[[column.name]].to_numpy(np.float64, na_value=np.nan)).any():
            continue  # if the sample has infinities, the gate will measure how well they are answered
        rows = stacked([filled(sign * np.inf)(base, [column]) for sign in (1, -1)])
        expected = _asked(estimator, layout, rows, task)
        if expected is None:
            refused.add(column.name)
        elif _error(run, layout, rows, expected) > max_difference:
            refused.add(column.name)
            notes.append(f"infinities in {column.name!r} will be refused: the graph would answer them differently")
    return refused, notes


def _asked(estimator: Any, layout: Layout, rows: pd.DataFrame, task: Task) -> Answers | None:
    try:
        return by_estimator(estimator, layout, rows, task)
    except Exception:  # whatever a pipeline says to a gap that it refuses
        return None


def _error(run: Run, layout: Layout, rows: pd.DataFrame, expected: Answers) -> float:
    """How far the graph is off; infinite if a label differs, or if it fails."""
    try:
        actual = run(layout, rows)
    except Unconvertible:  # some graphs fail on a text that is no category
        return np.inf
    return np.inf if flips(expected, actual).any() else float(difference(expected, actual).max(initial=0.0))


def _untold(column: Column) -> OutOfTolerance:
    return OutOfTolerance(
        f"column {column.name!r} has gaps, and no text stands for a gap in the graph as it does in the pipeline: "
        f"fill them before the pipeline with a word of their own, such as 'unknown', and train again"
    )
