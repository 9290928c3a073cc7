"""The card's end: answers to hold a server against, how to call the model, and who made it from what. Pure."""

from collections.abc import Iterator
from itertools import islice

from skylane.convert.publishing.card.html import EMPTY, Html, joined, table, tag, text
from skylane.manifest import Manifest

UNKNOWN = "not recorded"


def golden(manifest: Manifest) -> Html:
    """The golden rows' answers: a server gives them before the version serves."""
    rows = max((len(answers) for answers in manifest.golden.outputs.values()), default=0)
    if not rows:
        return EMPTY
    names = list(manifest.golden.outputs)
    columns = [manifest.golden.outputs[name] for name in names]
    lines = ([text(row), *(text(_value(column[row])) for column in columns)] for row in range(rows))
    return tag(
        "section",
        tag("h2", text("Golden rows")),
        tag("p", text(f"A server asks about these {rows} rows before the version serves, and refuses other answers.")),
        tag("details", tag("summary", text("Their answers")), table(["row", *names], lines)),
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


def calling(manifest: Manifest) -> Html:
    """How a service asks."""
    rows = "frame  # a data frame with these columns" if manifest.columns else "rows  # an array, (rows, features)"
    if manifest.imported and not manifest.columns:
        named = ", ".join(f'"{spec.name}": …' for spec in manifest.tensors)
        rows = f"{{{named}}}  # arrays, a row each"
    given, _, comment = rows.partition("  ")
    wanted = next((spec.role for spec in manifest.outputs if spec.role != "other"), None)
    code = (
        "from skylane.client import Client\n\n"
        'with Client("localhost:8500") as client:\n'
        f'    answer = client.predict("{manifest.model}", {given})  {comment}\n'
        + (f"    answer.{wanted}" if wanted else f'    answer["{manifest.outputs[0].name}"]')
    )
    return tag("section", tag("h2", text("Call it")), tag("pre", tag("code", text(code))))


def made(manifest: Manifest) -> Html:
    """Lineage and versions."""
    origin = manifest.lineage
    facts = {
        "graph" if manifest.imported else "pipeline": origin.estimator,
        "its file, SHA-256": origin.pipeline_sha256,
        "opened": origin.loaded or UNKNOWN,
        "training data, SHA-256": origin.data_sha256 or UNKNOWN,
        "code revision": origin.code_revision or UNKNOWN,
        "timed on": origin.machine or UNKNOWN,
        "libraries": ", ".join(f"{name} {version}" for name, version in origin.libraries.items()) or UNKNOWN,
        "identity": manifest.identity,
    }
    if origin.copied_from:
        facts["copied from"] = ", ".join(f"{each.model} version {each.version}" for each in origin.copied_from)
    items = joined(Html(tag("dt", text(name)) + tag("dd", text(value))) for name, value in facts.items())
    return tag("section", tag("h2", text("Where it comes from")), tag("dl", items))
