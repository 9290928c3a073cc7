"""Labelled rows of blocks → figures by block, version, arm and segment, as they are stored, shown and reported."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from skylane import outcomes
from skylane.monitor import class_labels, estimators
from skylane.monitor.instants import from_us
from skylane.monitor.labelled_blocks import LabelledRows, labelled_blocks
from skylane.monitor.loss_changes import change_words
from skylane.monitor.served_models import Answers, ServedModels, block_us
from skylane.monitor.state import Report, State
from skylane.monitor.view import Figures, Measured, to_come_text

KIND: Final = "performance"
ALL: Final = -1
"""In place of a version: all of them together."""
ROWS_MAX: Final = 1_000_000
"""Rows of a model that are in memory at once: the latest blocks. Figures of older ones are no longer computed anew."""
SEGMENT_ROWS_MIN: Final = 50
"""Labelled rows from which a segment is shown; fewer say nothing about it."""
SEGMENTS_MAX: Final = 20
"""Of a column: its most frequent values."""

OTHERS: Final = "\0others"
"""All other values together, with which a segment is compared as well."""
SEGMENT_BLOCKS: Final = 60
"""The latest blocks, over which segments are compared."""
NEAR_CHANCE: Final = 0.55
"""An AUC whose whole interval lies below it is named."""
CHANGE_HISTORY: Final = 74
"""The latest blocks, of which the last ones are compared with the others."""

Blocks = Sequence[tuple[int, LabelledRows]]


@dataclass(frozen=True)
class Shown:
    """Performance as it is shown."""

    answers: Answers
    headline: str
    blocks: list[Figures] = field(default_factory=list)
    versions: list[Figures] = field(default_factory=list)
    segments: list[Figures] = field(default_factory=list)
    horizon: str = ""
    estimate: str = ""
    change: str = ""
    unusable: int = 0
    """Rows with labels that are no class of the model."""
    unusable_words: str = ""
    """Which labels these are."""


def load(state: State, models: ServedModels, model: str, directories: Sequence[Path], now: int) -> Blocks:
    """The latest blocks of a model with the outcomes that were known at an instant."""
    answers = models.answers_of(model, state.versions(model))
    if not answers.can_be_judged:
        return []
    blocks: list[int] = []
    total = 0
    for block, rows in reversed(state.blocks(model)):
        total += rows
        if block >= now or (blocks and total > ROWS_MAX):
            continue
        blocks.append(block)
    known = outcomes.read(directories, model, known_by=from_us(now))
    made = [(block, rows.as_of(now)) for block, rows in labelled_blocks(state, model, sorted(blocks), known, answers)]
    return [(block, rows) for block, rows in made if len(rows)]


def compute(
    past: Blocks, blocks: Blocks, answers: Answers, now: int, length: int, horizon_us: int | None
) -> Shown:  # fmt: skip
    """All figures of `blocks`; how long labels take is learnt from the `past`, of which they are a part.

    `length`: of a block; `horizon_us`: after which labels are known, None: learnt.
    """
    headline = estimators.headline(answers)
    if not blocks or not answers.can_be_judged:
        return Shown(answers, headline)
    delays = estimators.learn(past, answers, now, length, horizon_us)
    made = [_block(block, rows, delays, answers) for block, rows in blocks]
    shares = {figures.block or 0: figures.to_come for figures in made}
    versions = _versions(blocks, delays, answers, shares)
    unusable = Counter(label for _, rows in blocks for label in rows.unusable[~rows.usable].tolist())
    return Shown(
        answers=answers,
        headline=headline,
        blocks=made,
        versions=list(versions),
        segments=list(_segments(blocks[-SEGMENT_BLOCKS:], delays, answers, shares)),
        horizon=delays.words,
        estimate=estimators.estimate_words(blocks, delays, answers),
        change=change_words(blocks[-CHANGE_HISTORY:], answers, delays),
        unusable=unusable.total(),
        unusable_words=class_labels.words(unusable, answers.classes if answers.task == "classifier" else ()),
    )


def _block(block: int, rows: LabelledRows, delays: estimators.Delays, answers: Answers) -> Figures:
    measures, to_come = estimators.corrected(block, rows, delays, answers)
    labelled, unusable = int(rows.labelled.sum()), int((~rows.usable).sum())
    return Figures(
        rows=len(rows), labelled=labelled, to_come=to_come, measures=measures, block=block,
        closed=delays.now >= block + delays.length, unusable=unusable,
        words=to_come_text(to_come, len(rows), labelled, unusable),
    )  # fmt: skip


Shares = Mapping[int, float | None]
"""Start of a block → share of its labels to come."""


def _versions(blocks: Blocks, delays: estimators.Delays, answers: Answers, shares: Shares) -> Iterator[Figures]:
    pairs = sorted(
        {pair for _, rows in blocks for pair in set(zip(rows.versions.tolist(), rows.arms.tolist(), strict=True))}
    )
    for version, arm in pairs:
        parts = [(block, rows.where((rows.versions == version) & (rows.arms == arm))) for block, rows in blocks]
        figures = _group(parts, delays, answers, shares)
        words = "; ".join(part for part in (_doubt(figures), figures.words) if part)
        yield replace(figures, version=version, arm=arm or None, words=words)


def _doubt(figures: Figures) -> str:
    """What a version's intervals say against it, in words."""
    auc = figures.measures.get("auc", Measured())
    near_chance = auc.high is not None and auc.high < NEAR_CHANCE
    return "orders rows hardly better than chance" if near_chance else ""


