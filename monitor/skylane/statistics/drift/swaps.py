"""Two columns whose values have changed places. Pure.

Evidence is a pair that the reference always has in one order and the block in the other, or two columns of which one
at least is odd; proof is that each column's values are usual ones of the other.
"""

from collections.abc import Collection, Mapping
from itertools import combinations
from typing import Final

import numpy as np

from skylane.reference import NumberReference, Reference, TextReference
from skylane.statistics.drift.blocks import BlockStatistics, NumberStatistics, TextStatistics
from skylane.statistics.drift.distances import w1_of_samples
from skylane.statistics.drift.faults import MARGIN, UNKNOWN_MARGIN, Case, exceeds
from skylane.statistics.drift.finding import Finding
from skylane.statistics.drift.own_blocks import BLOCKS_MIN, share_limit
from skylane.statistics.drift.units import misplaced, outside

ORDER_MAX: Final = 0.5
"""Share of the rows in the usual order below which a pair is in the wrong one."""
OWN_ORDER_MIN: Final = 0.9
"""A pair is evidence if all own blocks have so many of their rows in its order."""
PAIR_ROWS_MIN: Final = 20
CROSSED: Final = 0.9
"""What crossing two columns must leave of their distance to the blocks before, where only one of them is odd."""
ODD_COLUMNS_MAX: Final = 24
NAMED_MIN: Final = 0.8


def swapped(
    block: BlockStatistics, reference: Reference, cases: Mapping[str, Case], faulty: Collection[str]
) -> list[Finding]:
    """Each pair of columns that have changed places. `faulty`: columns with a fault of their own."""
    if reference.blocks < BLOCKS_MIN:
        return []
    wrong = _in_wrong_order(block, reference, cases)
    odd = [name for name in cases if _is_odd(cases[name], reference)][:ODD_COLUMNS_MAX]
    found: list[tuple[float, str, str]] = []
    for one, other in combinations(cases, 2):
        ordered = bool({(one, other), (other, one)} & wrong) and not {one, other} & set(faulty)
        if not (ordered or one in odd or other in odd):
            continue
        distance = _crossed(one, other, block, reference, cases)
        if distance < CROSSED or ((ordered or (one in odd and other in odd)) and distance < np.inf):
            found.append((distance, one, other))
    made: list[Finding] = []
    taken: set[str] = set()
    for _, one, other in sorted(found):
        if one not in taken and other not in taken:
            taken |= {one, other}
            text = f"{one} and {other} are swapped: each has the values of the other"
            made.append(Finding((one, other), "swapped", text, block.start_s, 1.0))
    return made


def _in_wrong_order(block: BlockStatistics, reference: Reference, cases: Mapping[str, Case]) -> set[tuple[str, str]]:
    """Pairs that nearly all rows of the reference have in one order, and most of these rows in the other."""
    pairs = zip(reference.pairs, block.pairs, strict=True)
    return {
        (pair.smaller, pair.larger)
        for pair, (ordered, both) in pairs
        if both >= PAIR_ROWS_MIN
        and pair.own.smallest >= OWN_ORDER_MIN
        and {pair.smaller, pair.larger} <= cases.keys()
        and ordered / both < ORDER_MAX
    }


def _is_odd(case: Case, reference: Reference) -> bool:
    """Whether values are none that the column usually has, or there are no values, or a single one."""
    known, column = reference.columns[case.name], case.block.columns[case.name]
    if exceeds(case, known, "missing", MARGIN):
        return True
    if isinstance(known, TextReference):
        return exceeds(case, known, "unseen", MARGIN)
    distinct = known.own.get("distinct")
    alone = isinstance(column, NumberStatistics) and column.smallest == column.largest
    if alone and distinct is not None and distinct.smallest > 1:
        return True
    return (
        exceeds(case, known, "off step", MARGIN)
        or exceeds(case, known, "outside", MARGIN)
        or exceeds(case, known, "unknown", UNKNOWN_MARGIN)
    )


def _crossed(one: str, other: str, block: BlockStatistics, reference: Reference, cases: Mapping[str, Case]) -> float:
    """Distance of the two to the blocks before of the other, by that to their own; infinite where one does not fit."""
    first, second = block.columns[one], block.columns[other]
    known, known_other = reference.columns[one], reference.columns[other]
    if isinstance(known, TextReference) and isinstance(known_other, TextReference):
        assert isinstance(first, TextStatistics)
        assert isinstance(second, TextStatistics)
        odd = _is_odd(cases[one], reference) and _is_odd(cases[other], reference)
        fits = _named(first, known_other) >= NAMED_MIN and _named(second, known) >= NAMED_MIN
        return 0.0 if odd and fits else np.inf
    if not (isinstance(first, NumberStatistics) and isinstance(second, NumberStatistics)):
        return np.inf
    assert isinstance(known, NumberReference)
    assert isinstance(known_other, NumberReference)
    several = max(len(first.values.values), len(second.values.values)) >= 3
    if not several or known.follows_time or known_other.follows_time:
        return np.inf
    if not (_fits(first, known_other, cases[other]) and _fits(second, known, cases[one])):
        return np.inf
    straight = _distance(first, cases[one], known) + _distance(second, cases[other], known_other)
    crossed = _distance(first, cases[other], known_other) + _distance(second, cases[one], known)
    return crossed / straight if straight > 0 else np.inf


def _distance(column: NumberStatistics, case: Case, known: NumberReference) -> float:
    """W1 of a column's values to those of a column in the blocks before, in standard deviations; 0 without values."""
    sample, before = column.values, case.before_values
    if before is None or not len(sample.values):
        return 0.0
    return w1_of_samples(sample.values, sample.weights, before.values, before.weights) / known.scale


def _fits(column: NumberStatistics, known: NumberReference, case: Case) -> bool:
    """Whether values of another column are usual ones of this, and gaps as frequent."""
    values, weights = column.values.values, column.values.weights
    if column.missing / column.rows > share_limit(known.own.get("missing"), case.block.effective_rows, MARGIN):
        return False
    if not len(values):
        return True
    for statistic, odd in (("off step", misplaced(values, known)), ("outside", outside(values, known))):
        share = float(weights[odd].sum() / weights.sum())
        if share > share_limit(known.own.get(statistic), case.rows, MARGIN):
            return False
    return True


def _named(column: TextStatistics, known: TextReference) -> float:
    """Share of the unseen texts, by rows, that another column's reference names."""
    total = sum(column.texts.values())
    return sum(rows for text, rows in column.texts.items() if text in known.counts) / total if total else 0.0
