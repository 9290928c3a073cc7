"""Inputs or world: a change of the log loss in two parts that add up to it exactly.

Rows are put into cells by their reported probability, with about as many reference rows in each. With the shares p
and q of the cells then and now, and the mean losses L and M per cell then and now,

    change = Σ q M − Σ p L = Σ (q − p) L  (inputs)  +  Σ q (M − L)  (world)

*Inputs*: other rows are asked about, easier or harder ones by the model's own judgement. *World*: rows that the model
judges alike fare otherwise than they did. An input that is broken without moving the probabilities therefore counts
as world: labels differ from what the model says, and only the drift of the columns can tell why.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from skylane.statistics.performance.exact_sums import as_float
from skylane.statistics.performance.metrics import Floats, bin_sums
from skylane.statistics.performance.sums import ClassificationSums

CELLS: Final = 10


@dataclass(frozen=True)
class Cell:
    """Rows whose reported probability fell into one range: shares of all rows and mean losses, then and now."""

    share_before: float
    share_now: float
    loss_before: float
    loss_now: float
    """NaN if no row is in the cell now."""


@dataclass(frozen=True)
class LossChange:
    """A change of the mean loss and its parts: `inputs` + `world` is `change`, up to the rounding of one addition."""

    before: float
    now: float
    change: float
    inputs: float
    world: float
    cells: list[Cell]
    words: str


def loss_change(reference: ClassificationSums, current: ClassificationSums, cells: int = CELLS) -> LossChange:
    """Split the change of the log loss from `reference` to `current`. Raises ValueError if one has no rows."""
    if not reference.rows or not current.rows:
        raise ValueError(f"expected labelled rows on both sides, got {reference.rows} and {current.rows}")
    keys = sorted(reference.cells.keys() | current.cells.keys())
    before, now = ([_pair(sums, key) for key in keys] for sums in (reference, current))
    return change_by_cells(*_merge_cells(np.array(before), np.array(now), cells))


def change_by_cells(before: Floats, now: Floats) -> LossChange:
    """The same for any cells, such as leaves or segments: `before` and `now` are (cells, 2): weight, and weight × loss.

    Raises ValueError if a cell has rows now but had none before: there is nothing to compare with; merge it into
    another.
    """
    if ((before[:, 0] <= 0) & (now[:, 0] > 0)).any():
        raise ValueError("expected reference rows in every cell that has rows now")
    p, q = before[:, 0] / before[:, 0].sum(), now[:, 0] / now[:, 0].sum()
    old = before[:, 1] / np.where(before[:, 0] > 0, before[:, 0], 1)
    new = np.where(now[:, 0] > 0, now[:, 1] / np.where(now[:, 0] > 0, now[:, 0], 1), np.nan)
    inputs = float(((q - p) * old).sum())
    loss_before, loss_now = float(before[:, 1].sum() / before[:, 0].sum()), float(now[:, 1].sum() / now[:, 0].sum())
    change = loss_now - loss_before
    table = [Cell(*map(float, each)) for each in zip(p, q, old, new, strict=True)]
    return LossChange(
        loss_before, loss_now, change, inputs, change - inputs, table, _words(change, inputs, change - inputs)
    )


def _pair(sums: ClassificationSums, key: int) -> tuple[float, float]:
    weight, loss = sums.cells.get(key, (0, 0))
    return as_float(weight), as_float(loss)


def _merge_cells(before: Floats, now: Floats, cells: int) -> tuple[Floats, Floats]:
    """Neighbouring bins together, until each cell has its part of the reference's weight."""
    reached = np.cumsum(before[:, 0]) / before[:, 0].sum()
    cell = np.minimum(np.floor((reached - before[:, 0] / before[:, 0].sum() / 2) * cells), cells - 1).astype(int)
    cell = np.unique(cell, return_inverse=True)[1]
    merged = [_grouped(each, cell) for each in (before, now)]
    empty = merged[0][:, 0] <= 0  # only bins beyond all of the reference's, or in a gap of it
    if empty.any():
        filled = np.flatnonzero(~empty)
        nearest = filled[np.abs(np.arange(len(empty))[:, None] - filled).argmin(axis=1)]
        target = np.unique(nearest, return_inverse=True)[1]
        merged = [_grouped(each, target) for each in merged]
    return merged[0], merged[1]


def _grouped(pairs: Floats, group: NDArray[np.int64]) -> Floats:
    count = int(group.max()) + 1
    return np.stack([bin_sums(group, pairs[:, i], count) for i in range(2)], axis=1)


def _words(change: float, inputs: float, world: float) -> str:
    whole = f"the loss {'rose' if change > 0 else 'fell'} by {abs(change):.4f}"
    parts = f"{inputs:+.4f} because other rows are asked about, {world:+.4f} because like rows fare otherwise"
    if max(abs(inputs), abs(world)) < 1e-9:
        return "the loss did not change"
    cause = (
        "mostly the world"
        if abs(world) > 2 * abs(inputs)
        else "mostly the inputs"
        if abs(inputs) > 2 * abs(world)
        else "both"
    )
    return f"{whole}: {parts} ({cause})"


def total(blocks: Sequence[ClassificationSums]) -> ClassificationSums:
    """All blocks merged. Raises ValueError for none."""
    if not blocks:
        raise ValueError("expected at least one block")
    merged = blocks[0]
    for block in blocks[1:]:
        merged += block
    return merged
