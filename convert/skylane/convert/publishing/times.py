"""The times of rows in files and data frames → Unix time in seconds. Times without a time zone are refused."""

import re
from datetime import tzinfo
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
import pandas as pd

from skylane.convert.errors import BadArgument, BadRows
from skylane.convert.inspection.schema import Array

SECONDS: Final = (1e8, 1e11)
"""Numbers in this range are seconds since 1970, from 1973 to 5138."""
MILLISECONDS: Final = (1e11, 1e14)

UNITS_S: Final = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}


def seconds_of(values: "pd.Series[Any] | Array", zone: str | None, name: str) -> Array:
    """(n,) float64 Unix time in seconds.

    Takes instants with a zone, ISO 8601 texts with an offset or "Z", numbers of seconds or milliseconds since 1970,
    and times without a zone if `timezone` gives it ("Europe/Zurich"). If clocks are set back, a repeated hour counts as
    its first occurrence. `name` names the column in errors. Raises BadRows or BadArgument.
    """
    series = pd.Series(np.asarray(values) if not isinstance(values, pd.Series) else values).reset_index(drop=True)
    gaps = series.isna()
    if gaps.any():
        raise BadRows(f"{name}: row {int(gaps.to_numpy().argmax())} has no time; every row needs one")
    if pd.api.types.is_numeric_dtype(series.dtype):
        return _of_numbers(series.to_numpy(np.float64), name)
    try:
        instants = _instants(series, None if zone is None else _zone(zone))
    except (ValueError, TypeError, OverflowError) as error:
        raise BadRows(
            f"{name}: expected times such as 2026-05-03T12:00:00Z, received {str(series.iloc[0])!r}"
        ) from error
    if instants is None:
        raise BadRows(
            f"{name}: times such as {str(series.iloc[0])!r} have no time zone: name theirs with --timezone, such as "
            f"--timezone Europe/Zurich or --timezone UTC"
        )
    return np.asarray(
        instants.dt.tz_convert("UTC").dt.tz_localize(None).to_numpy("datetime64[us]").astype(np.int64) / 1e6
    )


def block_seconds(text: str) -> float:
    """Length of a block such as "1d", "6h" or "15m". Raises BadArgument."""
    match = re.fullmatch(r"([1-9][0-9]{0,5})([smhdw])", text)
    if match is None:
        raise BadArgument(f"block {text!r}: expected a length such as 1d, 6h or 15m")
    return int(match[1]) * UNITS_S[match[2]]


def _of_numbers(numbers: Array, name: str) -> Array:
    for (low, high), factor in ((SECONDS, 1.0), (MILLISECONDS, 1000.0)):
        if ((numbers >= low) & (numbers < high)).all():
            return np.asarray(numbers / factor)
    span = f"{numbers.min():g} to {numbers.max():g}"
    raise BadRows(f"{name}: expected seconds or milliseconds since 1970, received numbers from {span}")


def _instants(series: "pd.Series[Any]", zone: tzinfo | None) -> "pd.Series[Any] | None":
    """The times with a zone; None if they have none and none is given."""
    if not pd.api.types.is_datetime64_any_dtype(series.dtype):
        texts = series.astype(str)
        aware = texts.str.contains(r"(?:Z|[+-]\d{2}:?\d{2})$", regex=True)
        if aware.all():
            instants: pd.Series[Any] = pd.to_datetime(texts, utc=True, format="ISO8601")
            return instants
        if aware.any():
            raise ValueError("some have a zone and some have none")
        series = pd.to_datetime(texts, format="ISO8601")
    if getattr(series.dtype, "tz", None) is not None:
        return series
    if zone is None:
        return None
    first = np.ones(len(series), np.bool_)
    localized: pd.Series[Any] = series.dt.tz_localize(zone, ambiguous=first, nonexistent="shift_forward")
    return localized


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise BadArgument(f"time zone {name!r} is not known: expected a name such as Europe/Zurich or UTC") from error
