"""The model card's sections on inputs, column by column, and on the distribution of answers. Pure."""

from collections.abc import Iterator
from typing import Final

from skylane.convert.publishing.card.html import EMPTY, Html, table, tag, text
from skylane.convert.publishing.card.plots import LARGE, bars, clipped, histogram, shown
from skylane.manifest import ColumnSpec, Manifest
from skylane.profile import NumberProfile, TextProfile

COLUMNS_MAX: Final = 100
TEXTS_SHOWN: Final = 5
LABELS_SHOWN: Final = 12
CLASSES_SHOWN: Final = 6


def inputs(manifest: Manifest) -> Html:
    """Every column with its type, share of missing values and, if there is a profile, a histogram."""
    profile = manifest.profile
    specs = {spec.name: spec for spec in manifest.columns}
    names = list(specs) or list(profile.columns if profile else ())
    if not names:
        return EMPTY
    rows = (
        [text(name), text(_kind(manifest, specs.get(name))), *_profiled(profile.columns.get(name) if profile else None)]
        for name in names[:COLUMNS_MAX]
    )
    more = len(names) - COLUMNS_MAX
    return tag(
        "section",
        tag("h2", text("Inputs")),
        tag("p", text(f"Distributions of {profile.rows:,} {profile.of} rows.")) if profile else None,
        table(["column", "kind", "missing", "distribution", "range"], rows, frozenset({2})),
        tag("p", text(f"And {more} more.")) if more > 0 else None,
    )


def _kind(manifest: Manifest, spec: ColumnSpec | None) -> str:
    if spec is None:
        return manifest.tensors[0].dtype
    return f"{spec.dtype}, gaps {'refused' if spec.missing is None else 'allowed'}"


def _profiled(column: NumberProfile | TextProfile | None) -> Iterator[Html]:
    """Share of missing values, distribution and range of a column."""
    if column is None:
        yield from (EMPTY, EMPTY, EMPTY)
        return
    yield text(f"{column.missing:.1%}" if column.missing else "–")
    if isinstance(column, TextProfile):
        yield text(_frequent(column))
        yield text(f"{column.distinct:,} text{'s' * (column.distinct != 1)}")
    elif column.bins is None:
        yield from (EMPTY, text("no numbers"))
    else:
        yield histogram(column.bins)
        yield text(f"{shown(column.bins.edges[0])} to {shown(column.bins.edges[-1])}")


def _frequent(column: TextProfile) -> str:
    total = sum(column.counts.values()) + column.other or 1
    named = [f"{clipped(name)} {count / total:.0%}" for name, count in list(column.counts.items())[:TEXTS_SHOWN]]
    rest = 1 - sum(list(column.counts.values())[:TEXTS_SHOWN]) / total
    return ", ".join([*named, f"others {rest:.0%}"] if rest > 0.005 else named)


def answers(manifest: Manifest) -> Html:
    """How often each label is given, and the histograms of probabilities or predictions."""
    profile = manifest.profile
    if profile is None or not (profile.labels or profile.answers):
        return EMPTY
    figures = []
    if profile.labels:
        shares = {label: 100 * count / profile.answered_rows for label, count in profile.labels.items()}
        kept = dict(list(shares.items())[:LABELS_SHOWN])
        figures.append(tag("figure", bars(kept, " %"), tag("figcaption", text("predicted labels"))))
    # With two classes, one histogram is the mirror image of the other.
    drawn = list(profile.answers.items())[-1:] if len(profile.answers) == 2 else list(profile.answers.items())
    for name, bins in drawn[:CLASSES_SHOWN]:
        named = name.replace("probabilities:", "probability of ")
        figures.append(tag("figure", histogram(bins, LARGE, axis=True), tag("figcaption", text(named))))
    return tag(
        "section",
        tag("h2", text("Answers")),
        tag("p", text(f"Answers of the chosen graph to {profile.answered_rows:,} {profile.of} rows.")),
        tag("div", *figures, class_="plots"),
    )