def _segments(blocks: Blocks, delays: estimators.Delays, answers: Answers, shares: Shares) -> Iterator[Figures]:
    """The most frequent values of each column: chosen by their rows, so that luck with outcomes plays no part."""
    measure = estimators.headline(answers)
    for column in sorted({name for _, rows in blocks for name in rows.segments}):
        present = [(block, rows) for block, rows in blocks if column in rows.segments]
        texts = [np.asarray(rows.segments[column], str) for _, rows in present]
        values, counts = np.unique(np.concatenate(texts), return_counts=True)
        named = [str(value) for value in values[np.argsort(-counts, kind="stable")][:SEGMENTS_MAX]]
        parts = {
            value: [rows.where(text == value) for (_, rows), text in zip(present, texts, strict=True)]
            for value in named
        }
        rest = [rows.where(~np.isin(text, named)) for (_, rows), text in zip(present, texts, strict=True)]
        starts = [block for block, _ in present]
        sums = {
            value: {block: estimators.sums_of(rows, answers) for block, rows in zip(starts, each, strict=True)}
            for value, each in {**parts, OTHERS: rest}.items()
        }
        found = estimators.compared_segments(sums, delays, measure)
        for value in named:
            rows, labelled = sum(map(len, parts[value])), sum(int(each.labelled.sum()) for each in parts[value])
            if labelled < SEGMENT_ROWS_MIN or value not in found:
                continue
            to_come = estimators.to_come(
                rows, [(len(each), shares[block]) for block, each in zip(starts, parts[value], strict=True)]
            )
            yield Figures(
                rows=rows, labelled=labelled, to_come=to_come, measures=found[value], column=column, value=value,
                blocks=sum(map(bool, map(len, parts[value]))), words=_worse(found[value]),
            )  # fmt: skip


def _worse(measures: Mapping[str, Measured]) -> str:
    """By how much a segment is worse than the rest, in words."""
    worse = measures.get("worse_by", Measured())
    if worse.will_be is None:
        return ""
    by = f"{abs(worse.will_be):.3f} {'worse' if worse.will_be > 0 else 'better'} than the rest"
    if worse.low is None or worse.high is None:
        return f"{by}; {worse.unsure}"
    if worse.low > 0 or worse.high < 0:
        return f"{by} ({worse.low:+.3f} to {worse.high:+.3f})"
    return f"{by}, may be chance"


