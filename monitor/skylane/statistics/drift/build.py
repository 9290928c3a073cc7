"""Rows with their times → a reference with statistics of its own blocks. Pure."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import msgspec
import numpy as np

from skylane.profile import Profile
from skylane.reference import (
    DAY_S,
    ColumnReference,
    NumberReference,
    OwnBlocks,
    Pair,
    Reference,
    Reliability,
    Stratum,
    TextReference,
)
from skylane.statistics.drift.blocks import (
    BlockStatistics,
    ColumnStatistics,
    NumberStatistics,
    TextStatistics,
    as_numbers,
    block_statistics,
    counts_in,
)
from skylane.statistics.drift.facts import find_step, follows_time, guess_unit, known_values
from skylane.statistics.drift.measures import Measures, measures
from skylane.statistics.drift.own_blocks import ROWS_MIN, summarised
from skylane.statistics.drift.pairs import find_pairs
from skylane.statistics.drift.pooling import BEFORE, pooled
from skylane.statistics.drift.seasons import seasonal_counts
from skylane.statistics.drift.sketch import Array, in_single_precision

COLUMNS_MAX: Final = 256
ANSWERED_ROWS_MIN: Final = 30
"""Rows of an own block whose answers are known, for its answers to be measured."""
BLOCK_ROWS_MAX: Final = 4000
"""Rows of an own block that are measured, spread over it: more would tell no more."""
BLOCKS_MAX: Final = 400
RUN: Final = 40
"""Where there are more blocks than that, so many consecutive ones are taken from all over."""


@dataclass(frozen=True)
class Rows:
    """What a reference is made from."""

    columns: Mapping[str, Array]
    """Name → (n,) numbers, or texts of dtype object; a gap is NaN or None."""
    times_s: Array
    """(n,) float64: Unix time in seconds."""
    profile: Profile
    """Histograms of all columns and of the answers: its bins are the reference's."""
    answers: Mapping[str, Array] = field(default_factory=dict)
    """Output → (m,) labels or predictions, or (m, classes) probabilities."""
    answered: Array = field(default_factory=lambda: np.zeros(0, np.int64))
    """(m,) int64: places of the rows that these are the answers to."""
    importances: Mapping[str, float] = field(default_factory=dict)
    """Column → mean absolute change of the answers when it is permuted."""
    gaps: Mapping[str, str] = field(default_factory=dict)
    """Column of texts → the text that stands for a gap."""
    reliability: Mapping[str, Reliability] = field(default_factory=dict)


def build_reference(rows: Rows, block_s: float = DAY_S, identity: str = "") -> Reference:
    """The reference of these rows; blocks begin at whole multiples of `block_s` in Unix time."""
    bare = _without_blocks(rows, block_s, identity)
    places = _blocks(rows.times_s, block_s)
    if len(places) == 0:
        return bare
    blocks = [_measured(rows, bare, chosen, block_s) for chosen in places]
    bare = _with_facts(bare, blocks)
    columns = {name: _with_own(column, name, bare, blocks, "columns") for name, column in bare.columns.items()}
    answers = {name: _with_own(column, name, bare, blocks, "answers") for name, column in bare.answers.items()}
    return msgspec.structs.replace(
        bare,
        blocks=len(blocks),
        block_rows=float(np.median([block.count for block in blocks])),
        columns=columns,
        answers=answers,
        pairs=_pairs_with_own(bare, blocks),
    )


