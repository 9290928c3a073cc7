"""Rows of one block of time → statistics that merge: over workers, servers, and blocks.

Law: the statistics of some rows equal the merged statistics of any division of them into parts, in any order; counts
exactly (for weights that are whole numbers), sums up to the rounding of double precision.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Final

import msgspec
import numpy as np

from skylane.reference import ColumnReference, NumberReference, Reference, TextReference
from skylane.statistics.drift.sketch import Array, ValueSample, merge_texts, sample_values

SLICES: Final = 24
"""Equal parts of a block, of which each has a few figures of its own: they tell since when."""
SLICE_ROWS, SLICE_MISSING, SLICE_ODD, SLICE_SUM, SLICE_MIN, SLICE_MAX = range(6)

STEP_TOLERANCE: Final = 0.02
"""Part of a step by which a number may be off it."""
SINGLE: Final = 2.0**-22
"""Rounding of single precision, relative, twice over."""

_HASHED: Final = re.compile(r"h:[0-9a-f]{16}")


@dataclass(frozen=True)
class NumberStatistics:
    """One column of numbers in one block. Rows are counted by their weights."""

    rows: float
    """All rows, those with a gap as well."""
    missing: float
    infinite: float
    below: float
    """Rows under the smallest number of the reference."""
    above: float
    off_step: float
    """Rows that are not at a whole multiple of the reference's step; 0 if it has none."""
    odd: float
    """Rows that are under, above, off the step, or unknown."""
    unknown: float
    """Rows with a value that the reference does not have, where its values are few and all known."""
    sum: float
    """Of finite numbers, less the reference's mean."""
    squares: float
    """Sum of squares of the same."""
    below_sum: float
    """Sum of the numbers under the smallest of the reference."""
    above_sum: float
    smallest: float
    """NaN without any finite number."""
    largest: float
    at_smallest: float
    """Rows that have the smallest number."""
    at_largest: float
    bins: Array
    """(bins of the reference,) float64: rows in each; numbers beyond the ends are not counted."""
    slices: Array
    """(SLICES, 6) float64: see SLICE_ROWS and the others; smallest and largest are NaN without any number."""
    values: ValueSample

    @property
    def finite(self) -> float:
        """Rows with a finite number."""
        return self.rows - self.missing - self.infinite

    def merge(self, other: "NumberStatistics") -> "NumberStatistics":
        """The statistics of both parts' rows."""
        summed = {name: getattr(self, name) + getattr(other, name) for name in _SUMMED}
        slices = self.slices + other.slices
        slices[:, SLICE_MIN] = np.fmin(self.slices[:, SLICE_MIN], other.slices[:, SLICE_MIN])
        slices[:, SLICE_MAX] = np.fmax(self.slices[:, SLICE_MAX], other.slices[:, SLICE_MAX])
        smallest, largest = float(np.fmin(self.smallest, other.smallest)), float(np.fmax(self.largest, other.largest))
        return NumberStatistics(
            **summed,
            smallest=smallest,
            largest=largest,
            at_smallest=sum(part.at_smallest for part in (self, other) if part.smallest == smallest),
            at_largest=sum(part.at_largest for part in (self, other) if part.largest == largest),
            slices=slices,
            values=self.values.merge(other.values),
        )


_SUMMED: Final = (
    "rows", "missing", "infinite", "below", "above", "off_step", "odd", "unknown", "sum", "squares", "below_sum",
    "above_sum", "bins",
)  # fmt: skip


@dataclass(frozen=True)
class TextStatistics:
    """One column of texts, or labels, in one block. Rows are counted by their weights."""

    rows: float
    missing: float
    counts: Array
    """(named texts of the reference,) float64: rows of each."""
    unseen: float
    """Rows with a text that the reference does not name."""
    hashed: float
    """Rows whose text is recorded as a hash, which cannot be compared; they are in neither of the above."""
    slices: Array
    """(SLICES, 3) float64: rows, gaps, unseen."""
    texts: dict[str, float]
    """Some of the unseen texts → their rows."""

    def merge(self, other: "TextStatistics") -> "TextStatistics":
        """The statistics of both parts' rows."""
        names = ("rows", "missing", "counts", "unseen", "hashed", "slices")
        summed = {name: getattr(self, name) + getattr(other, name) for name in names}
        return TextStatistics(**summed, texts=merge_texts(self.texts, other.texts))


ColumnStatistics = NumberStatistics | TextStatistics


