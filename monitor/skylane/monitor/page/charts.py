"""Charts as SVG text: curves with a band, and a heat map of columns × blocks. Pure.

Colours come from the page's style sheet, so that one picture serves light and dark.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from typing import Final

WIDTH: Final = 1000
HEIGHT: Final = 240
LEFT: Final = 54
RIGHT: Final = 8
TOP: Final = 10
BOTTOM: Final = 24
TICKS: Final = 4
DATES_MAX: Final = 9
CELL_HEIGHT: Final = 15
NAME_WIDTH: Final = 150


@dataclass(frozen=True)
class Point:
    """One block in the chart of curves. Values are None where there is nothing to show."""

    at: int
    """Start of the block, in microseconds since 1970."""
    looks: float | None
    """From the labels that were known when the block ended."""
    will_be: float | None
    """Corrected for the labels that are still to come."""
    low: float | None
    high: float | None
    """The interval of `will_be`."""
    words: str
    """What a reader sees who points at it."""
    alarm: bool = False


def curves(points: Sequence[Point], *, title: str) -> str:
    """Two curves over time, the interval of the second as a band, and a mark for each alarm."""
    values = [value for point in points for value in (point.looks, point.will_be, point.low, point.high)]
    present = [value for value in values if value is not None and math.isfinite(value)]
    if not points or not present:
        return '<p class="soft">No block has labels yet.</p>'
    ticks = nice_ticks(min(present), max(present))
    low, high = min(ticks[0], *present), max(ticks[-1], *present)
    x = _places(len(points))

    def y(value: float) -> float:
        return TOP + (HEIGHT - TOP - BOTTOM) * (1 - (value - low) / ((high - low) or 1.0))

    parts = [_svg(HEIGHT, title)]
    for tick in ticks:
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(tick):.1f}" y2="{y(tick):.1f}"/>')
        parts.append(f'<text class="axis" x="{LEFT - 6}" y="{y(tick) + 4:.1f}" text-anchor="end">{tick:g}</text>')
    parts += _dates([point.at for point in points], x, HEIGHT - 6)
    for run in _runs(points, lambda point: point.low is not None and point.high is not None):
        upper = [f"{x[i]:.1f},{y(points[i].high or 0.0):.1f}" for i in run]
        if len(run) == 1:
            parts.append(f'<path class="bar" d="M{upper[0]}V{y(points[run[0]].low or 0.0):.1f}"/>')
            continue
        lower = [f"{x[i]:.1f},{y(points[i].low or 0.0):.1f}" for i in reversed(run)]
        parts.append(f'<polygon class="band" points="{" ".join(upper + lower)}"/>')
    parts += _lines(points, x, y, "looks", "second")
    parts += _lines(points, x, y, "will_be", "first")
    step = (WIDTH - LEFT - RIGHT) / max(len(points), 1)
    for i, point in enumerate(points):
        if point.alarm:
            parts.append(f'<path class="mark" d="M{x[i]:.1f} {TOP + 9}l-5 -9h10z"/>')
        parts.append(
            f'<rect class="point" x="{x[i] - step / 2:.1f}" y="{TOP}" width="{step:.1f}" '
            f'height="{HEIGHT - TOP - BOTTOM}"><title>{escape(point.words)}</title></rect>'
        )
    return "".join(parts) + "</svg>"


def _lines(
    points: Sequence[Point], x: Sequence[float], y: Callable[[float], float], name: str, style: str
) -> Iterator[str]:
    for run in _runs(points, lambda point: getattr(point, name) is not None):
        corners = [f"{x[i]:.1f} {y(getattr(points[i], name)):.1f}" for i in run]
        if len(run) == 1:
            corners.append(corners[0])  # with round caps, a line of no length is a dot
        yield f'<path class="{style}" d="M{"L".join(corners)}"/>'


def heat_map(columns: Sequence[str], blocks: Sequence[int], cells: Sequence[Sequence[tuple[int, str] | None]]) -> str:
    """A row for each column, a cell for each block: a shade from 0 to 4, with words for who points at it."""
    if not columns or not blocks:
        return '<p class="soft">No block has enough rows yet.</p>'
    height = CELL_HEIGHT * len(columns) + BOTTOM
    step = (WIDTH - NAME_WIDTH - RIGHT) / len(blocks)
    parts = [_svg(height, "Drift of each column in each block, beside the reference", style="heat")]
    for row, (name, values) in enumerate(zip(columns, cells, strict=True)):
        top = row * CELL_HEIGHT
        shown = name if len(name) <= 20 else name[:19] + "…"
        parts.append(f'<text class="axis" x="{NAME_WIDTH - 6}" y="{top + 11}" text-anchor="end">{escape(shown)}</text>')
        for place, cell in enumerate(values):
            if cell is None:
                continue
            shade, words = cell
            parts.append(
                f'<rect class="s{shade}" x="{NAME_WIDTH + place * step:.1f}" y="{top}" '
                f'width="{max(step - 0.5, 0.5):.1f}" height="{CELL_HEIGHT - 1}"><title>{escape(words)}</title></rect>'
            )
    centres = [NAME_WIDTH + (place + 0.5) * step for place in range(len(blocks))]
    return "".join(parts) + "".join(_dates(blocks, centres, height - 6)) + "</svg>"


def nice_ticks(low: float, high: float) -> list[float]:
    """Round numbers that cover a range: steps of 1, 2 or 5 times a power of ten."""
    size = max(abs(low), abs(high), 1e-3)
    if high - low < 1e-9 * size:
        low, high = low - 0.5 * size, high + 0.5 * size
    raw = (high - low) / TICKS
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(size * power for size in (1, 2, 5, 10) if size * power >= raw * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(place * step, 12) for place in range(first, last + 1)]


def _svg(height: int, title: str, style: str = "") -> str:
    return (
        f'<svg class="{style}" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(title)}" '
        'xmlns="http://www.w3.org/2000/svg">'
    )


def _places(count: int) -> list[float]:
    step = (WIDTH - LEFT - RIGHT) / max(count, 1)
    return [LEFT + (i + 0.5) * step for i in range(count)]


def _dates(blocks: Sequence[int], x: Sequence[float], y: float) -> Iterator[str]:
    every = max(1, math.ceil(len(blocks) / DATES_MAX))
    within_days = len(blocks) > 1 and blocks[1] - blocks[0] < 86_400_000_000
    for i in range(0, len(blocks), every):
        at = datetime.fromtimestamp(blocks[i] / 1e6, UTC)
        text = f"{at:%d %b %H:%M}" if within_days else f"{at:%d %b}"
        yield f'<text class="axis" x="{x[i]:.1f}" y="{y}" text-anchor="middle">{text}</text>'


def _runs(points: Sequence[Point], holds: Callable[[Point], bool]) -> Iterable[list[int]]:
    """Places of neighbouring points for which it holds."""
    run: list[int] = []
    for i, point in enumerate(points):
        if holds(point):
            run.append(i)
        elif run:
            yield run
            run = []
    if run:
        yield run
