"""Builds HTML. Everything that comes from a manifest is escaped here. Pure."""

from collections.abc import Iterable
from html import escape
from typing import Final, NewType

Html = NewType("Html", str)
"""Text that is already markup."""

EMPTY: Final = Html("")


def text(value: object) -> Html:
    """A value as escaped text."""
    return Html(escape(str(value)))


def tag(name: str, *children: Html | None, **attributes: object) -> Html:
    """An element. Its children are markup; use `text` for plain text.

    Attribute values are escaped. Names are written with `_` for `-`, and `class_` for `class`; None omits one.
    """
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(str(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    return Html(f"<{name}{written}>{''.join(child for child in children if child)}</{name}>")


def joined(parts: Iterable[Html]) -> Html:
    """The parts, one after another."""
    return Html("\n".join(parts))


def table(headings: Iterable[str], rows: Iterable[Iterable[Html]], numbers: frozenset[int] = frozenset()) -> Html:
    """A table; the columns at the positions in `numbers` are right-aligned."""
    return table_of(headings, ((None, list(row)) for row in rows), numbers)


def table_of(
    headings: Iterable[str], rows: Iterable[tuple[str | None, list[Html]]], numbers: frozenset[int] = frozenset()
) -> Html:
    """The same, for rows that have a CSS class each, or None."""

    def kind(place: int) -> str | None:
        return "number" if place in numbers else None

    head = tag("tr", *(tag("th", text(name), class_=kind(place)) for place, name in enumerate(headings)))
    body = (
        tag("tr", *(tag("td", value, class_=kind(place)) for place, value in enumerate(row)), class_=name)
        for name, row in rows
    )
    return tag("div", tag("table", tag("thead", head), tag("tbody", joined(body))), class_="wide")
