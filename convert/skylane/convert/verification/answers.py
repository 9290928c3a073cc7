"""Answers of scikit-learn and of graphs, in one form that can be compared. Decides nothing."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from skylane.convert.inspection.schema import Array, Layout
from skylane.convert.inspection.structure import Task


@dataclass(frozen=True)
class Answers:
    """The answers to some rows."""

    label: Array | None
    """(rows)"""
    numbers: Array | None
    """Probabilities, predictions or scores: (rows, any) float64."""

    def __len__(self) -> int:
        return len(self.label) if self.label is not None else 0 if self.numbers is None else len(self.numbers)


def by_estimator(estimator: Any, layout: Layout, frame: pd.DataFrame, task: Task) -> Answers:
    """The answers of scikit-learn, in float64. Raises whatever the pipeline raises for rows that it refuses."""
    rows = layout.native(frame)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # scikit-learn warns of unknown categories, which are passed on purpose
        if task == "classifier":
            probabilities = estimator.predict_proba(rows) if hasattr(estimator, "predict_proba") else None
            return Answers(np.asarray(estimator.predict(rows)), _block(probabilities))
        if task == "regressor":
            return Answers(None, _block(estimator.predict(rows)))
        if task == "clusterer":
            return Answers(np.asarray(estimator.predict(rows)), None)
        if task == "outlier_detector":
            return Answers(np.asarray(estimator.predict(rows)), _block(estimator.decision_function(rows)))
        return Answers(None, _block(estimator.transform(rows)))


def by_graph(outputs: Mapping[str, Array]) -> Answers:
    """The answers of a graph, from its outputs by name."""
    label = outputs.get("label")
    numbers = next((values for name, values in outputs.items() if name != "label"), None)
    return Answers(None if label is None else label.reshape(-1), _block(numbers))


def _block(values: Any) -> Array | None:
    if values is None:
        return None
    array = np.asarray(values.toarray() if hasattr(values, "toarray") else values, dtype=np.float64)
    return array.reshape(len(array), -1)