@dataclass(frozen=True)
class BlockStatistics:
    """All that is kept of one block of one model's version."""

    start_s: float
    """Unix time in seconds at which the block begins."""
    block_s: float
    count: int
    """Rows that were measured, whatever their weights."""
    rows: float
    """Sum of their weights: rows that were served."""
    squared: float
    """Sum of the squares of their weights."""
    columns: dict[str, ColumnStatistics]
    answers: dict[str, ColumnStatistics]
    pairs: Array
    """(pairs of the reference, 2) float64: rows with smaller <= larger, and rows with both numbers."""
    absent: tuple[str, ...] = ()
    """Columns of the reference that these rows lack."""

    @property
    def effective_rows(self) -> float:
        """As many rows without weights tell as much."""
        return self.rows**2 / self.squared if self.squared > 0 else 0.0

    def merge(self, other: "BlockStatistics") -> "BlockStatistics":
        """The statistics of both parts' rows; the block begins with the earlier of them."""
        return BlockStatistics(
            start_s=min(self.start_s, other.start_s),
            block_s=self.block_s,
            count=self.count + other.count,
            rows=self.rows + other.rows,
            squared=self.squared + other.squared,
            columns=_merged(self.columns, other.columns),
            answers=_merged(self.answers, other.answers),
            pairs=self.pairs + other.pairs,
            absent=tuple(name for name in self.absent if name in other.absent),
        )

    def encode(self) -> bytes:
        """To be stored: MessagePack."""
        return msgspec.msgpack.encode(_plain(self))

    @staticmethod
    def decode(content: bytes) -> "BlockStatistics":
        """What `encode` made."""
        restored: BlockStatistics = _restored(msgspec.msgpack.decode(content))
        return restored


def block_start(at_s: float, block_s: float) -> float:
    """Unix time at which the block of an instant begins: blocks begin at whole multiples of their length."""
    return at_s // block_s * block_s


def block_statistics(
    columns: Mapping[str, Array],
    answers: Mapping[str, Array],
    weights: Array | None,
    reference: Reference,
    *,
    times_s: Array | None = None,
    start_s: float = 0.0,
    block_s: float | None = None,
) -> BlockStatistics:
    """Measure the rows of one block, or of a part of one.

    `columns`: name → (n,) numbers or texts; a gap is NaN or None. Columns unknown to the reference are ignored.
    `answers`: output → (n,) labels or predictions, or (n, classes) probabilities; only those that the reference knows
    are measured. `weights`: (n,) one over the probability with which each row was sampled; None: 1. `times_s`: (n,)
    Unix time of each row, seconds; None: unknown, so that nothing tells since when. `block_s`: None for the
    reference's own.
    """
    count = len(next(iter({**columns, **answers}.values()), ()))
    weights = np.ones(count) if weights is None else np.asarray(weights, np.float64)
    length = reference.block_s if block_s is None else block_s
    if times_s is None:
        slices = np.full(count, -1)
    else:
        slices = np.clip((np.asarray(times_s) - start_s) / length * SLICES, 0, SLICES - 1).astype(np.int64)
    numbers: dict[str, Array] = {}
    measured: dict[str, ColumnStatistics] = {}
    for name, known in reference.columns.items():
        if name in columns:
            measured[name] = _measured(np.asarray(columns[name]), weights, slices, known, numbers, name)
    both = [(numbers.get(pair.smaller), numbers.get(pair.larger)) for pair in reference.pairs]
    return BlockStatistics(
        start_s=start_s,
        block_s=length,
        count=count,
        rows=float(weights.sum()),
        squared=float((weights**2).sum()),
        columns=measured,
        answers=_answers(answers, weights, slices, reference),
        pairs=np.array([_ordered(*pair, weights) for pair in both]).reshape(-1, 2),
        absent=tuple(name for name in reference.columns if name not in columns),
    )


def _answers(
    answers: Mapping[str, Array], weights: Array, slices: Array, reference: Reference
) -> dict[str, ColumnStatistics]:
    """By the names of the reference's answers: "label", "probabilities:late", "prediction"."""
    measured: dict[str, ColumnStatistics] = {}
    flat: dict[str, Array] = {}
    for output, values in answers.items():
        array = np.asarray(values)
        if array.ndim <= 1:
            flat[output] = array
            continue
        names = [name for name in reference.answers if name.rpartition(":")[0] == output]
        flat |= dict(zip(names, array.reshape(len(array), -1).T, strict=False))
    for name, known in reference.answers.items():
        if name in flat:
            measured[name] = _measured(flat[name], weights, slices, known, {}, name)
    return measured


