"""Gaps and infinities, column by column: asked of the pipeline, proved on the graph.

A graph answers both where scikit-learn raises, so what a column refuses must be known to the server.
"""

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import pandas as pd

from skylane.convert.errors import OutOfTolerance, Unconvertible
from skylane.convert.inspection.schema import Column, Layout
from skylane.convert.inspection.structure import Task
from skylane.convert.verification.answers import Answers, by_estimator
from skylane.convert.verification.parity import difference, flips
from skylane.convert.verification.probes import BASE_ROWS, filled, whole_rows, with_gaps

STAND_INS: Final = ("", "nan", "None", "gap")
"""Texts that may mean a gap to a graph; the first with the pipeline's answers is taken.

skl2onnx writes a category NaN as "nan" and None as "None"; where a gap is just an unseen category, any other text does.
"""

Run = Callable[[Layout, pd.DataFrame], Answers]


def settle(
    estimator: Any, layout: Layout, frame: pd.DataFrame, task: Task, run: Run, max_difference: float
) -> tuple[Layout, list[str]]:
    """The layout with a stand-in for each column that may have gaps, without infinities where they are refused.

    And notes on columns where the graph errs; that scikit-learn raises is the usual case, and worth none.

    Raises OutOfTolerance if the sample has gaps in a text column that cannot be told to the graph.
    """
    base = whole_rows(frame, 2 * BASE_ROWS)
    missing: dict[str, float | str | None] = {}
    notes: list[str] = []
    for column in layout.columns:
        rows = with_gaps(base, [column])
        expected = _asked(estimator, layout, rows, task)
        if expected is None:
            continue  # the pipeline refuses gaps here, so the server will
        stand_ins: tuple[float | str, ...] = (np.nan,) if column.kind == "number" else STAND_INS
        known = set(frame[column.name].dropna())
        proved = {
            stand_in: (error, stand_in in known)
            for stand_in in stand_ins
            if (error := _error(run, layout.with_missing({column.name: stand_in}), rows, expected)) <= max_difference
        }
        if proved:
            # A category of little weight nearly answers as a gap does: what is nearest, and no category, is meant.
            missing[column.name] = min(proved, key=lambda stand_in: proved[stand_in])
        elif not frame[column.name].isna().any():
            notes.append(f"gaps in {column.name!r} will be refused: the graph would answer them differently")
        elif column.kind == "number":
            missing[column.name] = np.nan  # the gate will measure by how much it is wrong, and refuse
        else:
            raise _untold(column)
    refused, about_infinities = _infinities(estimator, layout, frame, task, run, max_difference)
    return layout.with_missing(missing).without_infinity(refused), notes + about_infinities


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
        rows = pd.concat([filled(sign * np.inf)(base, [column]) for sign in (1, -1)], ignore_index=True)
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
