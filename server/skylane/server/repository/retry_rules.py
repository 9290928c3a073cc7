"""When a version that was refused is loaded again. Pure: time arrives as an argument."""

from dataclasses import dataclass

from skylane.server.repository.scanner import Stamp


@dataclass
class Refusal:
    """Why a version is not served, until its files change."""

    stamp: Stamp
    reason: str
    unchanged_since: float
    """Instant since which the files have not changed."""
    is_final: bool = True
    """False while the version may still be being written."""
    is_tried: bool = True
    """Whether the files were loaded in their present state."""

    @property
    def text(self) -> str:
        """Why the version is not served, as clients and logs read it."""
        return self.reason if self.is_final else f"it is being written: {self.reason}"


class RetryRules:
    """Decides which refused versions are loaded again. Times are seconds on the caller's clock."""

    def __init__(self, settle_s: float, written_s_max: float) -> None:
        """See LoadLimits."""
        self._settle_s, self._written_s_max = settle_s, written_s_max

    def first(self, stamp: Stamp, reason: str, now: float, wall_now: float) -> Refusal:
        """The refusal of a version whose files do not match its checksums, as while they are being written."""
        changed_at = max((file.changed_ns for file in stamp), default=0) / 1e9
        unchanged_since = now - max(wall_now - changed_at, 0.0)
        return Refusal(stamp, reason, unchanged_since, is_final=now - unchanged_since >= self._written_s_max)

    def again(self, refusal: Refusal, stamp: Stamp, now: float) -> Refusal | None:
        """The refusal from now on, given the files' present stamp; None if the version is to be loaded again."""
        if stamp != refusal.stamp:
            if refusal.is_final:
                return None
            return Refusal(stamp, refusal.reason, now, is_final=False, is_tried=False)
        unchanged_s = now - refusal.unchanged_since
        if not refusal.is_final and unchanged_s >= self._settle_s and not refusal.is_tried:
            return None
        if not refusal.is_final and unchanged_s >= self._written_s_max:
            return Refusal(stamp, refusal.reason, refusal.unchanged_since)
        return refusal
