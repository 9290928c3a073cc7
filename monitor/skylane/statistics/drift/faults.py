"""Semantic faults of one column in one block: changes of the data's source, which no change of the world makes. Pure.

Each rule compares a share of the block's rows with the largest of the reference's own blocks, a margin, and three
standard deviations of chance. Where the reference's own blocks show the same (precipitation is 0 on many whole days),
the rule cannot tell, and stays silent.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from skylane.reference import NumberReference, TextReference
from skylane.statistics.drift.blocks import (
    SLICE_MAX,
    SLICE_MISSING,
    SLICE_ODD,
    SLICE_ROWS,
    SLICE_SUM,
    SLICES,
    BlockStatistics,
    NumberStatistics,
    TextStatistics,
    unknown,
)
from skylane.statistics.drift.facts import guess_unit
from skylane.statistics.drift.finding import (
    Finding,
    Kind,
    affected_share,
    begins,
    instant,
    percent,
    slice_start,
)
from skylane.statistics.drift.measures import Measures, still_run
from skylane.statistics.drift.own_blocks import BLOCKS_MIN, p_value, share_limit
from skylane.statistics.drift.sketch import Array, ValueSample
from skylane.statistics.drift.units import Conversion, explain_odd, explain_shift, far_outside, misplaced, odd_values

MARGIN: Final = 0.05
WIDE_MARGIN: Final = 0.15
"""For shares that vary much from block to block: of the extremes, and of slices without change."""
UNKNOWN_MARGIN: Final = 0.5
"""For numbers that the reference does not have although it has few: the next winter has a few of its own."""
STILL_MIN: Final = 0.25
"""Least share of the rows in slices without change that is called stuck."""
SHIFT_MIN: Final = 0.3
"""Standard deviations that a distribution must have moved, for that."""
RENAMED_SHARE_MIN: Final = 0.02
ALIKE: Final = (0.4, 2.2)
"""How frequent a text must be by the one whose place it takes."""
VANISHED_ROWS_MIN: Final = 10
"""Rows of a block that a text must usually have, for its absence to be no chance."""
SHIFT_P: Final = 0.01
"""A whole distribution is tried for a unit if it is as unlike the reference, and the blocks before, as this."""


@dataclass(frozen=True)
class Case:
    """One column in one block, and what it is compared with."""

    name: str
    block: BlockStatistics
    rows: float
    """Rows with a value, in effect."""
    measures: Measures
    before: Measures
    """Of the blocks before, put together; empty without any."""
    before_values: ValueSample | None
    own_blocks: int


def number_fault(case: Case, column: NumberStatistics, known: NumberReference) -> Finding | None:
    """The first fault that explains the block, the most definite first."""
    rules: tuple[Callable[[Case, NumberStatistics, NumberReference], Finding | None], ...] = (
        _surge_of_gaps, _infinite, _constant, _unit, _clipped, _stuck, _shift,
    )  # fmt: skip
    return next((found for rule in rules if (found := rule(case, column, known)) is not None), None)


def text_fault(case: Case, column: TextStatistics, known: TextReference) -> Finding | None:
    """The first fault that explains the block, the most definite first."""
    rules: tuple[Callable[[Case, TextStatistics, TextReference], Finding | None], ...] = (
        _surge_of_text_gaps, _constant_text, _unseen_texts,
    )  # fmt: skip
    return next((found for rule in rules if (found := rule(case, column, known)) is not None), None)


def exceeds(case: Case, known: NumberReference | TextReference, statistic: str, margin: float) -> bool:
    """Whether a share is larger than any own block's by more than margin and chance."""
    if statistic not in case.measures or case.own_blocks < BLOCKS_MIN:
        return False
    rows = case.block.effective_rows if statistic in ("missing", "infinite") else case.rows
    return case.measures[statistic] > share_limit(known.own.get(statistic), rows, margin)


def _since(case: Case, affected: Array, rows: Array) -> tuple[float, float, str]:
    """Unix time, share of the rows from then on, and in words: " since 12:00 UTC", or nothing for the whole block."""
    begin = begins(affected, rows)
    at_s = case.block.start_s if begin is None else slice_start(case.block, begin)
    words = "" if begin is None else f" since {instant(at_s, case.block)}"
    return at_s, affected_share(rows, begin), words


def _surge_of_gaps(case: Case, column: NumberStatistics, known: NumberReference) -> Finding | None:
    return _missing(case, column.slices[:, SLICE_MISSING], column.slices[:, SLICE_ROWS], known)


def _surge_of_text_gaps(case: Case, column: TextStatistics, known: TextReference) -> Finding | None:
    return _missing(case, column.slices[:, 1], column.slices[:, 0], known)


def _missing(case: Case, gaps: Array, rows: Array, known: NumberReference | TextReference) -> Finding | None:
    if not exceeds(case, known, "missing", MARGIN):
        return None
    if case.before and case.measures["missing"] - case.before["missing"] < MARGIN:
        return None
    at_s, _, words = _since(case, gaps, rows)
    share, usual = case.measures["missing"], known.own["missing"].largest
    text = f"{case.name} is missing in {percent(share)} of the rows{words} (usual: up to {percent(usual)})"
    return _found(case, "missing", text, at_s, share)


