"""Columns of Arrow tables as the evaluator's arrays. Errors name the file and the column."""

from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from skylane.features.compiled import NUMBER, TEXT
from skylane.features.errors import SourceError
from skylane.features.evaluation.expressions import MISSING_TIME
from skylane.features.evaluation.rows import Array, Ints

_UTC: Final = pa.timestamp("us", tz="UTC")


def array(column: Any, kind: str, where: str, time_zone: str | None) -> Array:
    """A column as an array of a type of expressions."""
    if kind == NUMBER:
        return numbers(column, where)
    if kind == TEXT:
        return texts(column, where)
    return times(column, where, time_zone)


def numbers(column: Any, where: str) -> Array:
    """float64 with NaN for what is missing or not finite."""
    if not (_is_number(column.type) or pa.types.is_boolean(column.type) or pa.types.is_null(column.type)):
        raise SourceError(f"{where}: expected numbers, received {column.type}: write text(...) or time(...) for it")
    try:
        filled = column.cast(pa.int8()) if pa.types.is_boolean(column.type) else column
        values = np.array(pc.fill_null(filled.cast(pa.float64()), float("nan")).to_numpy(), np.float64) + 0.0
    except pa.ArrowInvalid as error:
        raise SourceError(f"{where}: expected whole numbers of at most 2**53 in size: {error}") from None
    values[~np.isfinite(values)] = np.nan
    return values


def texts(column: Any, where: str) -> Array:
    """Objects with None for what is missing."""
    column = column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column
    if not is_text(column.type):
        raise SourceError(f"{where}: expected texts, received {column.type}: write col(...) or time(...) for it")
    return np.array(column.to_numpy(zero_copy_only=False), object)


def times(column: Any, where: str, time_zone: str | None) -> Ints:
    """Microseconds since 1970, or MISSING_TIME. Those without a zone are in `time_zone`, or refused."""
    if is_text(column.type):
        column = _parsed(column, where, time_zone)
    if not pa.types.is_timestamp(column.type):
        raise SourceError(f"{where}: expected times, received {column.type}")
    if column.type.tz is None:
        column = _in_zone(column, where, time_zone)
    micros = pc.fill_null(column.cast(_UTC, safe=False).cast(pa.int64()), MISSING_TIME)
    return np.array(micros.to_numpy(), np.int64)


def _parsed(column: Any, where: str, time_zone: str | None) -> Any:
    try:
        return column.cast(_UTC)
    except pa.ArrowInvalid as error:
        if time_zone is None:
            raise SourceError(
                f"{where}: expected times in ISO 8601 with a zone, such as 2013-07-01T18:03:00Z, or time_zone of the "
                f"source: {error}"
            ) from None
    try:
        return column.cast(pa.timestamp("us"))
    except pa.ArrowInvalid as error:
        raise SourceError(f"{where}: expected times in ISO 8601, all with a zone or all without: {error}") from None


def _in_zone(column: Any, where: str, time_zone: str | None) -> Any:
    if time_zone is None:
        raise SourceError(
            f"{where}: expected times with a zone, received {column.type}: write the zone into the file, or say which "
            "clocks show these times, such as Parquet(path, time_zone='America/New_York')"
        )
    try:
        return pc.assume_timezone(column, time_zone)
    except pa.ArrowInvalid as error:
        raise SourceError(
            f"{where}: expected times that clocks in {time_zone} show once: {error}; write such times with their "
            "offset from UTC"
        ) from None


def _is_number(kind: Any) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def is_text(kind: Any) -> bool:
    """Also what polars exports."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))
