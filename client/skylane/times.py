"""Times in text. A time without a zone is refused by the name of its field. Pure."""

from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_SHOWN_MAX: Final = 60


def read_time(field: str, text: str, zone: ZoneInfo | None = None) -> int:
    """Microseconds since 1970 of a time in ISO 8601. Raises ValueError naming the field.

    `zone`: what a text without a zone is in; None: such a text is refused.
    """
    shown = repr(text if len(text) <= _SHOWN_MAX else text[:_SHOWN_MAX] + "…")
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(
            f"{field}: expected a time in ISO 8601 with a zone, such as 2013-07-01T18:03:00Z, received {shown}"
        ) from None
    return microseconds_of(field, at, zone)


def microseconds_of(field: str, at: datetime, zone: ZoneInfo | None = None) -> int:
    """Microseconds since 1970. Raises ValueError for a time without a zone, or that the zone's clocks do not show once.

    `zone`: what a time without a zone is in; None: such a time is refused.
    """
    if at.tzinfo is None and zone is not None:
        earlier, later = (at.replace(tzinfo=zone, fold=fold) for fold in (0, 1))
        if earlier.utcoffset() != later.utcoffset():
            raise ValueError(
                f"{field}: expected a time that clocks in {zone} show once, received {at.isoformat()}, when they "
                "change: write it with its offset from UTC"
            )
        at = earlier
    if at.tzinfo is None:
        raise ValueError(
            f"{field}: expected a time with a zone, such as 2013-07-01T18:03:00Z, received {at.isoformat()!r}"
        )
    return (at - EPOCH) // timedelta(microseconds=1)
