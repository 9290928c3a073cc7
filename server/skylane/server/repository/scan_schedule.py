"""Decides when to scan the repository in full (a millisecond) and when to check time stamps (a tenth). Pure."""

import math
from collections.abc import Sequence
from typing import Final

from skylane.server.repository.scanner import TimeStamps

FULL_S: Final = 30.0
"""Longest time between two full scans: some object stores and network file systems keep no times of directories."""
SETTLE_S: Final = 3.0
"""Every poll within this time after a change is a full scan: a second change within one tick of the file system's
clock, which may be two seconds, leaves the time stamps as they are."""


class ScanSchedule:
    """Decides between a check of time stamps and a full scan. Times are seconds on the caller's clock."""

    def __init__(self) -> None:
        self._paths: Sequence[str] = ()
        self._time_stamps: TimeStamps = ()
        self._settled_at = self._full_at = -math.inf

    def is_due(self, paths: Sequence[str], time_stamps: TimeStamps, now: float) -> bool:
        """Whether to scan in full now, given the time stamps of these paths. If True, the caller must scan."""
        if (paths, time_stamps) != (self._paths, self._time_stamps):
            self._paths, self._time_stamps = paths, time_stamps
            self._settled_at = now + SETTLE_S
        if now < self._full_at and now >= self._settled_at:
            return False
        self._full_at = now + FULL_S
        return True