def _measured(
    values: Array, weights: Array, slices: Array, known: ColumnReference, numbers: dict[str, Array], name: str
) -> ColumnStatistics:
    if isinstance(known, TextReference):
        return _texts(values, weights, slices, known)
    numbers[name] = as_numbers(values)
    return _numbers(numbers[name], weights, slices, known)


def as_numbers(values: Array) -> Array:
    """(n,) float64; what is no number is a gap, as None is."""
    if values.dtype.kind in "biuf":
        return values.astype(np.float64)
    return np.array([_number(value) for value in values.tolist()], np.float64)


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return np.nan


def off_step(values: Array, known: NumberReference) -> Array:
    """(n,) bool: which finite numbers are not at a whole multiple of the reference's step."""
    if known.step is None:
        return np.zeros(len(values), np.bool_)
    places = (values - known.offset) / known.step
    tolerance = STEP_TOLERANCE + SINGLE * np.abs(values / known.step)
    return np.asarray(np.abs(places - np.round(places)) > tolerance)


def unknown(values: Array, known: NumberReference) -> Array:
    """(n,) bool: which finite numbers are none of the reference's, where its values are few."""
    if not known.known or known.follows_time:
        return np.zeros(len(values), np.bool_)
    return distance_to(np.array(known.known), values) > SINGLE * np.abs(values)


def distance_to(options: Array, values: Array) -> Array:
    """(n,) float64: distance of each number to the nearest of these rising options."""
    after = np.clip(np.searchsorted(options, values), 0, len(options) - 1)
    before = np.maximum(after - 1, 0)
    return np.asarray(np.minimum(np.abs(values - options[before]), np.abs(values - options[after])))


def limits_of(known: NumberReference) -> tuple[float, float]:
    """The range in which numbers are expected; of a column that follows time, its span once more on both sides."""
    if known.bins is None:
        return np.inf, -np.inf
    low, high = known.bins.edges[0], known.bins.edges[-1]
    slack = high - low if known.follows_time else SINGLE * max(abs(low), abs(high))
    return low - slack, high + slack


def _numbers(values: Array, weights: Array, slices: Array, known: NumberReference) -> NumberStatistics:
    gaps, finite = np.isnan(values), np.isfinite(values)
    kept, weight, part = values[finite], weights[finite], slices[finite]
    low, high = limits_of(known)
    below, above = kept < low, kept > high
    off, other = off_step(kept, known), unknown(kept, known)
    odd = off | other | below | above
    centred = kept - known.mean
    smallest, largest = (float(kept.min()), float(kept.max())) if len(kept) else (np.nan, np.nan)
    edges = np.array(known.bins.edges if known.bins else (0.0,))
    return NumberStatistics(
        rows=float(weights.sum()),
        missing=float(weights[gaps].sum()),
        infinite=float(weights[~gaps & ~finite].sum()),
        below=float(weight[below].sum()),
        above=float(weight[above].sum()),
        off_step=float(weight[off].sum()),
        odd=float(weight[odd].sum()),
        unknown=float(weight[other].sum()),
        sum=float((weight * centred).sum()),
        squares=float((weight * centred**2).sum()),
        below_sum=float((weight * kept)[below].sum()),
        above_sum=float((weight * kept)[above].sum()),
        smallest=smallest,
        largest=largest,
        at_smallest=float(weight[kept == smallest].sum()),
        at_largest=float(weight[kept == largest].sum()),
        bins=counts_in(kept, weight, edges),
        slices=_slices(slices, weights, gaps, part, kept, weight, odd, centred),
        values=sample_values(kept, weight),
    )


def counts_in(values: Array, weights: Array, edges: Array) -> Array:
    """(edges - 1,) float64: weights of the numbers in each bin; the last bin has its upper edge as well."""
    if len(edges) < 2:
        return np.zeros(0)
    slack = SINGLE * max(abs(edges[0]), abs(edges[-1]))
    inside = (values >= edges[0] - slack) & (values <= edges[-1] + slack)
    # Numbers in single precision may lie a rounding below the edge that was made of the same number.
    place = np.searchsorted(edges, values[inside] + SINGLE * np.abs(values[inside]), side="right") - 1
    return np.bincount(np.clip(place, 0, len(edges) - 2), weights[inside], len(edges) - 1)