def _group(parts: Blocks, delays: estimators.Delays, answers: Answers, shares: Shares) -> Figures:
    present = [(block, part) for block, part in parts if len(part)]
    rows, labelled = sum(len(part) for _, part in present), sum(int(part.labelled.sum()) for _, part in present)
    unusable = sum(int((~part.usable).sum()) for _, part in present)
    sums = {block: estimators.sums_of(part, answers) for block, part in present}
    to_come = estimators.to_come(rows, [(len(part), shares[block]) for block, part in present])
    return Figures(
        rows=rows, labelled=labelled, to_come=to_come, measures=estimators.over_blocks(sums, delays),
        blocks=len(present), last_block=present[-1][0] if present else None, unusable=unusable,
        words=to_come_text(to_come, rows, labelled, unusable),
    )  # fmt: skip


def store(state: State, model: str, shown: Shown, now: int) -> int:
    """Keep the figures, and report the blocks that have ended. Returns how many reports are new."""
    reports = 0
    for figures in shown.blocks:
        block = figures.block or 0
        state.set_derived(model, KIND, ALL, block, asdict(figures))
        if figures.closed:
            reports += state.write_report(Report(model, KIND, ALL, block, now, asdict(figures)))
    groups = {"versions": shown.versions, "segments": shown.segments}
    texts = {"horizon": shown.horizon, "estimate": shown.estimate, "change": shown.change}
    summary: dict[str, Any] = {name: [asdict(each) for each in figures] for name, figures in groups.items()}
    summary |= {"unusable": shown.unusable, "unusable_words": shown.unusable_words}
    state.set_derived(model, "summary", ALL, 0, summary | texts)
    return reports


def stored(state: State, models: ServedModels, model: str) -> Shown:
    """The figures of the last pass."""
    answers = models.answers_of(model, state.versions(model))
    summary = state.derived(model, "summary").get((ALL, 0), {})
    return Shown(
        answers,
        estimators.headline(answers),
        [figures_of(value) for value in state.derived(model, KIND).values()],
        [figures_of(value) for value in summary.get("versions", ())],
        [figures_of(value) for value in summary.get("segments", ())],
        summary.get("horizon", ""),
        summary.get("estimate", ""),
        summary.get("change", ""),
        summary.get("unusable", 0),
        summary.get("unusable_words", ""),
    )


def figures_of(value: dict[str, Any]) -> Figures:
    """What `asdict` made of figures, after JSON."""
    return Figures(**{**value, "measures": {name: Measured(**each) for name, each in value["measures"].items()}})


def shown(
    state: State, models: ServedModels, model: str, at: int, *, version: int | None, since: int | None,
    segment: str | None, as_known: int | None,
) -> Shown:  # fmt: skip
    """The figures of the last pass; of some rows, or of an earlier instant, they are computed anew."""
    if version is None and segment is None and as_known is None:
        found = stored(state, models, model)
        if since is None:
            return found
    directories = [Path(each) for each in state.about("directories") or ()]
    past = chosen(load(state, models, model, directories, at), version, segment)
    blocks = [(block, rows) for block, rows in past if since is None or block >= since]
    length, answers = block_us(models.policy(model)), models.answers_of(model, state.versions(model))
    return compute(past, blocks, answers, at, length, models.horizon_us(model))


def chosen(blocks: Blocks, version: int | None, segment: str | None) -> Blocks:
    """Rows of a version, or of a segment: COLUMN=VALUE. Raises ValueError for a column without segments."""
    if version is not None:
        blocks = [(block, rows.where(rows.versions == version)) for block, rows in blocks]
    if segment is not None:
        column, equals, value = segment.partition("=")
        known = sorted({name for _, rows in blocks for name in rows.segments})
        if column not in known:
            raise ValueError(
                f"--segment: there are no segments by {column!r}, only by {', '.join(known) or 'none'}; name the "
                "column in segments under [monitor] in model.toml"
            )
        if equals:
            blocks = [(block, rows.where(rows.segments[column] == value)) for block, rows in blocks]
        else:
            blocks = [(block, replace(rows, segments={column: rows.segments[column]})) for block, rows in blocks]
    return [(block, rows) for block, rows in blocks if len(rows)]
