"""The model card's section on candidates: every graph that was evaluated, with its times and its result. Pure."""

from collections.abc import Iterator

from skylane.convert.publishing.card.html import EMPTY, Html, joined, table_of, tag, text
from skylane.convert.publishing.card.plots import bars
from skylane.manifest import Candidate, Manifest


def candidates(manifest: Manifest) -> Html:
    """A table, bar charts for the weighted batch sizes, and the result of quantization; empty without candidates."""
    if not manifest.candidates:
        return EMPTY
    return tag(
        "section",
        tag("h2", text("Candidate graphs")),
        tag("p", text(_intro(manifest))),
        _table(manifest.candidates),
        tag("div", *_bars(manifest), class_="plots"),
        tag("p", text(f"Quantization: {manifest.quantization}.")) if manifest.quantization else None,
        _remarks(manifest),
    )


def _intro(manifest: Manifest) -> str:
    rows = "held-out rows" if manifest.held_out_rows is None else f"{manifest.held_out_rows:,} held-out rows"
    weights = "; ".join(f"{share:.0%} for batches of {size}" for size, share in manifest.batches.items())
    weighting = f", weighting times {weights}" if weights else ""
    return (
        f"Each was compared with scikit-learn on {rows} and on generated edge cases. "
        f"The fastest within the tolerance was chosen{weighting}{_faint(manifest)}."
    )


def _faint(manifest: Manifest) -> str:
    return "; those outside it are greyed out" if any(candidate.outside for candidate in manifest.candidates) else ""


def _table(candidates: tuple[Candidate, ...]) -> Html:
    sizes = list(candidates[0].latency_us)
    headings = [
        "candidate",
        "size",
        *(f"µs for {size}" for size in sizes),
        "worst",
        "99 %",
        "bad rows",
        "labels changed",
    ]
    rows = (
        (
            "chosen" if candidate.chosen else "outside" if candidate.outside else None,
            [
                text(candidate.name),
                text(f"{candidate.bytes / 1e3:,.1f} kB"),
                *(
                    text(f"{candidate.latency_us[size]:,.1f}" if size in candidate.latency_us else "–")
                    for size in sizes
                ),
                text(f"{candidate.worst_difference:.1e}"),
                text(f"{candidate.p99_difference:.1e}"),
                text(f"{candidate.bad_rows:.2%}"),
                text(_labels(candidate)),
            ],
        )
        for candidate in candidates
    )
    return table_of(headings, rows, frozenset(range(1, len(headings))))


def _labels(candidate: Candidate) -> str:
    below = candidate.label_flips_below
    return "–" if below is None else f"{candidate.label_flips:.2%} (< {below:.2%})"


def _bars(manifest: Manifest) -> Iterator[Html]:
    """A chart for each weighted batch size."""
    marked = next((candidate.name for candidate in manifest.candidates if candidate.chosen), None)
    outside = {candidate.name for candidate in manifest.candidates if candidate.outside}
    for size in manifest.batches or list(manifest.candidates[0].latency_us)[:1]:
        times = {
            candidate.name: candidate.latency_us[size]
            for candidate in manifest.candidates
            if size in candidate.latency_us
        }
        if times:
            caption = tag("figcaption", text(f"time of a batch of {size} row{'s' * (size != '1')}"))
            yield tag("figure", bars(times, " µs", marked, outside), caption)


def _remarks(manifest: Manifest) -> Html:
    remarks = [(candidate.name, candidate.note) for candidate in manifest.candidates]
    remarks += [(name, f"Not built: {why}.") for name, why in manifest.skipped.items()]
    items = joined(Html(tag("dt", text(name)) + tag("dd", text(note))) for name, note in remarks)
    return tag("details", tag("summary", text("How each was built, and its result")), tag("dl", items))
