"""One block of a model, the blocks before it and the reference → one verdict."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from skylane.reference import Reference
from skylane.statistics.drift.blocks import BlockStatistics

Kind = Literal[
    "unit", "sign", "swapped", "constant", "stuck", "clipped", "missing", "infinite", "renamed", "new category",
    "absent category", "step", "range", "absent", "change",
]  # fmt: skip


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
    """Share of the rows that are affected; 1 where that is not known."""
    effect: float
    """How much the main answer moved, or would by this column alone, in its own unit."""
    rank: float
    """Drift × importance × effect: the first finding is the one to begin with."""


@dataclass(frozen=True)
class ColumnDrift:
    """One column's figures in one block, for tables and the heat map."""

    missing: float
    unseen: float
    """Share of rows with a text, or a number of few, that the reference does not have."""
    outside: float
    """Share of rows out of the reference's range."""
    infinite: float
    psi: float
    """Population stability index to the reference, less what chance alone gives: (B - 1) (1/n + 1/N)."""
    w1: float | None
    """Wasserstein distance to the reference, in its standard deviations; None for texts."""
    step: float | None
    """The same to the blocks before; for texts, the total variation. None without blocks before."""
    p: float | None
    """Share of the reference's own blocks that are so unlike the others, extrapolated beyond the largest; None if the
    reference has no blocks of its own."""
    level: Literal["usual", "unusual", "alarm"]


@dataclass(frozen=True)
class Verdict:
    """The verdict on one block."""

    status: Literal["ok", "note", "alarm", "too few rows", "no reference"]
    text: str
    """One sentence: the alarm, or why there is none."""
    findings: tuple[Finding, ...] = ()
    """What makes the alarm, the most important first; empty without one."""
    notes: tuple[str, ...] = ()
    """Slow changes with their sizes, and what could not be judged."""
    columns: dict[str, ColumnDrift] | None = None
    answers: dict[str, ColumnDrift] | None = None
    rows_needed: int = 0
    """Least rows of a block for a verdict."""


def judge(history: Sequence[BlockStatistics], current: BlockStatistics, reference: Reference) -> Verdict:
    """Judge `current` by the reference and the blocks before it (`history`, the oldest first; 14 are enough)."""
    if not reference.blocks:
        return Verdict("no reference", f"{len(current.columns)} columns, {len(history)} blocks before")
    return Verdict("ok", "")
