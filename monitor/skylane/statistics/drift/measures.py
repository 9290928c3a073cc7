"""The statistics of a column's block by which it is compared with the reference, and with the blocks before it."""

from typing import Final

import numpy as np

from skylane.reference import ColumnReference, NumberReference, TextReference
from skylane.statistics.drift.blocks import (
    SLICE_MAX,
    SLICE_MIN,
    SLICE_ROWS,
    ColumnStatistics,
    NumberStatistics,
    TextStatistics,
)
from skylane.statistics.drift.distances import Histogram, psi, total_variation, w1, w1_by_chance
from skylane.statistics.drift.sketch import Array

STILL_SLICES_MIN: Final = 3
"""Slices with the same single number that make a stretch without change."""

Measures = dict[str, float]


def measures(
    block: ColumnStatistics,
    known: ColumnReference,
    rows_ratio: float,
    counts: Array | None = None,
    before: ColumnStatistics | None = None,
    doubt: float = 1.0,
) -> Measures:
    """Statistic → its number.

    `rows_ratio`: effective rows by weight of rows, 1 without sampling. `counts`: of the reference's bins or texts; None
    for all of its rows. `before`: the blocks before, merged; without it there is no "step". `doubt`: from distances, so
    many times the mean that chance alone gives is taken off. A statistic that cannot be computed is left out.
    """
    if isinstance(block, NumberStatistics) and isinstance(known, NumberReference):
        return _of_numbers(block, known, rows_ratio, counts, before, doubt)
    if isinstance(block, TextStatistics) and isinstance(known, TextReference):
        return _of_texts(block, known, rows_ratio, counts, before, doubt)
    raise TypeError(f"a block of {type(block).__name__} does not belong to a {type(known).__name__}")


def _of_numbers(
    block: NumberStatistics,
    known: NumberReference,
    rows_ratio: float,
    counts: Array | None,
    before: ColumnStatistics | None,
    doubt: float,
) -> Measures:
    made = {"missing": block.missing / block.rows, "infinite": block.infinite / block.rows} if block.rows else {}
    if known.bins is None or block.finite <= 0:
        return made
    finite, edges = block.finite, np.array(known.bins.edges)
    counts = np.array(known.bins.counts, np.float64) if counts is None else counts
    rows, own_rows = finite * rows_ratio, float(counts.sum())
    made |= {
        "outside": (block.below + block.above) / finite,
        "off step": block.off_step / finite,
        "unknown": block.unknown / finite,
        "odd": block.odd / finite,
        "at smallest": block.at_smallest / finite,
        "at largest": block.at_largest / finite,
        "distinct": float(len(block.values.values)),
        "mean": block.sum / finite + known.mean,
        "psi": psi(_with_ends(block), rows, np.concatenate([[0.0], counts, [0.0]]), own_rows),
    }
    still = longest_still(block)
    if still is not None:
        made["still"] = still
        made["reach smallest"] = _reach(block, SLICE_MIN, block.smallest)
        made["reach largest"] = _reach(block, SLICE_MAX, block.largest)
    own = Histogram(edges, counts / max(own_rows, 1e-300))
    here = histogram(block, edges)
    chance = w1_by_chance(own.inside, edges, rows, own_rows)
    made["w1"] = _without(w1(here, own), doubt * chance) / known.scale
    if isinstance(before, NumberStatistics) and before.finite > 0:
        chance = w1_by_chance(own.inside, edges, rows, before.finite * rows_ratio)
        made["step"] = _without(w1(here, histogram(before, edges)), doubt * chance) / known.scale
    return made


def _of_texts(
    block: TextStatistics,
    known: TextReference,
    rows_ratio: float,
    counts: Array | None,
    before: ColumnStatistics | None,
    doubt: float,
) -> Measures:
    seen = block.rows - block.missing - block.hashed
    made = {"missing": block.missing / block.rows} if block.rows else {}
    if seen <= 0 or not known.counts:
        return made
    if counts is None:
        counts = np.array([*known.counts.values(), known.other], np.float64)
    here, rows = np.append(block.counts, block.unseen), seen * rows_ratio
    made |= {
        "unseen": block.unseen / seen,
        "top": max(float(block.counts.max()), block.unseen if len(block.texts) == 1 else 0.0) / seen,
        "psi": psi(here, rows, counts, float(counts.sum())),
        "tv": total_variation(here, rows, counts, float(counts.sum()), doubt),
    }
    if isinstance(before, TextStatistics):
        there = np.append(before.counts, before.unseen)
        made["step"] = total_variation(here, rows, there, float(there.sum()) * rows_ratio, doubt)
    return made


def histogram(block: NumberStatistics, edges: Array) -> Histogram:
    """Shares of a block's finite numbers in the reference's bins and beyond."""
    return Histogram(
        edges,
        block.bins / block.finite,
        below=block.below / block.finite,
        below_mean=block.below_sum / block.below if block.below else 0.0,
        above=block.above / block.finite,
        above_mean=block.above_sum / block.above if block.above else 0.0,
    )


def _reach(block: NumberStatistics, extreme: int, bound: float) -> float:
    """Share of the rows in slices whose smallest or largest number is that of the block."""
    rows = block.slices[:, SLICE_ROWS]
    return float(rows[block.slices[:, extreme] == bound].sum() / rows.sum())


def longest_still(block: NumberStatistics) -> float | None:
    """Largest share of the rows in consecutive slices that all have one and the same number; None without times."""
    run = still_run(block)
    if run is None:
        return None
    rows = block.slices[:, SLICE_ROWS]
    return float(rows[run[0] : run[1]].sum() / rows.sum())


def still_run(block: NumberStatistics) -> tuple[int, int] | None:
    """First slice of that stretch, and the one after its last; (0, 0) if there is none, None without times.

    Slices without any number are neither a change nor a repetition.
    """
    rows, low, high = (block.slices[:, place] for place in (SLICE_ROWS, SLICE_MIN, SLICE_MAX))
    if not rows.any():
        return None
    present = np.flatnonzero(low == high)
    filled = np.flatnonzero(~np.isnan(low))
    best, best_rows, start = (0, 0), 0.0, 0
    # A stretch ends where a slice has several numbers, or another one than the slice before.
    values = np.where(np.isin(filled, present), low[filled], np.nan)
    breaks = np.flatnonzero(np.append(values[1:] != values[:-1], True)) + 1
    for end in breaks.tolist():
        if end - start >= STILL_SLICES_MIN and not np.isnan(values[start]):
            first, after = int(filled[start]), int(filled[end - 1]) + 1
            length = float(rows[first:after].sum())
            if length > best_rows:
                best, best_rows = (first, after), length
        start = end
    return best


def _with_ends(block: NumberStatistics) -> Array:
    return np.concatenate([[block.below], block.bins, [block.above]])


def _without(distance: float, chance: float) -> float:
    """The distance less what chance gives: their squares add up, roughly."""
    return float(np.sqrt(max(0.0, distance**2 - chance**2)))
