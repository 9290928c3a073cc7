"""Numbers as tables and pictures show them. Pure."""


def number(value: float) -> str:
    """Three significant digits or all before the point: 0.123, 4.57, 57.1, 12,345."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def ratio_text(ratio: float) -> str:
    """A ratio as people say it: 1/13 or 1/13.2 up to one half, else 0.87."""
    return f"1/{1 / ratio:.1f}".removesuffix(".0") if 0 < ratio <= 0.5 else f"{ratio:.2f}"
