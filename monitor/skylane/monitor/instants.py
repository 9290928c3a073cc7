"""Instants on the command line and on the page: always with a zone. Pure."""

import re
from datetime import UTC, date, datetime, time
from typing import Final

from skylane.policy import duration_s

_AGO: Final = re.compile(r"[1-9][0-9]*[smhd]")


def instant_us(text: str) -> int:
    """Microseconds since 1970 of an ISO 8601 text with a zone, or of a date, which is midnight UTC.

    Raises ValueError saying what was expected.
    """
    try:
        at = utc_midnight(text) or datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(
            "expected an instant such as 2013-07-01T18:00:00Z, or a date such as 2013-07-01 (midnight UTC), received "
            f"{text!r}"
        ) from None
    if at.tzinfo is None:
        raise ValueError(
            f"expected an instant with a zone, such as {text}Z or {text}+02:00; received {text!r} without one"
        )
    return round(at.timestamp() * 1e6)


def utc_midnight(text: str) -> datetime | None:
    """When this date begins in UTC; None for a text that is no date alone."""
    try:
        return datetime.combine(date.fromisoformat(text), time(tzinfo=UTC))
    except ValueError:
        return None


def since_us(text: str, now: int) -> int:
    """The same, or a duration before now: 14d, 6h."""
    if _AGO.fullmatch(text):
        return now - duration_s(text) * 1_000_000
    return instant_us(text)


def from_us(us: int) -> datetime:
    """An aware datetime in UTC."""
    return datetime.fromtimestamp(us // 1_000_000, UTC).replace(microsecond=us % 1_000_000)
