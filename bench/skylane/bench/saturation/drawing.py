"""A few shapes as SVG text: what `skylane.bench.saturation.plots` draws with. Follows the reader's light or dark
scheme.

matplotlib would be 30 MB for three pictures of bars and dots, and its files differ from version to version.
"""

from html import escape
from typing import Final, Literal

STYLE: Final = """\
text{font:12px system-ui,sans-serif;fill:#24292f}.title{font-size:15px;font-weight:600}.soft{fill:#6e7781}
.strong{font-weight:600}.ours{fill:#0969da}.other{fill:#afb8c1}.bad{fill:#cf222e}.rule{stroke:#d0d7de;fill:none}
.bound{stroke:#cf222e;stroke-dasharray:4 3}.range{stroke:#afb8c1;stroke-width:3;stroke-linecap:round}
.range.ours{stroke:#0969da}.path{stroke:#0969da;stroke-width:2;fill:none}.page{fill:#fff}
@media(prefers-color-scheme:dark){text{fill:#e6edf3}.soft{fill:#8d96a0}.ours{fill:#4493f8}.other{fill:#6e7681}
.bad{fill:#f85149}.rule{stroke:#30363d}.bound{stroke:#f85149}.range{stroke:#6e7681}.range.ours{stroke:#4493f8}
.path{stroke:#4493f8}.page{fill:#0d1117}}"""
"""Classes: `ours` is emphasised, `other` is not, `bound` is the line that should not be crossed."""

Anchor = Literal["start", "middle", "end"]


class Drawing:
    """Shapes in the order in which they are drawn. Units are pixels, from the top left."""

    def __init__(self, width: float, height: float, title: str) -> None:
        self._size, self._title = (width, height), title
        self._shapes: list[str] = []
        self.rect(0, 0, width, height, "page")
        self.text(16, 26, title, "title")

    def text(self, x: float, y: float, text: str, look: str = "", anchor: Anchor = "start") -> None:
        """A line of text on the base line y."""
        self._add("text", f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"', look, escape(text))

    def rect(self, x: float, y: float, width: float, height: float, look: str) -> None:
        """A filled rectangle; at least a pixel wide, so that a small value is seen."""
        self._add("rect", f'x="{x:.1f}" y="{y:.1f}" width="{max(width, 1):.1f}" height="{height:.1f}"', look)

    def line(self, x1: float, y1: float, x2: float, y2: float, look: str) -> None:
        """A straight line."""
        self._add("line", f'x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"', look)

    def dot(self, x: float, y: float, look: str, radius: float = 4) -> None:
        """A filled circle."""
        self._add("circle", f'cx="{x:.1f}" cy="{y:.1f}" r="{radius:g}"', look)

    def path(self, points: list[tuple[float, float]]) -> None:
        """A line through the points."""
        self._add("polyline", f'points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in points)}"', "path")

    def svg(self) -> str:
        """The file's content."""
        width, height = self._size
        head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:g}" height="{height:g}" '
        head += f'viewBox="0 0 {width:g} {height:g}" role="img"><title>{escape(self._title)}</title>'
        return "\n".join([head, f"<style>{STYLE}</style>", *self._shapes, "</svg>\n"])

    def _add(self, element: str, attributes: str, look: str, content: str = "") -> None:
        known = f' class="{look}"' if look else ""
        self._shapes.append(f"<{element} {attributes}{known}>{content}</{element}>")
