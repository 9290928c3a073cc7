"""Pictures as SVG: shapes, and curves over axes. Inline in a page, or as a file of its own; no scripts. Pure.

matplotlib would be 30 MB for a few bars, dots and lines, and its files differ from version to version.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil, floor, log10
from typing import Final

from skylane.convert.publishing.card.html import Html, joined, tag, text

WIDTH: Final = 460
HEIGHT: Final = 230
LEFT: Final = 66
RIGHT: Final = WIDTH - 12
TOP: Final = 14
BOTTOM: Final = HEIGHT - 26
LETTER: Final = 7.5
"""About the width of one; labels keep that far apart."""
TITLE: Final = 40
"""Height of the label above a drawing in a file."""
FILE_STYLE: Final = """\
text{font:12px system-ui,sans-serif;fill:#24292f}.title{font-size:15px;font-weight:600}.soft{fill:#6e7781}
.strong{font-weight:600}.ours{fill:#0969da}.other{fill:#afb8c1}.bad{fill:#cf222e}.axis{stroke:#d0d7de}
.bound{stroke:#cf222e;stroke-dasharray:4 3}.range{stroke:#afb8c1;stroke-width:3;stroke-linecap:round}
.range.ours{stroke:#0969da}.curve{stroke:#0969da;stroke-width:2;fill:none}.page{fill:#fff}
@media(prefers-color-scheme:dark){text{fill:#e6edf3}.soft{fill:#8d96a0}.ours{fill:#4493f8}.other{fill:#6e7681}
.bad{fill:#f85149}.axis{stroke:#30363d}.bound{stroke:#f85149}.range{stroke:#6e7681}.range.ours{stroke:#4493f8}
.curve{stroke:#4493f8}.page{fill:#0d1117}}"""
"""Of drawings in files: `ours` is emphasised, `other` is not, `bound` is the line that should not be crossed."""
TICKS_MAX: Final = 6
STEPS: Final = (1.0, 2.0, 5.0, 10.0)
"""Of a decade: where ticks may stand."""

Point = tuple[float, float]
Shown = Callable[[float], str]


@dataclass(frozen=True)
class Curve:
    """A line through points; None interrupts it."""

    points: Sequence[tuple[float, float | None]]
    css_class: str
    """Class in the page's style."""
    name: str = ""
    """In the legend; curves that css_class alike share an entry."""


@dataclass(frozen=True)
class Axis:
    """Values from `low` to `high`, which differ, and where they lie between 0 and 1."""

    low: float
    high: float
    log: bool = False

    def at(self, value: float) -> float:
        """0 for `low`, 1 for `high`; beyond that for what lies beyond."""
        if self.log:
            return log10(value / self.low) / log10(self.high / self.low)
        return (value - self.low) / (self.high - self.low)

    def ticks(self) -> list[float]:
        """Round values in it, a few."""
        return self._decades() if self.log else self._even()

    def _even(self) -> list[float]:
        span = self.high - self.low
        power = 10.0 ** floor(log10(span / TICKS_MAX))
        step = next(power * each for each in STEPS if span / (power * each) <= TICKS_MAX)
        first = ceil(self.low / step - 1e-9)
        return [step * place for place in range(first, floor(self.high / step + 1e-9) + 1)]

    def _decades(self) -> list[float]:
        powers = range(floor(log10(self.low)), ceil(log10(self.high)) + 1)
        within = [
            [step * 10.0**power for power in powers for step in steps if self.low <= step * 10.0**power <= self.high]
            for steps in (STEPS[:3], STEPS[:1])
        ]
        return within[0] if len(within[0]) <= TICKS_MAX else within[1]


def from_zero(values: Sequence[float]) -> Axis:
    """An axis from 0 to a little above the greatest value."""
    return Axis(0.0, max((*values, 1e-9)) * 1.08)


def around(values: Sequence[float]) -> Axis:
    """A logarithmic axis with all values, which are above 0, and never less than a decade."""
    low, high = min(values) / 1.15, max(values) * 1.15
    middle = (low * high) ** 0.5
    return Axis(min(low, middle / 10**0.5), max(high, middle * 10**0.5), log=True)


class Drawing:
    """Shapes, in the order in which they are drawn. Pixels from the top left; `css_class` is a class of the style."""

    def __init__(self, width: float, height: float, label: str) -> None:
        """`label` is for those who do not see it."""
        self._width, self._height, self._label = width, height, label
        self._shapes: list[Html] = []

    def text(self, x: float, y: float, content: str, css_class: str | None = None, anchor: str = "start") -> None:
        """A line of text on the base line y."""
        self._shapes.append(
            tag("text", text(content), x=f"{x:.1f}", y=f"{y:.1f}", text_anchor=anchor, class_=css_class or None)
        )

    def rect(self, x: float, y: float, width: float, height: float, css_class: str) -> None:
        """A filled rectangle; at least a pixel wide, so that a small value is seen."""
        size = {"width": f"{max(width, 1):.1f}", "height": f"{height:.1f}"}
        self._shapes.append(tag("rect", x=f"{x:.1f}", y=f"{y:.1f}", **size, class_=css_class))

    def line(self, x1: float, y1: float, x2: float, y2: float, css_class: str) -> None:
        """A straight line."""
        ends = {"x1": f"{x1:.1f}", "y1": f"{y1:.1f}", "x2": f"{x2:.1f}", "y2": f"{y2:.1f}"}
        self._shapes.append(tag("line", **ends, class_=css_class))

    def dot(self, x: float, y: float, css_class: str, radius: float = 4) -> None:
        """A filled circle."""
        self._shapes.append(tag("circle", cx=f"{x:.1f}", cy=f"{y:.1f}", r=f"{radius:g}", class_=css_class))

    def path(self, points: Sequence[Point], css_class: str) -> None:
        """A line through the points; a single one is drawn as a dot."""
        places = [f"{x:.1f},{y:.1f}" for x, y in points]
        self._shapes.append(tag("path", d="M" + "L".join(places * 2 if len(places) == 1 else places), class_=css_class))

    def inline(self) -> Html:
        """As a part of a page, whose style it follows."""
        size = {"viewBox": f"0 0 {self._width:g} {self._height:g}", "width": f"{self._width:g}"}
        return tag("svg", joined(self._shapes), **size, height=f"{self._height:g}", role="img", aria_label=self._label)

    def file(self) -> str:
        """As a file of its own, below its label. Follows the reader's light or dark scheme."""
        height = self._height + TITLE
        size = f'width="{self._width:g}" height="{height:g}" viewBox="0 {-TITLE} {self._width:g} {height:g}"'
        page = tag("rect", x=0, y=-TITLE, width=f"{self._width:g}", height=f"{height:g}", class_="page")
        title = tag("text", text(self._label), x=16, y=26 - TITLE, class_="title")
        head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">{tag("title", text(self._label))}'
        return "\n".join([head, f"<style>{FILE_STYLE}</style>", page, title, *self._shapes, "</svg>\n"])


def chart(
    curves: Sequence[Curve],
    across: Axis,
    up: Axis,
    label: str,
    shown_across: Shown,
    shown_up: Shown,
    ticks_across: Sequence[float] | None = None,
) -> Drawing:
    """The curves over their axes."""
    drawing = Drawing(WIDTH, HEIGHT, label)
    for value in up.ticks():
        y = _y(up, value)
        drawing.line(LEFT, y, RIGHT, y, "axis")
        drawing.text(LEFT - 6, y + 4, shown_up(value), anchor="end")
    free_from = 0.0
    for value in across.ticks() if ticks_across is None else ticks_across:
        x, half = _x(across, value), len(shown_across(value)) * LETTER / 2
        anchor, left = ("end", x - 2 * half) if x + half > WIDTH else ("middle", x - half)
        if left < free_from:
            continue
        free_from = left + 2 * half + LETTER
        drawing.line(x, BOTTOM, x, BOTTOM + 4, "axis")
        drawing.text(x, HEIGHT - 8, shown_across(value), anchor=anchor)
    for curve in curves:
        for piece in _pieces(curve.points):
            drawing.path([(_x(across, x), _y(up, y)) for x, y in piece], f"curve {curve.css_class}")
    return drawing


def figure(title: str, drawing: Html, curves: Sequence[Curve] = (), note: str = "") -> Html:
    """A drawing with its title above, and below what the curves are."""
    named = {curve.name: curve.css_class for curve in reversed(curves) if curve.name}
    keys = [tag("span", text(name), class_=f"key {css_class}") for name, css_class in reversed(named.items())]
    caption = tag("figcaption", *keys, text(note)) if keys or note else None
    return tag("figure", tag("h3", text(title)), drawing, caption)


def _pieces(points: Sequence[tuple[float, float | None]]) -> list[list[Point]]:
    pieces: list[list[Point]] = [[]]
    for x, y in points:
        if y is None:
            pieces.append([])
        else:
            pieces[-1].append((x, y))
    return [piece for piece in pieces if piece]


def _x(axis: Axis, value: float) -> float:
    return LEFT + axis.at(value) * (RIGHT - LEFT)


def _y(axis: Axis, value: float) -> float:
    return BOTTOM - axis.at(value) * (BOTTOM - TOP)