def _without_blocks(rows: Rows, block_s: float, identity: str) -> Reference:
    """All that needs no blocks."""
    plain = Reference.from_profile(rows.profile, identity)
    main = _main_values(rows, plain)
    seasons = _months(rows.times_s) if _covers_a_year(rows.times_s, block_s) else None
    columns: dict[str, ColumnReference] = {}
    numbers: dict[str, Array] = {}
    for name, column in list(plain.columns.items())[:COLUMNS_MAX]:
        values = np.asarray(rows.columns[name])
        importance = float(rows.importances.get(name, 0.0))
        if isinstance(column, TextReference):
            columns[name] = _text(column, values, rows, main, seasons, importance, name)
        else:
            numbers[name] = as_numbers(values)
            columns[name] = _number(column, numbers[name], rows, main, seasons, importance, name)
    known = {name: column for name, column in columns.items() if isinstance(column, NumberReference)}
    own = OwnBlocks(quantiles=(0.0,) * 11)
    return msgspec.structs.replace(
        plain,
        rows=len(rows.times_s),
        first_s=float(rows.times_s.min()),
        last_s=float(rows.times_s.max()),
        block_s=block_s,
        columns=columns,
        omitted=plain.omitted + len(plain.columns) - len(columns),
        pairs=tuple(Pair(smaller=low, larger=high, own=own) for low, high in find_pairs(numbers, known)),
        reliability=dict(rows.reliability),
    )


def _number(
    column: NumberReference,
    values: Array,
    rows: Rows,
    main: Array | None,
    seasons: Array | None,
    importance: float,
    name: str,
) -> NumberReference:
    finite = values[np.isfinite(values)]
    if not len(finite) or column.bins is None:
        return msgspec.structs.replace(column, importance=importance)
    edges = np.array(column.bins.edges)
    distinct, counts = np.unique(in_single_precision(finite), return_counts=True)
    step = find_step(distinct, counts)
    return msgspec.structs.replace(
        column,
        mean=float(finite.mean()),
        scale=float(finite.std()) or 1.0,
        constant=len(distinct) == 1,
        step=None if step is None else step[0],
        offset=0.0 if step is None else step[1],
        known=known_values(distinct, counts),
        unit=guess_unit(name, float(finite.min()), float(finite.max())),
        importance=importance,
        answer_by_bin=() if main is None else _answer_by_bin(values[rows.answered], main, edges),
        strata=_strata(seasons, lambda chosen: counts_in(values[chosen], np.ones(len(values[chosen])), edges)),
    )


def _text(
    column: TextReference,
    values: Array,
    rows: Rows,
    main: Array | None,
    seasons: Array | None,
    importance: float,
    name: str,
) -> TextReference:
    named = {text: place for place, text in enumerate(column.counts)}
    codes = np.array(
        [-2 if value is None or value != value else named.get(str(value), -1) for value in values.tolist()]
    )
    size = len(named)

    def counted(chosen: Array) -> Array:
        here = codes[chosen]
        return np.append(np.bincount(here[here >= 0], minlength=size), (here == -1).sum()).astype(np.float64)

    by_text: tuple[float, ...] = ()
    if main is not None and size:
        here = codes[rows.answered]
        sums = np.bincount(here[here >= 0], main[here >= 0], size)
        by_text = _means(sums, np.bincount(here[here >= 0], minlength=size), float(main.mean()))
    return msgspec.structs.replace(
        column,
        gap=rows.gaps.get(name),
        importance=importance,
        answer_by_text=by_text,
        strata=_strata(seasons, counted),
    )


def _answer_by_bin(values: Array, main: Array, edges: Array) -> tuple[float, ...]:
    finite = np.isfinite(values)
    counts = counts_in(values[finite], np.ones(int(finite.sum())), edges)
    return _means(counts_in(values[finite], main[finite], edges), counts, float(main.mean()))


def _means(sums: Array, counts: Array, otherwise: float) -> tuple[float, ...]:
    """Sum by count, drawn to the mean of all rows where there are few."""
    return tuple(((sums + otherwise) / (counts + 1)).tolist())


def _main_values(rows: Rows, plain: Reference) -> Array | None:
    """(m,) of the main answer; None without answers."""
    output, colon, _ = plain.main_answer.rpartition(":")
    name = output if colon else plain.main_answer
    if name not in rows.answers or not len(rows.answered):
        return None
    values = np.asarray(rows.answers[name], np.float64)
    if values.ndim == 1:
        return values
    names = [each for each in plain.answers if each.rpartition(":")[0] == name] if colon else [name]
    return np.asarray(values.reshape(len(values), -1)[:, names.index(plain.main_answer)])


