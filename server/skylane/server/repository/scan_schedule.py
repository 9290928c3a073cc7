"""When the repository is worth a full look, which costs a millisecond, where a glance costs a tenth. Pure."""

import math
from collections.abc import Sequence
from typing import Final

from skylane.server.repository.scanner import Glance

FULL_S: Final = 30.0
"""Longest between two full looks: some mounted object stores and network file systems keep no times of directories."""
SETTLE_S: Final = 3.0
"""For so long after a change every look is full: what changes twice within one tick of the file system's clock, which
may be two seconds, looks the same the second time."""


class ScanSchedule:
    """Decides between a glance and a full look. Times are seconds on the caller's clock."""

    def __init__(self) -> None:
        self._paths: Sequence[str] = ()
        self._glance: Glance = ()
        self._settled_at = self._full_at = -math.inf

    def is_due(self, paths: Sequence[str], glance: Glance, now: float) -> bool:
        """Whether to look in full now, after this glance at these paths. Ask before each look, and obey."""
        if (paths, glance) != (self._paths, self._glance):
            self._paths, self._glance = paths, glance
            self._settled_at = now + SETTLE_S
        if now < self._full_at and now >= self._settled_at:
            return False
        self._full_at = now + FULL_S
        return True
