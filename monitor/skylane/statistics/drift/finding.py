"""What is found wrong with a column, and since when. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Literal

from skylane.statistics.drift.blocks import SLICES, BlockStatistics
from skylane.statistics.drift.sketch import Array

Kind = Literal[
    "unit", "sign", "swapped", "constant", "stuck", "clipped", "missing", "infinite", "renamed", "new category",
    "step", "change",
]  # fmt: skip

SPLIT_MIN: Final = 0.6
"""Rise of the affected share from one slice to the next that dates a fault within a block."""


@dataclass(frozen=True)
class Finding:
    """What is wrong with one column, or with two that are swapped."""

    columns: tuple[str, ...]
    kind: Kind
    text: str
    """In words, such as "wind_speed ×1.61 since 12:00 UTC: mph → km/h?"."""
    since_s: float
    """Unix time since when, as far as the blocks before tell."""
    share: float
    """Share of the rows that are affected."""
    effect: float = 0.0
    """How much the main answer moved against the blocks before, in its own unit."""
    rank: float = 0.0
    """Drift × importance × effect: the first finding is the one to begin with."""


def begins(affected: Array, rows: Array) -> int | None:
    """The slice, from 1, in which a fault begins, by the affected and all rows of each slice; None if earlier.

    It is the split of the block with the largest difference between the affected shares after and before it.
    """
    best, found = SPLIT_MIN, None
    for place in range(1, len(rows)):
        before, after = rows[:place].sum(), rows[place:].sum()
        if before <= 0 or after <= 0:
            continue
        rise = affected[place:].sum() / after - affected[:place].sum() / before
        if rise > best + 1e-9:
            best, found = rise, place
    return found


def slice_start(block: BlockStatistics, place: int) -> float:
    """Unix time at which a slice begins."""
    return block.start_s + block.block_s * place / SLICES


def instant(at_s: float, block: BlockStatistics) -> str:
    """In words: the time of day within the block, else the date as well; UTC."""
    at = datetime.fromtimestamp(at_s, UTC)
    if at_s < block.start_s or block.block_s > 86400:
        return f"{at:%Y-%m-%d}" if (at.hour, at.minute) == (0, 0) else f"{at:%Y-%m-%d %H:%M} UTC"
    return f"{at:%H:%M} UTC"


def listed(names: Sequence[str], shown: int = 3) -> str:
    """Some of the names: "a, b, c and 4 more"."""
    more = len(names) - shown
    return ", ".join(names[:shown]) + (f" and {more} more" if more > 0 else "")


def percent(share: float) -> str:
    """A share in words; never 0 % or 100 % if it is not."""
    if share in (0.0, 1.0) or 0.005 <= share < 0.995:
        return f"{share * 100:.0f} %"
    return "<1 %" if share < 0.5 else ">99 %"


def affected_share(rows: Array, begin: int | None) -> float:
    """Share of the block's rows in the slices from `begin` on; 1 without one."""
    return 1.0 if begin is None or rows.sum() <= 0 else float(rows[begin:].sum() / rows.sum())
