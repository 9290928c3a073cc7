"""Two manifests → what changed between them, in the order in which it matters to those who call the model. Pure."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, TypeVar

from skylane.manifest import Candidate, ColumnSpec, Manifest, OutputSpec, TensorSpec
from skylane.profile import Bins, NumberProfile, TextProfile

SHIFT: Final = 0.1
"""From which population stability index on a column counts as another: below 0.1 is little, above 0.25 much."""

SMALLEST: Final = 1e-4
"""Share of a bin that is empty on one side only: the index has no value for none."""


Value = TypeVar("Value")


@dataclass(frozen=True)
class Change:
    """One thing that is not as it was."""

    part: str
    """Part of the manifest: "interface", "graph", "answers", "inputs" or "origin"."""
    what: str
    before: str
    after: str
    breaks: bool = False
    """Whether callers of the old version may fail with the new one."""


def changes(old: Manifest, new: Manifest) -> list[Change]:
    """All that differs between two versions but their numbers and dates; none if only those do."""
    return [*_interface(old, new), *_graph(old, new), *_answers(old, new), *_inputs(old, new), *_origin(old, new)]


def _interface(old: Manifest, new: Manifest) -> Iterator[Change]:
    if old.task != new.task:
        yield Change("interface", "task", old.task, new.task, breaks=True)
    for name, before, after in _pairs({c.name: c for c in old.columns}, {c.name: c for c in new.columns}):
        if _column(before) != _column(after):
            # Whoever sends a column that is gone, or sends none where one has come, is refused.
            eased = before is not None and after is not None and _takes_more(before, after)
            yield Change("interface", f"column {name}", _column(before), _column(after), breaks=not eased)
    if not (old.columns and new.columns):
        for name, first, then in _pairs({t.name: t for t in old.tensors}, {t.name: t for t in new.tensors}):
            if _tensor(first) != _tensor(then):
                yield Change("interface", f"tensor {name}", _tensor(first), _tensor(then), breaks=True)
    for name, one, other in _pairs({o.name: o for o in old.outputs}, {o.name: o for o in new.outputs}):
        if _output(one) != _output(other):
            yield Change("interface", f"output {name}", _output(one), _output(other), breaks=one is not None)


def _takes_more(before: ColumnSpec, after: ColumnSpec) -> bool:
    """Whether whatever was accepted still is."""
    same_kind = (before.dtype == "string") == (after.dtype == "string")
    return same_kind and (before.missing is None or after.missing is not None)


def _column(spec: ColumnSpec | None) -> str:
    """As callers see it: they send numbers or texts, in which the width is not theirs to choose."""
    if spec is None:
        return "–"
    return f"{'text' if spec.dtype == 'string' else 'number'}, gaps {'refused' if spec.missing is None else 'allowed'}"


def _tensor(spec: TensorSpec | None) -> str:
    return "–" if spec is None else f"{spec.dtype} ({_sizes(spec.shape)})"


def _output(spec: OutputSpec | None) -> str:
    if spec is None:
        return "–"
    classes = f" of {', '.join(map(str, spec.classes[:8]))}{' …' * (len(spec.classes) > 8)}" if spec.classes else ""
    return f"{spec.dtype} ({_sizes(spec.shape)}){classes}"


def _sizes(shape: tuple[int | None, ...]) -> str:
    return ", ".join("rows" if size is None else str(size) for size in shape)


def _graph(old: Manifest, new: Manifest) -> Iterator[Change]:
    before, after = _chosen(old), _chosen(new)
    if before is None or after is None:
        return
    if before.name != after.name:
        yield Change("graph", "candidate", before.name, after.name)
    if before.bytes != after.bytes:
        yield Change("graph", "size", f"{before.bytes / 1e3:,.1f} kB", f"{after.bytes / 1e3:,.1f} kB")
    for size in before.latency_us:
        if size in after.latency_us and before.latency_us[size] != after.latency_us[size]:
            first, then = before.latency_us[size], after.latency_us[size]
            where = "" if old.lineage.machine == new.lineage.machine else ", on another machine"
            yield Change("graph", f"µs for {size}", f"{first:,.1f}", f"{then:,.1f} ({then / first:.2f}x{where})")


def _answers(old: Manifest, new: Manifest) -> Iterator[Change]:
    before, after = _chosen(old), _chosen(new)
    figure = "R²" if new.task == "regressor" else "accuracy"
    pairs = [(figure, _shipped(old, before), _shipped(new, after))]
    pairs += [(name, one, other) for name, one, other in _pairs(old.lineage.metrics, new.lineage.metrics)]
    for name, first, then in pairs:
        if first != then:
            yield Change("answers", name, _number(first), _number(then))
    if before is not None and after is not None:
        worst, now = f"{before.worst_difference:.1e}", f"{after.worst_difference:.1e}"
        if worst != now:
            yield Change("answers", "worst difference", worst, now)
        if before.label_flips != after.label_flips:
            yield Change("answers", "labels changed", f"{before.label_flips:.2%}", f"{after.label_flips:.2%}")
    if _limits(old) != _limits(new):
        yield Change("answers", "tolerance", _limits(old), _limits(new))


def _shipped(manifest: Manifest, chosen: Candidate | None) -> float | None:
    """The published graph's own figure on its held-out rows."""
    if manifest.metric is None or chosen is None or chosen.metric_drop is None:
        return None
    return manifest.metric - chosen.metric_drop