def _slices(
    slices: Array, weights: Array, gaps: Array, part: Array, kept: Array, weight: Array, odd: Array, centred: Array
) -> Array:
    made = np.zeros((SLICES, 6))
    made[:, SLICE_MIN:] = np.nan
    if not len(slices) or slices[0] < 0:
        return made
    made[:, SLICE_ROWS] = np.bincount(slices, weights, SLICES)
    made[:, SLICE_MISSING] = np.bincount(slices[gaps], weights[gaps], SLICES)
    made[:, SLICE_ODD] = np.bincount(part[odd], weight[odd], SLICES)
    made[:, SLICE_SUM] = np.bincount(part, weight * centred, SLICES)
    lowest, highest = np.full(SLICES, np.inf), np.full(SLICES, -np.inf)
    np.minimum.at(lowest, part, kept)
    np.maximum.at(highest, part, kept)
    made[:, SLICE_MIN] = np.where(np.isfinite(lowest), lowest, np.nan)
    made[:, SLICE_MAX] = np.where(np.isfinite(highest), highest, np.nan)
    return made


def _texts(values: Array, weights: Array, slices: Array, known: TextReference) -> TextStatistics:
    distinct: dict[Any, int] = {}
    codes = np.array([distinct.setdefault(value, len(distinct)) for value in values.tolist()], np.int64)
    totals = np.bincount(codes, weights, len(distinct)) if len(codes) else np.zeros(0)
    named = {text: place for place, text in enumerate(known.counts)}
    counts, kinds, unseen = np.zeros(len(named)), np.zeros(len(distinct), np.int64), dict[str, float]()
    for value, code in distinct.items():
        text = str(value)
        if value is None or value != value:
            kinds[code] = 1
        elif text in named:
            counts[named[text]] += totals[code]
        elif text == known.gap:
            kinds[code] = 1
        elif _HASHED.fullmatch(text):
            kinds[code] = 3
        else:
            kinds[code] = 2
            unseen[text] = float(totals[code])
    made = np.zeros((SLICES, 3))
    if len(slices) and slices[0] >= 0:
        made[:, 0] = np.bincount(slices, weights, SLICES)
        for kind in (1, 2):
            rows = kinds[codes] == kind
            made[:, kind] = np.bincount(slices[rows], weights[rows], SLICES)
    return TextStatistics(
        rows=float(weights.sum()),
        missing=float(totals[kinds == 1].sum()),
        counts=counts,
        unseen=float(totals[kinds == 2].sum()),
        hashed=float(totals[kinds == 3].sum()),
        slices=made,
        texts=merge_texts(unseen),
    )


def _ordered(smaller: Array | None, larger: Array | None, weights: Array) -> tuple[float, float]:
    if smaller is None or larger is None:
        return 0.0, 0.0
    both = ~(np.isnan(smaller) | np.isnan(larger))
    return float(weights[both & (smaller <= larger)].sum()), float(weights[both].sum())


def _merged(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    both = {name: each.merge(other[name]) if name in other else each for name, each in one.items()}
    return both | {name: each for name, each in other.items() if name not in one}


def _plain(value: Any) -> Any:
    """Dataclasses as [name, fields], arrays as ["array", shape, bytes]: what MessagePack holds."""
    if isinstance(value, np.ndarray):
        return ["array", list(value.shape), np.ascontiguousarray(value, "<f8").tobytes()]
    if type(value) in _KINDS:
        return [type(value).__name__, {field.name: _plain(getattr(value, field.name)) for field in fields(value)}]
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    return list(value) if isinstance(value, tuple) else value


def _restored(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _restored(each) for key, each in value.items()}
    if not isinstance(value, list):
        return value
    if value and value[0] == "array" and len(value) == 3:
        return np.frombuffer(value[2], "<f8").reshape(value[1]).copy()
    if len(value) == 2 and isinstance(value[1], dict):
        kind = next(kind for kind in _KINDS if kind.__name__ == value[0])
        return kind(**{name: _restored(each) for name, each in value[1].items()})
    return tuple(value)


_KINDS: Final = (BlockStatistics, NumberStatistics, TextStatistics, ValueSample)


def merged(parts: Sequence[BlockStatistics]) -> BlockStatistics:
    """The statistics of all parts' rows; at least one part."""
    total = parts[0]
    for part in parts[1:]:
        total = total.merge(part)
    return total
