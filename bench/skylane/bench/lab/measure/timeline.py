"""Requests over time: counts by outcome in slices of equal length. Pure."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from skylane.bench.client.sending import REFUSED, Log
from skylane.bench.figures import percentile

SLICES: Final = 100
"""About so many slices of a measurement are drawn."""
SHORTEST_S: Final = 0.1

Counts = NDArray[np.int64]


@dataclass(frozen=True)
class Timeline:
    """Counts in slices of equal length; the last one may reach beyond the end."""

    slice_s: float
    offered: Counts
    """Requests by when they were due."""
    answered: Counts
    """Answers by when they came."""
    refused: Counts
    failed: Counts
    p99_us: NDArray[np.float64]
    """Of the requests that were due in the slice and were answered; NaN where there was none."""

    @property
    def at_s(self) -> NDArray[np.float64]:
        """Middle of each slice."""
        return (np.arange(len(self.offered), dtype=np.float64) + 0.5) * np.float64(self.slice_s)


def timeline(log: Log, slice_s: float | None = None, judged: NDArray[np.bool_] | None = None) -> Timeline:
    """Cut a log into slices, by default about a hundred that are not shorter than a tenth of a second.

    `judged`: for each request, whether its latency counts; by default it does.
    """
    due_s, done_s = log.start_us / 1e6, (log.start_us + log.took_us) / 1e6
    ends_s = max(float(done_s.max()), 1e-6)
    if slice_s is None:
        slice_s = max(SHORTEST_S, ends_s / SLICES)
    count = int(ends_s / slice_s) + 1
    slices_due, slices_done = (due_s / slice_s).astype(np.int64), (done_s / slice_s).astype(np.int64)
    refused = log.status == REFUSED
    failed = ~(log.ok | refused)

    def counted(slices: Counts) -> Counts:
        return np.bincount(slices, minlength=count)

    p99_us = np.full(count, np.nan)
    timed = log.ok if judged is None else log.ok & judged
    for place in np.unique(slices_due[timed]):
        p99_us[place] = percentile(log.took_us[timed & (slices_due == place)], 0.99)
    return Timeline(
        slice_s,
        counted(slices_due),
        counted(slices_done[log.ok]),
        counted(slices_done[refused]),
        counted(slices_done[failed]),
        p99_us,
    )
