"""A self-contained HTML page: no scripts, no other files, light and dark."""

from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path

from skylane.bench.lab.record import RunRecord
from skylane.convert.publishing import card
from skylane.convert.publishing.card.html import Html, tag, text


def document(title: str, sections: Sequence[Html], style: str = "") -> str:
    """The whole file."""
    sheets = (files(card) / "card.css", Path(__file__).with_name("page.css"))
    head = tag(
        "head",
        Html('<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'),
        tag("title", text(title)),
        tag("style", Html("".join(sheet.read_text("utf-8") for sheet in sheets) + style)),
    )
    body = tag("body", tag("div", *sections, class_="skylane-card"))
    return f'<!doctype html>\n<html lang="en">{head}{body}</html>\n'


def conditions(run: RunRecord) -> dict[str, str]:
    """On what it was measured, and with which settings: name → value."""
    machine = run.machine
    numbered = (f"{name} {version}" for name, version in run.libraries.items() if version[0].isdigit())
    return {
        "machine": f"{machine.cores} cores, {machine.cpu}, {machine.memory_mib:,.0f} MiB, {machine.kernel}",
        "load before": f"{machine.load_before:g} processes wanted a core in the minute before",
        "Python": machine.python,
        "libraries": ", ".join(numbered),
        "settings": ", ".join(f"{name} {value}" for name, value in run.settings.items() if value is not None),
        "took": f"{run.took_s:g} s",
    }


def definitions(facts: Mapping[str, str]) -> Html:
    """A list of names and values."""
    return tag(
        "dl", *(part for name, value in facts.items() for part in (tag("dt", text(name)), tag("dd", text(value))))
    )


def minute(started_at: str) -> str:
    """An instant in ISO 8601 to the minute, for people."""
    return started_at.replace("T", " ")[:16]
