"""Rows with their times, and the graph's answers → the reference that drift is judged by."""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import pandas as pd

from skylane.convert.inspection.schema import Array, Layout, NumberType
from skylane.convert.publishing.profile import Profiled, Run
from skylane.manifest import OutputSpec
from skylane.reference import DAY_S, Reference, Reliability
from skylane.statistics.drift.build import Rows, build_reference

IMPORTANCE_ROWS: Final = (1000, 500, 200, 100)
"""Numbers of rows for measuring importances: the largest that takes no longer than IMPORTANCE_S is used."""
IMPORTANCE_S: Final = 1.0
IMPORTANCE_COLUMNS_MAX: Final = 256
SEED: Final = 0
RELIABILITY_BINS: Final = 10
CLASSES_MAX: Final = 50


def reference(
    layout: Layout,
    frame: pd.DataFrame,
    profiled: Profiled,
    times_s: Array,
    block_s: float = DAY_S,
    importances: Mapping[str, float] | None = None,
    reliability: Mapping[str, Reliability] | None = None,
) -> Reference:
    """The reference of a frame's rows with these times, (n,), in blocks of that length."""
    columns = {
        column.name: frame[column.name].astype(object).where(frame[column.name].notna(), None).to_numpy()
        if column.kind == "string"
        else frame[column.name].to_numpy(np.float64, na_value=np.nan)
        for column in layout.columns
        if column.name in profiled.profile.columns
    }
    gaps = {column.name: column.missing for column in layout.columns if isinstance(column.missing, str)}
    rows = Rows(
        columns,
        times_s,
        profiled.profile,
        profiled.answers,
        profiled.answered,
        importances or {},
        gaps,
        reliability or {},
    )
    return build_reference(rows, block_s)


def importances_of(
    layout: Layout, frame: pd.DataFrame, numbers: NumberType, outputs: Sequence[OutputSpec], run: Run, row_s: float
) -> dict[str, float]:
    """Column → its permutation importance: the mean change of the answers when only this column is permuted.

    The change is the total variation of probabilities, the absolute difference of predictions, or the share of changed
    labels. `row_s`: seconds that the graph takes for a row. The permutation is always the same.
    """
    columns = layout.columns[:IMPORTANCE_COLUMNS_MAX]
    affordable = (count for count in IMPORTANCE_ROWS if count * len(columns) * row_s <= IMPORTANCE_S)
    count = next(affordable, IMPORTANCE_ROWS[-1])
    accepted = frame[frame[[column.name for column in layout.columns if column.missing is None]].notna().all(axis=1)]
    chosen = accepted.iloc[np.unique(np.linspace(0, len(accepted) - 1, count).astype(int))].reset_index(drop=True)
    if len(chosen) < 2:
        return {}
    tensors = layout.tensors(chosen, numbers)
    usual = run(tensors)
    order = np.random.default_rng(SEED).permutation(len(chosen))
    place = {
        position: (tensor, index)
        for tensor, positions in layout.order.items()
        for index, position in enumerate(positions)
    }
    importances = {}
    for position, column in enumerate(columns):
        if position not in place:
            continue
        tensor, index = place[position]
        changed = tensors[tensor].copy()
        changed[:, index] = changed[order, index]
        importances[column.name] = _difference(usual, run({**tensors, tensor: changed}), outputs)
    return importances


def reliability_of(probabilities: Array, truth: Array, outputs: Sequence[OutputSpec]) -> dict[str, Reliability]:
    """Class → its observed frequency by predicted probability. `probabilities`: (n, classes); `truth`: (n,) labels."""
    spec = next((spec for spec in outputs if spec.role == "probabilities" and spec.classes), None)
    if spec is None or len(probabilities) != len(truth):
        return {}
    edges = np.linspace(0.0, 1.0, RELIABILITY_BINS + 1)
    curves = {}
    labels = np.array([str(label) for label in truth.tolist()])
    for index, name in enumerate(spec.classes[:CLASSES_MAX]):
        predicted = np.clip(probabilities[:, index].astype(np.float64), 0.0, 1.0)
        place = np.minimum((predicted * RELIABILITY_BINS).astype(int), RELIABILITY_BINS - 1)
        rows = np.bincount(place, minlength=RELIABILITY_BINS)
        divisor = np.maximum(rows, 1)
        true = np.bincount(place, labels == str(name), RELIABILITY_BINS)
        curves[str(name)] = Reliability(
            edges=tuple(edges.tolist()),
            rows=tuple(rows.tolist()),
            predicted=tuple((np.bincount(place, predicted, RELIABILITY_BINS) / divisor).tolist()),
            observed=tuple((true / divisor).tolist()),
        )
    return curves


def _difference(usual: Mapping[str, Array], changed: Mapping[str, Array], outputs: Sequence[OutputSpec]) -> float:
    """The difference of one output: of probabilities if there are any, else of predictions, else of labels."""
    for role in ("probabilities", "prediction", "label", "other"):
        for spec in outputs:
            if spec.role != role or spec.name not in usual:
                continue
            one, other = usual[spec.name], changed[spec.name]
            if role == "label" or one.dtype.kind not in "fiub":
                return float((one != other).reshape(len(one), -1).any(axis=1).mean())
            moved = np.abs(other.astype(np.float64) - one.astype(np.float64)).reshape(len(one), -1).sum(axis=1)
            return (
                float(np.nanmean(moved / 2 if role == "probabilities" else moved)) if np.isfinite(moved).any() else 0.0
            )
    return 0.0
