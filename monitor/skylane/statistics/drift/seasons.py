"""Seasons of a reference that covers a year or more: a block is compared with its month and the months beside it."""

from datetime import UTC, datetime

import numpy as np

from skylane.reference import ColumnReference
from skylane.statistics.drift.sketch import Array


def month_of(at_s: float) -> int:
    """Month of an instant in UTC, 1 to 12."""
    return datetime.fromtimestamp(at_s, UTC).month


def seasonal_counts(known: ColumnReference, at_s: float) -> Array | None:
    """Counts of the month of an instant and the months beside it; None if the reference has no seasons."""
    if not known.strata:
        return None
    month = month_of(at_s)
    near = [stratum for stratum in known.strata if (stratum.month - month) % 12 in (0, 1, 11)]
    return np.asarray(np.sum([stratum.counts for stratum in near], axis=0))
