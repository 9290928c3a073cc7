"""Times of events from a column of the inputs: always instants, never clock times without a zone."""

from datetime import UTC, datetime
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

TIME: Final = pa.timestamp("us", "UTC")
SECONDS_MAX: Final = 2.0**37
"""Larger numbers are not seconds since 1970: they would be later than the year 6000."""


def event_times(values: Any) -> tuple[pa.Array, int]:
    """The instants, null where there is none, and how many values are no instants: other texts, no zone, no seconds."""
    array = values if isinstance(values, pa.Array) else pa.array(values, from_pandas=True)
    if pa.types.is_timestamp(array.type):
        known = len(array) - array.null_count
        return (array.cast(TIME), 0) if array.type.tz else (pa.nulls(len(array), TIME), known)
    if pa.types.is_integer(array.type) or pa.types.is_floating(array.type):
        numbers = array.cast(pa.float64())
        usable = pc.less(pc.abs(numbers), SECONDS_MAX).fill_null(False)
        micros = pc.if_else(usable, pc.round(pc.multiply(numbers, 1e6)), None).cast(pa.int64())
        return micros.cast(TIME), _refused(array, micros)
    encoded = array.cast(pa.string()).dictionary_encode()
    instants = pa.array([_instant(text) for text in encoded.dictionary.to_pylist()], TIME).take(encoded.indices)
    return instants, _refused(array, instants)


def _refused(values: pa.Array, instants: pa.Array) -> int:
    return int(instants.null_count - values.null_count)


def _instant(text: str) -> datetime | None:
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        return None
    return None if instant.tzinfo is None else instant.astimezone(UTC)
