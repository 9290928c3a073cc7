"""Rows and the graph's answers to them → a profile for the manifest. Pure, except for the run that it is given."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import pandas as pd

from skylane.convert.inspection.schema import Array, Column, Layout, NumberType
from skylane.convert.verification.gate import CHUNK_ROWS
from skylane.manifest import OutputSpec
from skylane.profile import Bins, NumberProfile, Profile, TextProfile

BINS_MAX: Final = 20
BINS_MIN: Final = 5
BINS_TOTAL: Final = 4096
"""Bins of all columns together, about 100 kB of JSON; models with many columns get fewer bins for each."""
COLUMNS_MAX: Final = 1024

TEXTS_MAX: Final = 50
TEXT_LENGTH_MAX: Final = 80
TEXT_ROWS_MIN: Final = 5
"""A text in fewer rows is not named in the profile: it may identify a person, and does not help to detect drift."""

LABELS_MAX: Final = 1000
CLASSES_MAX: Final = 50
"""Largest number of classes whose probabilities get a histogram; labels are counted for more."""

ANSWERED_ROWS: Final = 20_000
"""Rows that the graph answers for the profile: enough for a histogram, and fast even for forests."""

Run = Callable[[Mapping[str, Array]], Mapping[str, Array]]


@dataclass(frozen=True)
class Profiled:
    """A profile, with the answers that it was made from."""

    profile: Profile
    answered: Array
    """(m,) int64: indices of the rows that the graph answered."""
    answers: Mapping[str, Array]
    """Output → its values for them."""


def profile(
    layout: Layout,
    frame: pd.DataFrame,
    numbers: NumberType,
    outputs: Sequence[OutputSpec],
    run: Run,
    of: Literal["training", "held-out"],
) -> Profiled:
    """Histograms of every column, and of the graph's answers to evenly spaced rows."""
    columns = layout.columns[:COLUMNS_MAX]
    bins = max(BINS_MIN, min(BINS_MAX, BINS_TOTAL // max(len(columns), 1)))
    places = _spread(_accepted(layout, frame), ANSWERED_ROWS)
    chosen = frame.iloc[places]
    answered = _answers(layout, chosen, numbers, run) if len(chosen) else {}
    made = Profile(
        of=of,
        rows=len(frame),
        columns={column.name: _column(column, frame[column.name], bins) for column in columns},
        omitted=len(layout.columns) - len(columns),
        answered_rows=len(chosen),
        labels=_labels(answered, outputs),
        answers=_numbers(answered, outputs),
    )
    return Profiled(made, places, answered)


def profile_of_tensors(
    columns: Mapping[str, Array], omitted: int, answered: Mapping[str, Array], outputs: Sequence[OutputSpec]
) -> Profile:
    """The profile of an imported graph: histograms of these columns, and of the answers to all of their rows.

    `omitted`: number of further columns. The rows are a sample, not known to be those that the graph was trained on.
    """
    kept = dict(list(columns.items())[:COLUMNS_MAX])
    bins = max(BINS_MIN, min(BINS_MAX, BINS_TOTAL // max(len(kept), 1)))
    rows = len(next(iter(answered.values())))
    return Profile(
        of="held-out",
        rows=rows,
        columns={
            name: _column(Column(name, "string" if values.dtype == object else "number"), pd.Series(values), bins)
            for name, values in kept.items()
        },
        omitted=omitted + len(columns) - len(kept),
        answered_rows=rows,
        labels=_labels(answered, outputs),
        answers=_numbers(answered, outputs),
    )


def _accepted(layout: Layout, frame: pd.DataFrame) -> Array:
    """Indices of the rows without missing values that the server would refuse."""
    refusing = [column.name for column in layout.columns if column.missing is None]
    return np.flatnonzero(frame[refusing].notna().all(axis=1).to_numpy())


def _spread(places: Array, rows_max: int) -> Array:
    """At most so many of the indices, evenly spaced."""
    if len(places) <= rows_max:
        return places
    return np.asarray(places[np.linspace(0, len(places) - 1, rows_max).astype(int)])


def quantile_bins(values: Array, bins: int) -> Bins | None:
    """The histogram of finite numbers, (any) float64, in bins with about equal counts; if there are only a few distinct
    numbers, with a bin for each. None without numbers.
    """
    if not len(values):
        return None
    distinct = np.unique(values)
    if len(distinct) <= bins:
        middles = distinct[:-1] / 2 + distinct[1:] / 2
        edges = np.concatenate([distinct[:1], middles, distinct[-1:]])
    else:
        edges = np.unique(np.quantile(values, np.linspace(0.0, 1.0, bins + 1), method="inverted_cdf"))
    counts, _ = np.histogram(values, edges)
    return Bins(edges=tuple(edges.tolist()), counts=tuple(counts.tolist()))


def _column(column: Column, values: "pd.Series[Any]", bins: int) -> NumberProfile | TextProfile:
    missing = float(values.isna().mean())
    if column.kind == "string":
        return _texts(values.dropna().astype(str), missing)
    present = values.dropna().to_numpy(np.float64)
    finite = present[np.isfinite(present)]
    return NumberProfile(
        bins=quantile_bins(finite, bins), missing=missing, infinite=(len(present) - len(finite)) / len(values)
    )


def _texts(values: "pd.Series[str]", missing: float) -> TextProfile:
    counts = values.value_counts()
    frequent = counts[counts >= TEXT_ROWS_MIN]
    named = {text: int(count) for text, count in frequent.items() if len(str(text)) <= TEXT_LENGTH_MAX}
    kept = {str(text): named[text] for text in list(named)[:TEXTS_MAX]}
    return TextProfile(counts=kept, other=len(values) - sum(kept.values()), distinct=len(counts), missing=missing)


def _answers(layout: Layout, frame: pd.DataFrame, numbers: NumberType, run: Run) -> dict[str, Array]:
    parts = [
        run(layout.tensors(frame.iloc[start : start + CHUNK_ROWS], numbers))
        for start in range(0, len(frame), CHUNK_ROWS)
    ]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _labels(answered: Mapping[str, Array], outputs: Sequence[OutputSpec]) -> dict[str, int]:
    for spec in outputs:
        if spec.role == "label" and spec.name in answered:
            labels, counts = np.unique(answered[spec.name].astype(str), return_counts=True)
            order = np.argsort(-counts, kind="stable")[:LABELS_MAX]
            return {str(labels[place]): int(counts[place]) for place in order}
    return {}


def _numbers(answered: Mapping[str, Array], outputs: Sequence[OutputSpec]) -> dict[str, Bins]:
    bins_of: dict[str, Bins] = {}
    for spec in outputs:
        if spec.role not in ("probabilities", "prediction") or spec.name not in answered:
            continue
        values = answered[spec.name].astype(np.float64).reshape(len(answered[spec.name]), -1)
        for place in range(min(values.shape[1], CLASSES_MAX)):
            named = spec.classes[place] if spec.classes else place
            key = spec.name if values.shape[1] == 1 else f"{spec.name}:{named}"
            each = values[:, place]
            bins = (
                _even_bins(each) if spec.role == "probabilities" else quantile_bins(each[np.isfinite(each)], BINS_MAX)
            )
            if bins is not None:
                bins_of[key] = bins
    return bins_of


def _even_bins(values: Array) -> Bins:
    """The histogram of probabilities; those that rounding put beyond 0 or 1 count in the outer bins."""
    counts, edges = np.histogram(np.clip(values, 0.0, 1.0), np.arange(BINS_MAX + 1) / BINS_MAX)
    return Bins(edges=tuple(edges.tolist()), counts=tuple(counts.tolist()))
