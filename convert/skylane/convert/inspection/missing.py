"""Kinds of missing values. In columns of objects, as pandas 2 reads text, scikit-learn distinguishes NaN from None;
callers do not. So the converter finds out which of them a pipeline was trained with. Knows pandas and scikit-learn.
"""

from typing import Any, Final, Literal

import numpy as np
import pandas as pd
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline

from skylane.convert.inspection.structure import column_names, parts

Gap = Literal["NaN", "None", "NA"]

VALUE_OF: Final[dict[Gap, Any]] = {"NaN": np.nan, "None": None, "NA": pd.NA}


def kind_of(value: Any) -> Gap | None:
    """The kind of a missing value; None for other values."""
    if value is None:
        return "None"
    if value is pd.NA:
        return "NA"
    return "NaN" if isinstance(value, float | np.floating) and np.isnan(value) else None


def kinds_of(values: "pd.Series[Any]") -> tuple[Gap, ...]:
    """The kinds of missing values in a column, each once."""
    gaps = values[values.isna()].astype(object)
    return tuple(dict.fromkeys(kind for value in gaps if (kind := kind_of(value)) is not None))


def is_object(dtype: Any) -> bool:
    """Whether a column of this type holds Python objects."""
    return isinstance(dtype, np.dtype) and dtype.kind == "O"


def natural(dtype: Any) -> Gap:
    """The default kind of missing value in a column of this type."""
    return "NA" if getattr(dtype, "na_value", None) is pd.NA else "NaN"


def possible(values: "pd.Series[Any]") -> tuple[Gap, ...]:
    """The kinds of missing values in the column of these rows; if there are none, those that the column could have."""
    present = kinds_of(values)
    if present:
        return present
    if is_object(values.dtype) or (isinstance(values.dtype, pd.StringDtype) and natural(values.dtype) == "NaN"):
        # pandas 3 reads these as strings with NaN; pandas 2 read them as objects, which can hold None as well.
        return ("NaN", "None")
    return (natural(values.dtype),)


def trained_with(estimator: Any, column: str) -> set[Gap]:
    """The kinds of missing values that imputers fill in a column, or that later encoders know as a category."""
    gaps: set[Gap] = set()
    for part in parts(estimator):
        steps = [step for _, step in part.steps] if isinstance(part, Pipeline) else [part]
        names = column_names(steps[0]) or ()
        if column not in names:
            continue
        place: int | None = names.index(column)
        for step in steps:
            if isinstance(step, SimpleImputer) and place is not None:
                gaps.update(kind for kind in (kind_of(step.missing_values),) if kind is not None)
                place = _behind(step, place)
            elif place is not None and len(categories := getattr(step, "categories_", ())) > place:
                gaps.update(kind for value in categories[place] if (kind := kind_of(value)) is not None)
                break
            elif step not in (None, "passthrough"):
                break
    return gaps


def _behind(imputer: SimpleImputer, place: int) -> int | None:
    """Index of a column in the imputer's output; None if the imputer drops it because all of its values are missing."""
    if imputer.strategy == "constant" or imputer.keep_empty_features:
        return place
    lost = [kind_of(value) is not None for value in np.asarray(imputer.statistics_, dtype=object)]
    return None if lost[place] else place - sum(lost[:place])


def categories_of(estimator: Any) -> frozenset[str]:
    """All texts that are categories of an encoder of the pipeline."""
    return frozenset(
        value
        for part in parts(estimator)
        for values in (getattr(part, "categories_", None) or ())
        for value in np.asarray(values, dtype=object).tolist()
        if isinstance(value, str)
    )
