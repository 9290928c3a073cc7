"""The model card's section on an imported graph: its interface, and what was verified. Pure."""

from skylane.convert.publishing.card.html import EMPTY, Html, joined, table, tag, text
from skylane.convert.wording import shape_text
from skylane.manifest import Manifest, OutputSpec, TensorSpec


def imported_graph(manifest: Manifest) -> Html:
    """The graph's inputs and outputs and how it was verified; empty for a converted pipeline."""
    origin = manifest.imported
    if origin is None:
        return EMPTY
    rows = "rows of a sample" if origin.rows == "sample" else "random rows"
    independent = {
        True: "each got the same answer alone and in a batch",
        False: "their answers depend on each other, so requests must not share batches",
        None: "whether they are independent could not be verified",
    }[origin.rows_independent]
    verified = f"Verified on {origin.verified_rows} {rows}: {independent}."
    lines = [*(_row("input", spec) for spec in manifest.tensors), *(_row("output", spec) for spec in manifest.outputs)]
    return tag(
        "section",
        tag("h2", text("Imported graph")),
        tag("p", text(f"Imported from {origin.file} ({origin.source}). {verified}")),
        tag("ul", joined(tag("li", text(change)) for change in origin.changes)) if origin.changes else None,
        table(["", "name", "type", "shape"], lines),
    )


def _row(kind: str, spec: TensorSpec | OutputSpec) -> list[Html]:
    return [text(kind), text(spec.name), text(spec.dtype), text(shape_text(spec.shape))]