def _infinite(case: Case, _: NumberStatistics, known: NumberReference) -> Finding | None:
    if not exceeds(case, known, "infinite", 0.01):
        return None
    share = case.measures["infinite"]
    return _found(
        case, "infinite", f"{case.name} is infinite in {percent(share)} of the rows", case.block.start_s, share
    )


def _constant(case: Case, column: NumberStatistics, known: NumberReference) -> Finding | None:
    if known.constant or column.smallest != column.largest or case.own_blocks < BLOCKS_MIN:
        return None
    own = known.own.get("distinct")
    if own is None or own.smallest <= 1:
        return None
    text = f"{case.name} is constant: {column.smallest:.6g} in every row (usual: at least {own.smallest:.0f} values)"
    return _found(case, "constant", text, case.block.start_s, 1.0)


def _unit(case: Case, column: NumberStatistics, known: NumberReference) -> Finding | None:
    """Values off the step, unknown or out of range, and the conversion that explains them."""
    off = exceeds(case, known, "off step", MARGIN) or exceeds(case, known, "unknown", UNKNOWN_MARGIN)
    if not off and not exceeds(case, known, "outside", MARGIN):
        return None
    sample = column.values
    odd = odd_values(sample.values, known)
    if off:  # a block that is a little out of range as well need not be converted there
        odd = misplaced(sample.values, known) | far_outside(sample.values, known)
        if exceeds(case, known, "unknown", UNKNOWN_MARGIN):
            odd |= unknown(sample.values, known)
    if not odd.any():
        return None
    at_s, affected, words = _since(case, column.slices[:, SLICE_ODD], column.slices[:, SLICE_ROWS])
    if off:
        affected = float(sample.weights[odd].sum() / sample.weights.sum())
    conversion = explain_odd(sample, odd, known, case.before_values, affected)
    if conversion is not None:
        return _converted(case, conversion, known, at_s, affected, words)
    share = case.measures["off step"]
    if exceeds(case, known, "off step", 0.3) and known.step is not None:
        text = (
            f"{case.name}: {percent(share)} of the values are not multiples of {known.step:.4g} as before{words}: "
            f"another unit, rounding or source?"
        )
        return _found(case, "step", text, at_s, share)
    return None


def _converted(
    case: Case, conversion: Conversion, known: NumberReference, at_s: float, affected: float, words: str
) -> Finding:
    kind: Kind = "sign" if conversion.factor == -1 else "unit"
    edges = known.bins.edges if known.bins is not None else []
    unit = known.unit or (guess_unit(case.name, edges[0], edges[-1]) if edges else None)
    return _found(case, kind, conversion.text(case.name, words, unit), at_s, affected)


def _stuck(case: Case, column: NumberStatistics, known: NumberReference) -> Finding | None:
    if exceeds(case, known, "still", WIDE_MARGIN) and case.measures["still"] >= STILL_MIN:
        run = still_run(column)
        assert run is not None
        at_s = slice_start(case.block, run[0])
        value = column.slices[run[0], -1]
        share = case.measures["still"]
        until = "" if run[1] == SLICES else f" until {instant(slice_start(case.block, run[1]), case.block)}"
        since = f"since {instant(at_s, case.block)}{until}"
        text = f"{case.name} is stuck at {value:.6g} {since}, in {percent(share)} of the rows"
        return _found(case, "stuck", text, at_s, share)
    own, distinct = known.own.get("distinct"), case.measures.get("distinct")
    if own is None or distinct is None or case.own_blocks < BLOCKS_MIN:
        return None
    if own.smallest >= 4 and distinct <= own.smallest / 3 and distinct < len(known.known or range(1000)):
        text = f"{case.name} has only {distinct:.0f} values (usual: at least {own.smallest:.0f}): is its feed stuck?"
        return _found(case, "stuck", text, case.block.start_s, 1.0)
    return None


def _clipped(case: Case, column: NumberStatistics, known: NumberReference) -> Finding | None:
    """Many rows have the very largest number, and most parts of the block reach it.

    One stretch without change is a feed that is stuck instead.
    """
    for end, bound, word in (("largest", column.largest, "above"), ("smallest", column.smallest, "below")):
        still = 0.0 if not _is_still_at(column, bound) else case.measures.get("still", 0.0)
        if case.measures.get(f"at {end}", 0.0) < still + WIDE_MARGIN:
            continue
        reached = f"reach {end}" not in case.measures or exceeds(case, known, f"reach {end}", MARGIN)
        if reached and exceeds(case, known, f"at {end}", MARGIN):
            share = case.measures[f"at {end}"]
            text = f"{case.name} is clipped {word} {bound:.6g}: {percent(share)} of the rows have exactly that"
            return _found(case, "clipped", text, case.block.start_s, share)
    return None


