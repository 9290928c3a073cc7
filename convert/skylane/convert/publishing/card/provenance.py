"""The model card's last sections: golden rows, an example call, and the version's lineage. Pure."""

from collections.abc import Iterator
from itertools import islice

from skylane.convert.publishing.card.html import EMPTY, Html, joined, table, tag, text
from skylane.manifest import Manifest

UNKNOWN = "not recorded"


def golden_rows(manifest: Manifest) -> Html:
    """The answers to the golden rows, which a server must reproduce before it serves the version."""
    rows = max((len(answers) for answers in manifest.golden.outputs.values()), default=0)
    if not rows:
        return EMPTY
    names = list(manifest.golden.outputs)
    columns = [manifest.golden.outputs[name] for name in names]
    lines = ([text(row), *(text(_value(column[row])) for column in columns)] for row in range(rows))
    return tag(
        "section",
        tag("h2", text("Golden rows")),
        tag(
            "p",
            text(
                f"A server runs these {rows} rows before it serves the version, and refuses it if the answers differ."
            ),
        ),
        tag("details", tag("summary", text("Expected answers")), table(["row", *names], lines)),
    )


def _value(value: object) -> str:
    values = list(islice(_flat(value), 7))  # one more than is shown
    shown = [f"{each:.6g}" if isinstance(each, float) else "missing" if each is None else str(each) for each in values]
    return ", ".join(shown[:6]) + (" …" if len(shown) > 6 else "")


def _flat(value: object) -> Iterator[object]:
    """The values of a row of any number of dimensions."""
    if isinstance(value, list):
        for each in value:
            yield from _flat(each)
    else:
        yield value


def call_example(manifest: Manifest) -> Html:
    """An example call with the Python client."""
    rows = "frame  # a data frame with these columns" if manifest.columns else "rows  # an array, (rows, features)"
    if manifest.imported and not manifest.columns:
        named = ", ".join(f'"{spec.name}": …' for spec in manifest.tensors)
        rows = f"{{{named}}}  # arrays, a row each"
    argument, _, comment = rows.partition("  ")
    role = next((spec.role for spec in manifest.outputs if spec.role != "other"), None)
    code = (
        "from skylane.client import Client\n\n"
        'with Client("localhost:8500") as client:\n'
        f'    answer = client.predict("{manifest.model}", {argument})  {comment}\n'
        + (f"    answer.{role}" if role else f'    answer["{manifest.outputs[0].name}"]')
    )
    return tag("section", tag("h2", text("Call it")), tag("pre", tag("code", text(code))))


def provenance(manifest: Manifest) -> Html:
    """Where the version comes from: estimator, hashes, code revision, libraries."""
    origin = manifest.lineage
    facts = {
        "graph" if manifest.imported else "pipeline": origin.estimator,
        "file, SHA-256": origin.pipeline_sha256,
        "loaded as": origin.loaded or UNKNOWN,
        "training data, SHA-256": origin.data_sha256 or UNKNOWN,
        "code revision": origin.code_revision or UNKNOWN,
        "timed on": origin.machine or UNKNOWN,
        "libraries": ", ".join(f"{name} {version}" for name, version in origin.libraries.items()) or UNKNOWN,
        "identity": manifest.identity,
    }
    if origin.copied_from:
        facts["copied from"] = ", ".join(f"{each.model} version {each.version}" for each in origin.copied_from)
    items = joined(Html(tag("dt", text(name)) + tag("dd", text(value))) for name, value in facts.items())
    return tag("section", tag("h2", text("Provenance")), tag("dl", items))
