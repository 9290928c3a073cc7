"""One block of a model, the blocks before it and the reference → one verdict. Pure.

An alarm is a semantic fault, or a change that is abrupt against the blocks before, unlike the reference, and seen in
the answers. A slow change is a note with its size. There is one verdict for a model and block, however many columns.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Literal

import numpy as np

from skylane.reference import ColumnReference, NumberReference, Reference, TextReference
from skylane.statistics.drift.blocks import BlockStatistics, ColumnStatistics, NumberStatistics, TextStatistics
from skylane.statistics.drift.faults import Case, number_fault, text_fault
from skylane.statistics.drift.finding import Finding as Finding
from skylane.statistics.drift.finding import instant, listed
from skylane.statistics.drift.measures import measures
from skylane.statistics.drift.own_blocks import BLOCKS_MIN, ROWS_MIN, discoveries, p_value
from skylane.statistics.drift.pooling import BEFORE, pooled
from skylane.statistics.drift.seasons import seasonal_counts
from skylane.statistics.drift.sketch import ValueSample
from skylane.statistics.drift.swaps import swapped

FALSE_DISCOVERY_RATE: Final = 0.01
"""Of columns that changed abruptly. A block without any has an alarm with no higher probability."""
UNLIKE_P: Final = 0.05
"""The answers count as changed if they are as unlike the reference, or the blocks before, as this."""
DOUBT: Final = 2.0
"""A distance counts beyond so many times what chance alone gives on average: a small block must show more."""
FAULTS_NAMED: Final = 6
"""Semantic faults of a block that the alarm describes; of further ones it names the columns."""
HISTORY_MIN: Final = 3
"""Blocks before that tell whether a change is abrupt."""
FindingKey = tuple[str, tuple[str, ...]]
"""Kind and columns of a finding."""
Level = Literal["usual", "unusual", "alarm"]


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
    mean: float | None
    """Mean of the numbers; None for texts."""
    p: float | None
    """Share of the reference's own blocks that are so unlike the others, extrapolated beyond the largest; None if the
    reference has too few blocks of its own."""
    level: Level


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
    columns: dict[str, ColumnDrift] = field(default_factory=dict)
    answers: dict[str, ColumnDrift] = field(default_factory=dict)
    rows_needed: int = ROWS_MIN
    """Least rows of a block, in effect, for a verdict."""


def judge(
    history: Sequence[BlockStatistics],
    current: BlockStatistics,
    reference: Reference,
    begun: Mapping[FindingKey, float] | None = None,
) -> Verdict:
    """Judge `current` by the reference and the blocks before it (`history`, the oldest first; 14 are enough).

    `begun`: since when, in Unix time, each finding of the blocks before holds, if that is earlier than the history.

    History may have gaps, and blocks with too few rows, which are not used.
    """
    before = [block for block in history if block.effective_rows >= ROWS_MIN and block.start_s < current.start_s]
    part = _Part(reference, current, before[-BEFORE:])
    columns, answers = part.cases("columns"), part.cases("answers")
    if current.effective_rows < ROWS_MIN:
        text = f"{_rows(current)}: a verdict needs {ROWS_MIN}"
        return Verdict("too few rows", text, (), (), part.drifts(columns, {}), part.drifts(answers, {}))
    faults = part.faults(columns)
    changes = [] if faults else part.changes(columns, answers)
    findings = tuple(sorted((part.ranked(finding, columns) for finding in (*faults, *changes)), key=_by_rank))
    findings = tuple(_since_before(finding, before, reference, current, begun or {}) for finding in findings)
    alarming: dict[str, Level] = {name: "alarm" for finding in findings for name in finding.columns}
    notes = part.notes(columns, answers, alarming)
    figures = part.drifts(columns, alarming), part.drifts(answers, {})
    if findings:
        return Verdict("alarm", _alarm(findings, part), findings, notes, *figures)
    if not reference.blocks:
        text = "the reference has no times: only values that it lacks are judged; `skylane profile` adds the times"
        return Verdict("no reference", text, (), notes, *figures)
    return Verdict("note" if notes else "ok", notes[0] if notes else "as usual", (), notes, *figures)


def effect_on_answers(current: BlockStatistics, before: Sequence[BlockStatistics], reference: Reference) -> float:
    """Mean of the main answer less that of the blocks before, or of the reference; 0 if either is unknown."""
    here, known = _mean(current, reference), reference.answers.get(reference.main_answer)
    usual = [mean for block in before if (mean := _mean(block, reference)) is not None]
    if here is None or not isinstance(known, NumberReference):
        return 0.0
    return here - (float(np.mean(usual)) if usual else known.mean)


def _mean(block: BlockStatistics, reference: Reference) -> float | None:
    column, known = block.answers.get(reference.main_answer), reference.answers.get(reference.main_answer)
    if not isinstance(column, NumberStatistics) or not isinstance(known, NumberReference) or column.finite <= 0:
        return None
    return column.sum / column.finite + known.mean


class _Part:
    """One block with what it is compared with."""

    def __init__(self, reference: Reference, current: BlockStatistics, before: Sequence[BlockStatistics]) -> None:
        self.reference, self.current, self.before = reference, current, before
        self.effect = effect_on_answers(current, before, reference)

    def cases(self, part: Literal["columns", "answers"]) -> dict[str, Case]:
        """Each column that the block has, measured."""
        known: Mapping[str, ColumnReference] = getattr(self.reference, part)
        own: Mapping[str, ColumnStatistics] = getattr(self.current, part)
        return {
            name: self._case(name, column, known[name], [getattr(block, part).get(name) for block in self.before])
            for name, column in own.items()
            if name in known and column.rows > 0
        }

    def _case(
        self, name: str, column: ColumnStatistics, known: ColumnReference, history: Sequence[ColumnStatistics | None]
    ) -> Case:
        block = self.current
        ratio = block.effective_rows / block.rows
        earlier = [each for each in history if each is not None and each.rows > 0]
        pool = pooled(earlier) if earlier else None
        present = column.finite if isinstance(column, NumberStatistics) else column.rows - column.missing
        return Case(
            name=name,
            block=block,
            rows=present * ratio,
            measures=measures(column, known, ratio, seasonal_counts(known, block.start_s), pool, DOUBT),
            before={} if pool is None else measures(pool, known, 1.0),
            before_values=_sample(earlier),
            own_blocks=self.reference.blocks,
        )

    def faults(self, cases: Mapping[str, Case]) -> list[Finding]:
        """Semantic faults, one of each column at most."""
        alone: dict[str, Finding] = {}
        for name, case in cases.items():
            column, known = self.current.columns[name], self.reference.columns[name]
            fault = None
            if isinstance(column, NumberStatistics) and isinstance(known, NumberReference):
                fault = number_fault(case, column, known)
            elif isinstance(column, TextStatistics) and isinstance(known, TextReference):
                fault = text_fault(case, column, known)
            if fault is not None:
                alone[name] = fault
        pairs = swapped(self.current, self.reference, cases, alone)
        taken = {name for pair in pairs for name in pair.columns}
        return pairs + [fault for name, fault in alone.items() if name not in taken]

    def changes(self, cases: Mapping[str, Case], answers: Mapping[str, Case]) -> list[Finding]:
        """Columns that changed abruptly and are unlike the reference, if the answers changed as well."""
        if len(self.before) < HISTORY_MIN or self.reference.blocks < BLOCKS_MIN:
            return []
        main = answers.get(self.reference.main_answer)
        if main is None or self._abrupt(main, self.reference.answers) > UNLIKE_P:
            return []
        p_values = {name: self._abrupt(case, self.reference.columns) for name, case in cases.items()}
        return [self._change(cases[name]) for name in discoveries(p_values, FALSE_DISCOVERY_RATE)]

    def _abrupt(self, case: Case, known: Mapping[str, ColumnReference]) -> float:
        """The larger of two p-values: unlike the reference, and unlike the blocks before."""
        own = known[case.name].own
        step = p_value(own.get("step"), case.measures.get("step", 0.0), case.own_blocks)
        return max(step, self._unlike(case, known))

    def _unlike(self, case: Case, known: Mapping[str, ColumnReference]) -> float:
        column = known[case.name]
        if isinstance(column, NumberReference) and column.follows_time:
            return 1.0
        statistic = "tv" if isinstance(column, TextReference) else "w1"
        return p_value(column.own.get(statistic), case.measures.get(statistic, 0.0), case.own_blocks)

    def _change(self, case: Case) -> Finding:
        text = f"{case.name} changed abruptly: {self._size(case)} from the blocks before, unlike any of the reference"
        return Finding((case.name,), "change", text, self.current.start_s, 1.0)

    def _size(self, case: Case) -> str:
        known = self.reference.columns[case.name]
        if isinstance(known, TextReference):
            return f"{case.measures['step'] * 100:.0f} % of the rows have other texts"
        moved = (case.measures["mean"] - case.before["mean"]) / known.scale
        return f"mean {moved:+.1f} standard deviations, distance {case.measures['step']:.1f}"

    def ranked(self, finding: Finding, cases: Mapping[str, Case]) -> Finding:
        """With its effect, and its rank: drift × importance × effect, none of which is quite 0."""
        total = sum(column.importance for column in self.reference.columns.values()) or 1.0
        importance = sum(self.reference.columns[name].importance for name in finding.columns) / total
        drift = max((self._drift(cases[name]) for name in finding.columns), default=1.0)
        effect = sum(self._column_effect(name) for name in finding.columns)
        return replace(finding, effect=effect, rank=drift * (importance + 1e-3) * (abs(effect) + 1e-3))

    def _drift(self, case: Case) -> float:
        return max(case.measures.get("w1", 0.0), case.measures.get("tv", 0.0), case.measures.get("missing", 0.0), 1e-3)

    def _column_effect(self, name: str) -> float:
        """How much the main answer would move by this column alone: its rows, each with the mean answer of its bin."""
        known, column = self.reference.columns[name], self.current.columns[name]
        if isinstance(known, NumberReference) and isinstance(column, NumberStatistics) and known.answer_by_bin:
            assert known.bins is not None
            here, usual = column.bins.copy(), np.array(known.bins.counts, np.float64)
            here[0] += column.below
            here[-1] += column.above
            return _mean_of(here, known.answer_by_bin) - _mean_of(usual, known.answer_by_bin)
        if isinstance(known, TextReference) and isinstance(column, TextStatistics) and known.answer_by_text:
            usual = np.array(list(known.counts.values()), np.float64)
            return _mean_of(column.counts, known.answer_by_text) - _mean_of(usual, known.answer_by_text)
        return 0.0

    def notes(
        self, columns: Mapping[str, Case], answers: Mapping[str, Case], alarming: Mapping[str, Level]
    ) -> tuple[str, ...]:
        """Slow changes with their sizes, and what could not be judged."""
        made = []
        left = {name: case for name, case in columns.items() if name not in alarming}
        p_values = {name: self._unlike(case, self.reference.columns) for name, case in left.items()}
        slow = sorted(discoveries(p_values, FALSE_DISCOVERY_RATE), key=lambda name: p_values[name])
        if slow:
            made.append(self._slow([left[name] for name in slow]))
        p_answers = {name: self._unlike(case, self.reference.answers) for name, case in answers.items()}
        if main := discoveries(p_answers, FALSE_DISCOVERY_RATE) & {self.reference.main_answer}:
            mean = answers[next(iter(main))].measures.get("mean", 0.0)
            own = self.reference.answers[self.reference.main_answer].own["mean"]
            made.append(
                f"the answers are unlike the reference: mean of {self.reference.main_answer} {mean:.3g}, "
                f"in its own blocks {own.smallest:.3g} to {own.largest:.3g}"
            )
        if self.current.absent:
            made.append(f"not recorded, so not judged: {listed(self.current.absent)}")
        hashed = [name for name, column in self.current.columns.items() if _is_hashed(column)]
        if hashed:
            made.append(f"recorded as hashes, so not compared with the reference: {listed(hashed)}")
        if 0 < self.reference.blocks < BLOCKS_MIN:
            made.append(f"the reference has {self.reference.blocks} blocks: changes are judged from {BLOCKS_MIN} on")
        if self.reference.blocks and self.current.block_s != self.reference.block_s:
            made.append("blocks are not as long as those of the reference, whose usual ranges are then a guess")
        return tuple(made)

    def _slow(self, cases: Sequence[Case]) -> str:
        sizes = []
        for case in cases:
            known = self.reference.columns[case.name]
            if isinstance(known, NumberReference):
                moved = (case.measures["mean"] - known.mean) / known.scale
                sizes.append(f"{case.name} {moved:+.1f} standard deviations")
            else:
                sizes.append(f"{case.name} {case.measures['tv'] * 100:.0f} % other texts")
        text = f"unlike any block of the reference: {listed(sizes)}"
        if not self.reference.covers_a_year:
            text += "; the reference covers less than a year, so season and drift cannot be told apart"
        return text

    def drifts(self, cases: Mapping[str, Case], alarming: Mapping[str, Level]) -> dict[str, ColumnDrift]:
        """Figures of each column."""
        known = {**self.reference.columns, **self.reference.answers}
        return {name: self._figures(case, known, alarming.get(name)) for name, case in cases.items()}

    def _figures(self, case: Case, known: Mapping[str, ColumnReference], level: Level | None) -> ColumnDrift:
        found, enough = case.measures, case.own_blocks >= BLOCKS_MIN
        p = self._unlike(case, known) if enough else None
        return ColumnDrift(
            missing=found.get("missing", 0.0),
            unseen=found.get("unseen", found.get("unknown", 0.0)),
            outside=found.get("outside", 0.0),
            infinite=found.get("infinite", 0.0),
            psi=found.get("psi", 0.0),
            w1=found.get("w1"),
            step=found.get("step"),
            mean=found.get("mean"),
            p=p,
            level=level or ("unusual" if p is not None and p < FALSE_DISCOVERY_RATE else "usual"),
        )


def _mean_of(counts: "np.ndarray[tuple[int, ...], np.dtype[np.float64]]", means: Sequence[float]) -> float:
    total = float(counts.sum())
    return float(counts @ np.array(means)) / total if total else float(np.mean(means))


def _sample(blocks: Sequence[ColumnStatistics]) -> ValueSample | None:
    """Values of the blocks before, put together; None without any."""
    samples = [block.values for block in blocks if isinstance(block, NumberStatistics) and len(block.values.values)]
    total = samples[0] if samples else None
    for sample in samples[1:]:
        assert total is not None
        total = total.merge(sample)
    return total


def _is_hashed(column: ColumnStatistics) -> bool:
    return isinstance(column, TextStatistics) and column.hashed > 0


def _by_rank(finding: Finding) -> float:
    return -finding.rank


def _since_before(
    finding: Finding,
    history: Sequence[BlockStatistics],
    reference: Reference,
    current: BlockStatistics,
    begun: Mapping[FindingKey, float],
) -> Finding:
    """Dated back over the blocks before that have the same fault, if it holds from this block's beginning."""
    if finding.since_s > current.start_s or finding.kind == "change":
        return finding
    since_s = min(finding.since_s, begun.get((finding.kind, finding.columns), np.inf))
    for place in range(len(history) - 1, -1, -1):
        part = _Part(reference, history[place], history[max(0, place - BEFORE) : place])
        cases = {name: case for name, case in part.cases("columns").items() if name in finding.columns}
        same = [each for each in part.faults(cases) if (each.kind, each.columns) == (finding.kind, finding.columns)]
        if not same:
            break
        since_s = min(since_s, same[0].since_s)
        if since_s > history[place].start_s:
            break
    if since_s == finding.since_s:
        return finding
    return replace(finding, since_s=since_s, text=f"{finding.text} (since {instant(since_s, current)})")


def _alarm(findings: Sequence[Finding], part: _Part) -> str:
    """Each semantic fault in its own words, the columns of the other findings, and the effect on the answers."""
    named = [place for place, finding in enumerate(findings) if place == 0 or finding.kind != "change"][:FAULTS_NAMED]
    text = "; ".join(findings[place].text for place in named)
    others = [name for place, finding in enumerate(findings) if place not in named for name in finding.columns]
    text += f"; also {listed(others)}" if others else ""
    stop = "" if text.endswith("?") else "."
    known, here = part.reference.answers.get(part.reference.main_answer), _mean(part.current, part.reference)
    if here is None or not isinstance(known, NumberReference):
        return f"{text}{stop} Its effect on the answers is not known"
    usual = known.own.get("mean")
    span = f" (usual: {usual.smallest:.3g} to {usual.largest:.3g})" if usual else ""
    return f"{text}{stop} Answers: mean of {part.reference.main_answer} {here - part.effect:.3g} → {here:.3g}{span}"


def _rows(block: BlockStatistics) -> str:
    weighted = "" if block.effective_rows >= block.count - 0.5 else f" ({block.effective_rows:.0f} in effect)"
    return f"{block.count} rows{weighted}"