def _is_still_at(column: NumberStatistics, bound: float) -> bool:
    """Whether the longest stretch without change is at this number."""
    run = still_run(column)
    return run is not None and run[1] > run[0] and bool(np.nanmax(column.slices[run[0] : run[1], SLICE_MAX]) == bound)


def _shift(case: Case, column: NumberStatistics, known: NumberReference) -> Finding | None:
    """A conversion that explains a whole distribution, where no single value is odd: of a column without a step."""
    own, step = known.own.get("step"), case.measures.get("step")
    if step is None or own is None or known.follows_time or known.step is not None:
        return None
    p = max(p_value(known.own.get("w1"), case.measures["w1"], case.own_blocks), p_value(own, step, case.own_blocks))
    if p > SHIFT_P or step < SHIFT_MIN:
        return None
    allowed = max(own.median, 0.1) * known.scale
    rows, begin = column.slices[:, SLICE_ROWS], _largest_step(column)
    for start in (None, begin) if begin is not None else (None,):
        affected = affected_share(rows, start)
        means = case.measures["mean"], case.before["mean"]
        conversion = explain_shift(column.values, known, case.before_values, affected, allowed, means)
        if conversion is not None:
            at_s = case.block.start_s if start is None else slice_start(case.block, start)
            words = "" if start is None else f" since {instant(at_s, case.block)}"
            return _converted(case, conversion, known, at_s, affected, words)
    return None


def _largest_step(column: NumberStatistics) -> int | None:
    """The slice before which and after which the means differ most; None without times."""
    rows, sums = column.slices[:, SLICE_ROWS] - column.slices[:, SLICE_MISSING], column.slices[:, SLICE_SUM]
    steps = {
        place: abs(sums[place:].sum() / rows[place:].sum() - sums[:place].sum() / rows[:place].sum())
        for place in range(1, SLICES)
        if rows[:place].sum() > 0 and rows[place:].sum() > 0
    }
    return max(steps, key=lambda place: steps[place]) if steps else None


def _constant_text(case: Case, column: TextStatistics, known: TextReference) -> Finding | None:
    own = known.own.get("top")
    if own is None or case.own_blocks < BLOCKS_MIN or case.measures.get("top", 0.0) < 1.0 or own.largest > 1 - MARGIN:
        return None
    value = next(iter(column.texts)) if column.unseen else list(known.counts)[int(column.counts.argmax())]
    text = f"{case.name} is constant: {value!r} in every row (usual: at most {percent(own.largest)})"
    return _found(case, "constant", text, case.block.start_s, 1.0)


def _unseen_texts(case: Case, column: TextStatistics, known: TextReference) -> Finding | None:
    surge = exceeds(case, known, "unseen", MARGIN / 2)
    if not column.unseen or case.own_blocks < BLOCKS_MIN:
        return None
    at_s, _, words = _since(case, column.slices[:, 2], column.slices[:, 0])
    share, renamed = case.measures["unseen"], renamings(column, known, vanished=not surge)
    if not surge and not renamed:
        return None
    if renamed:
        pairs = ", ".join(f"{old!r} → {new!r}" for old, new in list(renamed.items())[:3])
        more = f" and {len(renamed) - 3} more" if len(renamed) > 3 else ""
        return _found(case, "renamed", f"{case.name}: renamed{words}: {pairs}{more}", at_s, share)
    common = [text for text, rows in sorted(column.texts.items(), key=lambda item: -item[1]) if rows >= 5][:3]
    named = f", such as {', '.join(map(repr, common))}" if common else ""
    text = f"{case.name}: {percent(share)} of the rows have texts that the reference lacks{words}{named}"
    return _found(case, "new category", text, at_s, share)


def renamings(column: TextStatistics, known: TextReference, *, vanished: bool = False) -> dict[str, str]:
    """Named text → unseen text that has taken its place: alike but for case and spaces, or as frequent as it was.

    `vanished`: only of texts that no row has, where many should have.
    """
    seen = float(column.rows - column.missing - column.hashed)
    total = sum(known.counts.values()) + known.other
    rest = {text: rows for text, rows in column.texts.items() if rows / seen >= RENAMED_SHARE_MIN / 2}
    found: dict[str, str] = {}
    for place, (text, rows) in enumerate(known.counts.items()):
        usual = rows / total
        if usual < RENAMED_SHARE_MIN or column.counts[place] / seen > usual / 2:
            continue
        if vanished and (column.counts[place] > 0 or usual * seen < VANISHED_ROWS_MIN):
            continue
        lost = usual - column.counts[place] / seen
        alike = [other for other in rest if _folded(other) == _folded(text)]
        alike += [
            other for other, count in rest.items() if ALIKE[0] < count / seen / lost < ALIKE[1] and other not in alike
        ]
        if alike:
            found[text] = alike[0]
            del rest[alike[0]]
    return found


def _folded(text: str) -> str:
    return "".join(character for character in text.casefold() if character.isalnum())


def _found(case: Case, kind: Kind, text: str, since_s: float, share: float) -> Finding:
    return Finding((case.name,), kind, text, since_s, share)