def _covers_a_year(times_s: Array, block_s: float) -> bool:
    return float(np.ptp(times_s)) >= 365 * DAY_S - 2 * block_s


def _months(times_s: Array) -> Array:
    return times_s.astype("datetime64[s]").astype("datetime64[M]").astype(np.int64) % 12 + 1


def _strata(seasons: Array | None, counted: Callable[[Array], Array]) -> tuple[Stratum, ...]:
    if seasons is None:
        return ()
    return tuple(Stratum(month=month, counts=tuple(counted(seasons == month).tolist())) for month in range(1, 13))


def _blocks(times_s: Array, block_s: float) -> list[tuple[float, Array]]:
    """Start of each own block with enough rows, and the places of its rows."""
    order = np.argsort(times_s, kind="stable")
    starts, firsts, counts = np.unique(times_s[order] // block_s, return_index=True, return_counts=True)
    kept = np.flatnonzero(counts >= ROWS_MIN)
    if len(kept) > BLOCKS_MAX:
        runs = np.linspace(0, len(kept) - RUN, BLOCKS_MAX // RUN).astype(int)
        kept = kept[np.unique((runs[:, None] + np.arange(RUN)).reshape(-1))]
    found = []
    for place in kept:
        chosen = order[firsts[place] : firsts[place] + counts[place]]
        if len(chosen) > BLOCK_ROWS_MAX:
            chosen = chosen[np.linspace(0, len(chosen) - 1, BLOCK_ROWS_MAX).astype(int)]
        found.append((float(starts[place] * block_s), chosen))
    return found


def _measured(rows: Rows, bare: Reference, block: tuple[float, Array], block_s: float) -> BlockStatistics:
    start_s, chosen = block
    columns = {name: np.asarray(rows.columns[name])[chosen] for name in bare.columns}
    made = block_statistics(columns, {}, None, bare, times_s=rows.times_s[chosen], start_s=start_s, block_s=block_s)
    inside = np.flatnonzero(rows.times_s[rows.answered] // block_s == start_s // block_s)
    if len(inside) < ANSWERED_ROWS_MIN:
        return made
    answers = {name: np.asarray(values)[inside] for name, values in rows.answers.items()}
    answered = block_statistics(
        {}, answers, None, bare, times_s=rows.times_s[rows.answered[inside]], start_s=start_s, block_s=block_s
    )
    return replace(made, answers=answered.answers)


def _with_facts(bare: Reference, blocks: Sequence[BlockStatistics]) -> Reference:
    """Facts that only blocks tell: which columns follow time."""
    columns = dict(bare.columns)
    for name, column in columns.items():
        if not isinstance(column, NumberReference) or column.constant:
            continue
        own = [each for block in blocks if isinstance(each := block.columns[name], NumberStatistics) and each.finite]
        if len(own) < len(blocks) / 2:
            continue
        means = np.array([each.sum / each.finite for each in own])
        variances = np.array([each.squares / each.finite for each in own]) - means**2
        within = float(np.sqrt(np.maximum(np.median(variances), 0.0)))
        if follows_time(means, within, column.scale):
            columns[name] = msgspec.structs.replace(column, follows_time=True)
    return msgspec.structs.replace(bare, columns=columns)


def _window(blocks: int) -> int:
    """Blocks on either side of one that are left out of what it is compared with: neighbours are alike."""
    return 7 if blocks >= 60 else 2 if blocks >= 28 else 0


def _with_own(
    known: ColumnReference, name: str, bare: Reference, blocks: Sequence[BlockStatistics], part: str
) -> ColumnReference:
    """The column with the quantiles of each statistic over the blocks, each compared with the others."""
    own = [(block.start_s, getattr(block, part)[name]) for block in blocks if name in getattr(block, part)]
    if not own:
        return known
    made: dict[str, list[float]] = {}
    for each in own_measures(known, [start for start, _ in own], [column for _, column in own], bare.block_s):
        for statistic, number in each.items():
            made.setdefault(statistic, []).append(number)
    quantiles = {statistic: summarised(np.array(numbers)) for statistic, numbers in made.items()}
    return msgspec.structs.replace(known, own=quantiles)


def own_measures(
    known: ColumnReference, starts: Sequence[float], own: Sequence[ColumnStatistics], block_s: float
) -> list[Measures]:
    """Each block's measures against the reference without that block and its neighbours."""
    window = _window(len(own))
    counts = np.array([_counts(each) for each in own])
    total = counts.sum(0)
    ranges = _ranges_of_others(own, window) if isinstance(known, NumberReference) else []
    found = []
    for place, block in enumerate(own):
        near = slice(max(0, place - window), place + window + 1)
        seasonal = seasonal_counts(known, starts[place])
        left = np.maximum((total if seasonal is None else seasonal) - counts[near].sum(0), 0.0)
        before = [
            each
            for start, each in zip(
                starts[max(0, place - BEFORE) : place], own[max(0, place - BEFORE) : place], strict=True
            )
            if starts[place] - start <= 2 * BEFORE * block_s
        ]
        made = measures(block, known, 1.0, left, pooled(before) if before else None)
        if isinstance(block, NumberStatistics) and isinstance(known, NumberReference) and block.finite:
            _add_numbers_of_others(made, block, ranges[place], known)
        elif isinstance(block, TextStatistics):
            rows = block.rows - block.missing
            rare = left[:-1] < 1
            if rows:
                made["unseen"] = (block.unseen + float(block.counts[rare].sum())) / rows
        found.append(made)
    return found


def _ranges_of_others(own: Sequence[ColumnStatistics], window: int) -> list[tuple[float, float]]:
    """Smallest and largest number of the blocks that are not near each one; NaN without any."""
    none = np.full(len(own) + 1, np.nan)
    lows, highs = none.copy(), none.copy()
    for place, block in enumerate(own):
        if isinstance(block, NumberStatistics):
            lows[place], highs[place] = block.smallest, block.largest
    low_before, high_before = np.fmin.accumulate(lows[:-1]), np.fmax.accumulate(highs[:-1])
    low_after, high_after = np.fmin.accumulate(lows[::-1])[::-1], np.fmax.accumulate(highs[::-1])[::-1]
    found = []
    for place in range(len(own)):
        before, after = place - window - 1, min(place + window + 1, len(own))
        low = np.fmin(low_before[before] if before >= 0 else np.nan, low_after[after])
        high = np.fmax(high_before[before] if before >= 0 else np.nan, high_after[after])
        found.append((float(low), float(high)))
    return found


def _add_numbers_of_others(
    made: Measures, block: NumberStatistics, others: tuple[float, float], known: NumberReference
) -> None:
    """What would be outside if the reference had only the other blocks, with these as its ends."""
    low, high = others
    if known.follows_time or np.isnan(low) or (low <= block.smallest and block.largest <= high):
        return
    values, weights = block.values.values, block.values.weights
    beyond = float(weights[(values < low) | (values > high)].sum() / weights.sum())
    made["outside"], made["odd"] = beyond, min(1.0, made["off step"] + beyond)


def _counts(block: ColumnStatistics) -> Array:
    return block.bins if isinstance(block, NumberStatistics) else np.append(block.counts, block.unseen)


def _pairs_with_own(bare: Reference, blocks: Sequence[BlockStatistics]) -> tuple[Pair, ...]:
    kept = []
    for place, pair in enumerate(bare.pairs):
        shares = [block.pairs[place, 0] / block.pairs[place, 1] for block in blocks if block.pairs[place, 1] >= 20]
        if shares:
            kept.append(msgspec.structs.replace(pair, own=summarised(np.array(shares))))
    return tuple(kept)