def _limits(manifest: Manifest) -> str:
    return manifest.tolerance.preset + (", published by force" if manifest.tolerance.forced else "")


def _inputs(old: Manifest, new: Manifest) -> Iterator[Change]:
    if old.profile is None or new.profile is None:
        return
    for name, before, after in _pairs(old.profile.columns, new.profile.columns):
        if before is None or after is None:
            continue  # the interface tells of it
        shift = stability(before, after)
        if shift >= SHIFT:
            yield Change("inputs", f"column {name}", "", f"distributed otherwise (stability index {shift:.2f})")
        if abs(before.missing - after.missing) >= 0.01:
            yield Change("inputs", f"gaps in {name}", f"{before.missing:.1%}", f"{after.missing:.1%}")


def stability(before: NumberProfile | TextProfile, after: NumberProfile | TextProfile) -> float:
    """The population stability index of two profiles: 0 for the same shares, infinite for columns of other kinds."""
    if isinstance(before, TextProfile) and isinstance(after, TextProfile):
        names = [*before.counts, *(name for name in after.counts if name not in before.counts)]
        return _index(
            [*(before.counts.get(name, 0) for name in names), before.other],
            [*(after.counts.get(name, 0) for name in names), after.other],
        )
    if isinstance(before, NumberProfile) and isinstance(after, NumberProfile):
        if before.bins is None or after.bins is None:
            return 0.0 if before.bins is after.bins else math.inf
        return _index(list(before.bins.counts), _on_edges(after.bins, before.bins.edges))
    return math.inf


def _on_edges(bins: Bins, edges: tuple[float, ...]) -> list[float]:
    """The rows of a histogram in other bins, as if they lay evenly within its own; what is outside is at the ends."""
    below = [_rows_below(bins, edge) for edge in edges[1:-1]]
    ends = [0.0, *below, float(sum(bins.counts))]
    return [high - low for low, high in pairwise(ends)]


def _rows_below(bins: Bins, value: float) -> float:
    rows = 0.0
    for place, count in enumerate(bins.counts):
        low, high = bins.edges[place], bins.edges[place + 1]
        if value >= high and high > low:
            rows += count
        elif value > low:
            rows += count * (value / 2 - low / 2) / (high / 2 - low / 2) if high > low else count
    return rows


def _index(before: list[int], after: list[float] | list[int]) -> float:
    first, then = sum(before) or 1, sum(after) or 1
    total = 0.0
    for one, other in zip(before, after, strict=True):
        share, now = max(one / first, SMALLEST), max(other / then, SMALLEST)
        total += (now - share) * math.log(now / share)
    return total


def _origin(old: Manifest, new: Manifest) -> Iterator[Change]:
    one, other = old.lineage, new.lineage
    facts = {
        "pipeline": (one.estimator, other.estimator),
        "pipeline's file": (one.pipeline_sha256[:12], other.pipeline_sha256[:12]),
        "training data": (_short(one.data_sha256), _short(other.data_sha256)),
        "code": (_short(one.code_revision), _short(other.code_revision)),
        "machine": (one.machine or "–", other.machine or "–"),
        "copied from": (_copied(old), _copied(new)),
    }
    for name, (before, after) in facts.items():
        if before != after:
            yield Change("origin", name, before, after)
    for name, version, now in _pairs(one.libraries, other.libraries):
        if version != now:
            yield Change("origin", name, version or "–", now or "–")


def _copied(manifest: Manifest) -> str:
    """The version that this one is a copy of."""
    origins = manifest.lineage.copied_from
    return f"{origins[-1].model} {origins[-1].version}" if origins else "–"


def _chosen(manifest: Manifest) -> Candidate | None:
    return next((candidate for candidate in manifest.candidates if candidate.chosen), None)


def _short(digest: str | None) -> str:
    return "–" if digest is None else digest[:12]


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"


def _pairs(old: Mapping[str, Value], new: Mapping[str, Value]) -> Iterator[tuple[str, Value | None, Value | None]]:
    """Name, what it was and what it is; None where it is not. In the new order, and then what is gone."""
    for name in [*new, *(name for name in old if name not in new)]:
        yield name, old.get(name), new.get(name)
