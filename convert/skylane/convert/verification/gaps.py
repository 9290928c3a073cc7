"""Missing values and infinities, column by column: what the pipeline accepts, and what represents it in the graph.

A graph returns an answer to both even where scikit-learn raises, so the server must know which columns refuse them.
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
"""Texts that may represent a missing value in a graph; the first that gives the pipeline's answers is used.

skl2onnx writes a category NaN as "nan" and None as "None". If a missing value is treated like an unknown category, any
other text will do.
"""

WRITTEN: Final[dict[Gap, str]] = {"NaN": "nan", "None": "None", "NA": "<NA>"}
"""How graphs write a missing value that is a category, or that an imputer fills."""

TEXT_ROWS: Final = 64
"""Rows on which a stand-in is verified. On few rows, a tree may answer a missing value and an unknown text alike."""

SAME: Final = 1e-9
"""Two kinds of missing values count as the same if their answers differ by no more than this: a pipeline may add up the
same features in another order."""

Run = Callable[[Layout, pd.DataFrame], Answers]


def settle(
    estimator: Any, layout: Layout, frame: pd.DataFrame, task: Task, run: Run, max_difference: float
) -> tuple[Layout, list[str]]:
    """The layout with a stand-in for missing values in each column that accepts them, and with the columns that refuse
    infinity.

    Also returns notes on columns where the graph errs; a column that scikit-learn itself refuses gets no note.

    Raises OutOfTolerance if the sample has missing values in a text column for which there is no stand-in, and BadRows
    if a column has several kinds of them that the pipeline answers differently.
    """
    few, many = whole_rows(frame, 2 * BASE_ROWS), whole_rows(frame, TEXT_ROWS)
    missing: dict[str, float | str | None] = {}
    kinds: dict[str, Gap] = {}
    notes: list[str] = []
    texts = categories_of(estimator)
    for column in layout.columns:
        base = few if column.kind == "number" else many
        missing_values = _MissingValues(estimator, layout, frame, base, column, task)
        chosen = missing_values.resolved(notes)
        if chosen is None:
            continue  # the pipeline refuses missing values here, or their kind is ambiguous: the server refuses them
        rows, expected = chosen
        kinds[column.name] = rows.gap
        proved: dict[float | str, tuple[float, bool]] = {}
        for stand_in in _stand_ins(column, rows.gap, missing_values.trained):
            error = _error(run, layout.with_missing({column.name: stand_in}), rows.frame, expected)
            if error <= max_difference:
                proved[stand_in] = error, stand_in in texts or stand_in in set(frame[column.name].dropna())
        if proved:
            # A category of little weight gives nearly the same answers, so the nearest text that is no category wins.
            missing[column.name] = min(proved, key=lambda stand_in: proved[stand_in])
        elif not frame[column.name].isna().any():
            notes.append(f"gaps in {column.name!r} will be refused: the graph would answer them differently")
        elif column.kind == "number" and rows.gap == "None":
            raise BadRows(
                f"column {column.name!r} has gaps that are None, which only a graph takes for NaN, not the pipeline: "
                f"make them NaN in the training and in the held-out rows, such as with fillna(numpy.nan)"
            )
        elif column.kind == "number":
            missing[column.name] = np.nan  # the gate will measure the difference, and refuse the graph
        else:
            raise _no_stand_in(column)
    layout = layout.with_gaps_as(kinds)
    refused, about_infinities = _infinities(estimator, layout, frame, task, run, max_difference)
    return layout.with_missing(missing).without_infinity(refused), notes + about_infinities


def _stand_ins(column: Column, gap: Gap, trained: Collection[Gap]) -> list[float | str]:
    """Possible stand-ins; the first is how graphs write this kind, if the pipeline was trained with it."""
    if column.kind == "number":
        return [np.nan]
    written = [WRITTEN[gap]] if gap in trained else []
    return [*written, *(text for text in STAND_INS if text not in written)]


@dataclass(frozen=True)
class _Rows:
    """Rows with one kind of missing value in one column."""

    gap: Gap
    frame: pd.DataFrame


@dataclass(frozen=True)
class _MissingValues:
    """The pipeline's answers to each kind of missing value that one column could have."""

    estimator: Any
    layout: Layout
    frame: pd.DataFrame
    base: pd.DataFrame
    column: Column
    task: Task

    def resolved(self, notes: list[str]) -> tuple[_Rows, Answers] | None:
        """The kind that a missing value in a request stands for, and the pipeline's answers to it.

        If the kinds are answered differently, it is that of the sample, else that of the training. None if the
        pipeline refuses missing values, or if the kind is ambiguous, which a note says. Raises BadRows for a sample
        with several kinds.
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
        """The kinds of missing values that the pipeline was trained with in this column."""
        return trained_with(self.estimator, self.column.name)

    def _answered(self) -> list[tuple[_Rows, Answers]]:
        """The kinds that the pipeline accepts, and its answers."""
        answered = []
        for gap in possible(self.frame[self.column.name]):
            rows = _Rows(gap, with_gaps(self.base, [replace(self.column, gap=gap)]))
            answers = _answers_or_none(self.estimator, self.layout, rows.frame, self.task)
            if answers is not None:
                answered.append((rows, answers))
        return answered


def _alike(one: Answers, other: Answers) -> bool:
    return not flips(one, other).any() and float(difference(one, other).max(initial=0.0)) <= SAME


def _infinities(
    estimator: Any, layout: Layout, frame: pd.DataFrame, task: Task, run: Run, max_difference: float
) -> tuple[set[str], list[str]]:
    """Columns that refuse infinities, and notes on those where the graph errs."""
    base = whole_rows(frame, BASE_ROWS)
    refused: set[str] = set()
    notes: list[str] = []
    for column in layout.columns:
        if column.kind == "string" or np.isinf(frame[[column.name]].to_numpy(np.float64, na_value=np.nan)).any():
            continue  # if the sample has infinities, the gate compares the answers to them
        rows = stacked([filled(sign * np.inf)(base, [column]) for sign in (1, -1)])
        expected = _answers_or_none(estimator, layout, rows, task)
        if expected is None:
            refused.add(column.name)
        elif _error(run, layout, rows, expected) > max_difference:
            refused.add(column.name)
            notes.append(f"infinities in {column.name!r} will be refused: the graph would answer them differently")
    return refused, notes


def _answers_or_none(estimator: Any, layout: Layout, rows: pd.DataFrame, task: Task) -> Answers | None:
    try:
        return by_estimator(estimator, layout, rows, task)
    except Exception:  # pipelines raise errors of any type for values that they refuse
        return None


def _error(run: Run, layout: Layout, rows: pd.DataFrame, expected: Answers) -> float:
    """The largest difference from the pipeline's answers; infinity if a label differs, or if the graph fails."""
    try:
        actual = run(layout, rows)
    except Unconvertible:  # some graphs fail on a text that is no category
        return np.inf
    return np.inf if flips(expected, actual).any() else float(difference(expected, actual).max(initial=0.0))


def _no_stand_in(column: Column) -> OutOfTolerance:
    return OutOfTolerance(
        f"column {column.name!r} has gaps, and no text stands for a gap in the graph as it does in the pipeline: "
        f"fill them before the pipeline with a word of their own, such as 'unknown', and train again"
    )
