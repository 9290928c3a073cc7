"""Instants in arguments of commands: never clock times without a zone. Pure."""

import re
from datetime import UTC, datetime, timedelta
from typing import Final

from skylane.monitor.instants import utc_midnight

_AGO: Final = re.compile(r"([1-9][0-9]{0,8})([smhd])")
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def parse_time(text: str, now: float) -> datetime:
    """An instant with a zone, a date (midnight UTC), or a duration before now such as 12h. Raises ValueError."""
    try:
        if match := _AGO.fullmatch(text):
            return datetime.fromtimestamp(now, UTC) - timedelta(**{_UNITS[match[2]]: int(match[1])})
        instant = utc_midnight(text) or datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        raise ValueError(f"expected a time such as 2013-06-01T18:00Z, 2013-06-01 or 12h, received {text!r}") from None
    if instant.tzinfo is None:
        raise ValueError(f"expected a time with a zone, such as {text}Z or {text}+02:00, received {text} without one")
    return instant.astimezone(UTC)


def time_text(instant: datetime | None) -> str:
    """An instant for people, in UTC to the second."""
    return "" if instant is None else instant.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")
