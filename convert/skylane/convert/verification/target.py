"""The target of the held-out rows: whether it can be what the pipeline predicts. Pure."""

from typing import Any

import numpy as np
import pandas as pd

from skylane.convert.errors import BadArgument, BadRows
from skylane.convert.inspection.schema import Array
from skylane.convert.inspection.structure import Task, column_names
from skylane.convert.verification.answers import Answers


def truth_of(target: Array | None, task: Task) -> Array | None:
    """The target, as numbers if possible. Raises BadRows for missing values, and for texts if numbers are predicted."""
    if target is None:
        return None
    gaps = int(pd.DataFrame(target).isna().any(axis=1).sum())
    if gaps:
        raise BadRows(f"the target has gaps in {gaps} of {len(target)} rows: leave those rows out")
    labels_as_they_are = task != "regressor" and (
        target.dtype != object or any(isinstance(value, str) for value in np.ravel(target))
    )
    try:
        return target if labels_as_they_are else target.astype(object).astype(np.float64)
    except (TypeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise BadRows(f"the target is not of numbers: {reason}; is it the right column?") from error


def doubts(expected: Answers, target: Array) -> list[str]:
    """A warning if the target cannot be what the pipeline predicts."""
    if expected.label is None:
        return []
    true = np.asarray(target)
    kind = str if "O" in (kinds := expected.label.dtype.kind + true.dtype.kind) or "U" in kinds else np.float64
    target_values, answered = np.unique(true.astype(kind)).tolist(), np.unique(expected.label.astype(kind)).tolist()
    if set(target_values) & set(answered):
        return []
    return [
        f"the target's values ({', '.join(map(str, target_values[:3]))}) and the pipeline's labels "
        f"({', '.join(map(str, answered[:3]))}) have none in common: is it the right column?"
    ]


def check_target(estimator: Any, name: str) -> None:
    """Raises BadArgument if the pipeline reads the target column, because the rows are passed without it."""
    if name in (column_names(estimator) or ()):
        raise BadArgument(f"the target {name!r} is a column that the pipeline reads: name the one that has the truth")
