"""Histograms and bar charts as inline SVG, without scripts or external files; the page's CSS colours them. Pure."""

from collections.abc import Collection, Mapping
from typing import Final

from skylane.convert.publishing.card.html import Html, joined, tag, text
from skylane.profile import Bins

SMALL: Final = (150, 34)
LARGE: Final = (300, 110)
"""Width and height of a histogram, in pixels."""

BAR: Final = 22
"""Height of one bar with its label, in pixels."""
BARS_WIDTHS: Final = (560, 170)
"""Widths of a bar chart and of the labels in it, in pixels."""


def histogram(bins: Bins, size: tuple[int, int] = SMALL, *, axis: bool = False) -> Html:
    """Each bar is as wide as its bin and as high as its density, so equal areas stand for equal numbers of rows."""
    width, height = size
    low, high = bins.edges[0], bins.edges[-1]
    span = high / 2 - low / 2  # halves, for the whole may be beyond what a number holds
    edges = [(edge / 2 - low / 2) / span for edge in bins.edges] if span > 0 else _even_edges(len(bins.counts))
    narrowest = 1.0 / width
    densities = [
        count / max(right - left, narrowest)
        for count, left, right in zip(bins.counts, edges[:-1], edges[1:], strict=True)
    ]
    top = max(densities) or 1.0
    bars = (
        tag(
            "rect",
            tag("title", text(f"{shown(bins.edges[place])} to {shown(bins.edges[place + 1])}: {count} rows")),
            x=f"{left * width:.1f}",
            y=f"{height - density / top * height:.1f}",
            width=f"{max((right - left) * width - 0.5, 0.8):.1f}",
            height=f"{density / top * height:.1f}",
            class_="bar",
        )
        for place, (count, density, left, right) in enumerate(
            zip(bins.counts, densities, edges[:-1], edges[1:], strict=True)
        )
    )
    line = tag("line", x1=0, y1=height, x2=width, y2=height, class_="axis")
    labels = [
        tag("text", text(shown(low)), x=0, y=height + 14),
        tag("text", text(shown(high)), x=width, y=height + 14, text_anchor="end"),
    ]
    drawn = [*bars, line, *(labels if axis else [])]
    return _svg(width, height + (18 if axis else 1), joined(drawn), f"histogram from {shown(low)} to {shown(high)}")


def _even_edges(bins: int) -> list[float]:
    """Edges between 0 and 1 for bins whose own edges coincide in floating point."""
    return [0.4, 0.6] if bins == 1 else [place / bins for place in range(bins + 1)]


def bars(
    values: Mapping[str, float],
    unit: str,
    marked: str | None = None,
    faint: Collection[str] = frozenset(),
    widths: tuple[int, int] = BARS_WIDTHS,
) -> Html:
    """A horizontal bar for each value, with the value at its end; one may be highlighted, others greyed out."""
    top = max(values.values(), default=0.0) or 1.0
    width, label_width = widths
    room = width - label_width - 90
    drawn = []
    for place, (name, value) in enumerate(values.items()):
        y, length = place * BAR, max(value / top * room, 1.0)
        kind = "bar marked" if name == marked else "bar faint" if name in faint else "bar"
        drawn += [
            tag("text", text(clipped(name)), x=label_width - 8, y=y + 15, text_anchor="end"),
            tag("rect", x=label_width, y=y + 4, width=f"{length:.1f}", height=BAR - 8, rx=2, class_=kind),
            tag("text", text(f"{shown(value)}{unit}"), x=f"{label_width + length + 6:.1f}", y=y + 15),
        ]
    return _svg(width, len(values) * BAR + 2, joined(drawn), f"bars of {', '.join(list(values)[:8])}")


def clipped(name: str, length: int = 26) -> str:
    """A name, shortened to fit beside a bar."""
    return name if len(name) <= length else f"{name[: length - 1]}…"


def shown(number: float) -> str:
    """A number with four significant digits; whole numbers without decimals."""
    if abs(number) < 1e15 and number == int(number):
        return f"{int(number):,}"
    return f"{number:,.0f}" if 1000 <= abs(number) < 1e15 else f"{number:.4g}"


def _svg(width: int, height: int, content: Html, said: str) -> Html:
    return tag("svg", content, viewBox=f"0 0 {width} {height}", width=width, height=height, role="img", aria_label=said)
