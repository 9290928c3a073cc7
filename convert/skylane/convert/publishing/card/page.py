"""Manifest → HTML: puts the sections of the model card together, as a page or for a notebook. Pure."""

from importlib.resources import files
from typing import Final

from skylane.convert.publishing.card.candidates import candidates
from skylane.convert.publishing.card.html import Html, tag, text
from skylane.convert.publishing.card.imported import imported_graph
from skylane.convert.publishing.card.inputs import answers, inputs
from skylane.convert.publishing.card.provenance import call_example, golden_rows, provenance
from skylane.manifest import Candidate, Manifest

FIGURE: Final = {"classifier": "accuracy", "regressor": "R²"}

REPORTED_MAX: Final = 3
"""How many of the author's own metrics get a tile each; the others are listed below."""


def page(manifest: Manifest) -> str:
    """The card as a complete HTML file, without external resources."""
    head = tag(
        "head",
        Html('<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'),
        tag("title", text(f"{manifest.model} {manifest.version}")),
        tag("style", Html("body { margin: 0 }")),
    )
    return f'<!doctype html>\n<html lang="en">{head}{tag("body", Html(cell(manifest)))}</html>\n'


def cell(manifest: Manifest, *, draft: bool = False) -> str:
    """The card as one HTML element for a notebook; its CSS is scoped to it. A draft has no version number yet."""
    style = (files("skylane.convert.publishing.card") / "card.css").read_text("utf-8")
    sections = (
        _head(manifest, "not published yet" if draft else f"version {manifest.version}"),
        candidates(manifest),
        imported_graph(manifest),
        inputs(manifest),
        answers(manifest),
        golden_rows(manifest),
    )
    return tag(
        "div", tag("style", Html(style)), *sections, call_example(manifest), provenance(manifest), class_="skylane-card"
    )


def chosen_of(manifest: Manifest) -> Candidate | None:
    """The candidate that was published."""
    return next((candidate for candidate in manifest.candidates if candidate.chosen), None)


def _head(manifest: Manifest, published: str) -> Html:
    chosen = chosen_of(manifest)
    forced = tag("p", text(f"Published by force: {chosen.note if chosen else ''}"), class_="warning")
    notes = [tag("p", text(note), class_="warning") for note in manifest.notes]
    return tag(
        "header",
        tag("h1", text(manifest.model), tag("small", text(f" {published}"))),
        tag("p", text(_summary(manifest))),
        tag("div", *_figures(manifest, chosen), class_="figures"),
        _reported(manifest),
        forced if manifest.tolerance.forced else None,
        *notes,
    )


def _summary(manifest: Manifest) -> str:
    inputs = len(manifest.columns) or sum(spec.shape[1] or 0 for spec in manifest.tensors if len(spec.shape) > 1)
    created_at = manifest.lineage.created_at.replace("T", " ")[:16]
    kind = "imported graph" if manifest.task == "other" else manifest.task.replace("_", " ")
    verb = "created" if manifest.imported is None else "imported"
    return f"{kind} of {inputs} inputs, {verb} on {created_at} UTC"


def _figures(manifest: Manifest, chosen: Candidate | None) -> list[Html]:
    """The tiles with the key figures."""
    figures: list[Html] = []
    if manifest.imported is not None:
        figures += [
            _figure(f"{time:.1f} µs", f"for {rows} row{'s' * (rows != '1')}", "one run of the graph")
            for rows, time in manifest.imported.latency_us.items()
        ]
    if chosen is None:
        return figures
    if manifest.metric is not None and chosen.metric_drop is not None:
        name = FIGURE.get(manifest.task, "metric")
        shipped = manifest.metric - chosen.metric_drop
        figures.append(_figure(f"{shipped:.4f}", name, f"scikit-learn: {manifest.metric:.4f}"))
    if chosen.label_flips_below is not None:
        below = f"fewer than {chosen.label_flips_below:.2%} with 95 % confidence"
        figures.append(_figure(f"{chosen.label_flips:.2%}", "labels changed", below))
    allowed = f"allowed: {manifest.tolerance.max_difference:.1e}, {manifest.tolerance.preset}"
    figures.append(_figure(f"{chosen.worst_difference:.1e}", "worst difference to scikit-learn", allowed))
    if chosen.latency_us:
        rows, time = next(iter(chosen.latency_us.items()))
        figures.append(_figure(f"{time:.1f} µs", f"for {rows} row{'s' * (rows != '1')}", _size(chosen.bytes)))
    if len(manifest.lineage.metrics) <= REPORTED_MAX:
        source = "reported by the author"
        figures += [_figure(f"{value:.4g}", name, source) for name, value in manifest.lineage.metrics.items()]
    return figures


def _reported(manifest: Manifest) -> Html | None:
    """The author's own metrics as a line of text, if there are too many for tiles."""
    metrics = manifest.lineage.metrics
    if len(metrics) <= REPORTED_MAX:
        return None
    listed = ", ".join(f"{name} {value:.4g}" for name, value in metrics.items())
    return tag("p", text(f"Reported by the author: {listed}."))


def _figure(value: str, name: str, more: str) -> Html:
    return tag("div", tag("strong", text(value)), tag("span", text(name)), tag("small", text(more)))


def _size(size: int) -> str:
    return f"file of {size / 1e6:.1f} MB" if size >= 1e6 else f"file of {size / 1e3:.1f} kB"
