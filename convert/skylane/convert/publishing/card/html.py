"""Text → HTML. Everything that comes from a manifest goes through here and is escaped. Pure."""

from collections.abc import Iterable
from html import escape
from typing import Final, NewType

Html = NewType("Html", str)
"""Text that is markup already."""

EMPTY: Final = Html("")


def text(value: object) -> Html:
    """Any value as text."""
    return Html(escape(str(value)))


def tag(name: str, *children: Html | None, **attributes: object) -> Html:
    """An element. Its children are markup: text becomes that by `text`.

    Attributes are escaped here. They are written with `_` for `-`, and `class_` for `class`; None leaves one out.
    """
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(str(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    return Html(f"<{name}{given}>{''.join(child for child in children if child)}</{name}>")


def joined(parts: Iterable[Html]) -> Html:
    """One after the other."""
    return Html("\n".join(parts))


def table(headings: Iterable[str], rows: Iterable[Iterable[Html]], numbers: frozenset[int] = frozenset()) -> Html:
    """A table; columns with these places hold numbers, and end at the right. A row may carry a class of its own."""
    return table_of(headings, ((None, list(row)) for row in rows), numbers)


def table_of(
    headings: Iterable[str], rows: Iterable[tuple[str | None, list[Html]]], numbers: frozenset[int] = frozenset()
) -> Html:
    """The same for rows with a class."""

    def kind(place: int) -> str | None:
        return "number" if place in numbers else None

    head = tag("tr", *(tag("th", text(name), class_=kind(place)) for place, name in enumerate(headings)))
    body = (
        tag("tr", *(tag("td", value, class_=kind(place)) for place, value in enumerate(row)), class_=name)
        for name, row in rows
    )
    return tag("div", tag("table", tag("thead", head), tag("tbody", joined(body))), class_="wide")
