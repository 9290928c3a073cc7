"""Curves over axes as inline SVG: no scripts, colours from the page's style, sizes that a phone can show. Pure."""

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
TICKS_MAX: Final = 6
STEPS: Final = (1.0, 2.0, 5.0, 10.0)
"""Of a decade: where ticks may stand."""

Point = tuple[float, float]
Shown = Callable[[float], str]


@dataclass(frozen=True)
class Curve:
    """A line through points; None interrupts it."""

    points: Sequence[tuple[float, float | None]]
    look: str
    """Class in the page's style."""
    name: str = ""
    """In the legend; curves that look alike share an entry."""


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


def chart(
    curves: Sequence[Curve],
    across: Axis,
    up: Axis,
    said: str,
    shown_across: Shown,
    shown_up: Shown,
    ticks_across: Sequence[float] | None = None,
) -> Html:
    """The curves over their axes. `said` is for those who do not see it."""
    drawn = []
    for value in up.ticks():
        y = _y(up, value)
        drawn.append(tag("line", x1=LEFT, y1=f"{y:.1f}", x2=RIGHT, y2=f"{y:.1f}", class_="axis"))
        drawn.append(tag("text", text(shown_up(value)), x=LEFT - 6, y=f"{y + 4:.1f}", text_anchor="end"))
    free_from = 0.0
    for value in across.ticks() if ticks_across is None else ticks_across:
        x, half = _x(across, value), len(shown_across(value)) * LETTER / 2
        anchor, left = ("end", x - 2 * half) if x + half > WIDTH else ("middle", x - half)
        if left < free_from:
            continue
        free_from = left + 2 * half + LETTER
        drawn.append(tag("line", x1=f"{x:.1f}", y1=BOTTOM, x2=f"{x:.1f}", y2=BOTTOM + 4, class_="axis"))
        drawn.append(tag("text", text(shown_across(value)), x=f"{x:.1f}", y=HEIGHT - 8, text_anchor=anchor))
    drawn += [
        tag("path", d=_path(piece, across, up), class_=f"curve {curve.look}")
        for curve in curves
        for piece in _pieces(curve.points)
    ]
    size = f"0 0 {WIDTH} {HEIGHT}"
    return tag("svg", joined(drawn), viewBox=size, width=WIDTH, height=HEIGHT, role="img", aria_label=said)


def figure(title: str, drawing: Html, curves: Sequence[Curve] = (), note: str = "") -> Html:
    """A drawing with its title above, and below what the curves are."""
    named = {curve.name: curve.look for curve in reversed(curves) if curve.name}
    keys = [tag("span", text(name), class_=f"key {look}") for name, look in reversed(named.items())]
    said = tag("figcaption", *keys, text(note)) if keys or note else None
    return tag("figure", tag("h3", text(title)), drawing, said)


def _pieces(points: Sequence[tuple[float, float | None]]) -> list[list[Point]]:
    pieces: list[list[Point]] = [[]]
    for x, y in points:
        if y is None:
            pieces.append([])
        else:
            pieces[-1].append((x, y))
    return [piece for piece in pieces if piece]


def _path(points: Sequence[Point], across: Axis, up: Axis) -> str:
    places = [f"{_x(across, x):.1f},{_y(up, y):.1f}" for x, y in points]
    if len(places) == 1:  # a line to itself is drawn as a dot
        places *= 2
    return "M" + "L".join(places)


def _x(axis: Axis, value: float) -> float:
    return LEFT + axis.at(value) * (RIGHT - LEFT)


def _y(axis: Axis, value: float) -> float:
    return BOTTOM - axis.at(value) * (BOTTOM - TOP)
