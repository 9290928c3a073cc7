"""Instants on the command line and on the page: always with a zone. Pure."""

import re
from datetime import UTC, datetime
from typing import Final

from skylane.policy import duration_s

_AGO: Final = re.compile(r"[1-9][0-9]*[smhd]")


def instant_us(text: str) -> int:
    """Microseconds since 1970 of an ISO 8601 text with a zone. Raises ValueError saying what was expected."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"expected an instant such as 2013-07-01T18:00:00Z, received {text!r}") from None
    if at.tzinfo is None:
        raise ValueError(
            f"expected an instant with a zone, such as {text}Z or {text}+02:00; received {text!r} without one"
        )
    return round(at.timestamp() * 1e6)


def since_us(text: str, now: int) -> int:
    """The same, or a duration before now: 14d, 6h; a date is midnight UTC."""
    if _AGO.fullmatch(text):
        return now - duration_s(text) * 1_000_000
    if re.fullmatch(r"\d{4}-\d{2}-\d{2}", text):
        text += "T00:00:00Z"
    return instant_us(text)


def from_us(us: int) -> datetime:
    """An aware datetime in UTC."""
    return datetime.fromtimestamp(us // 1_000_000, UTC).replace(microsecond=us % 1_000_000)
