"""Outcomes in CSV and Parquet files → columns as in skylane.outcomes.SUBMISSION."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from skylane.outcomes import SUBMISSION
from skylane.outcomes.schema import TIME
from skylane.times import microseconds_of, read_time

TIMES: Final = ("event_at", "happened_at", "known_at")


class UnusableFile(Exception):
    """The file cannot be used; the message names it, or its column, and says what was expected."""


@dataclass
class OutcomeFile:
    """The outcomes of a file."""

    table: Any
    """Columns as in SUBMISSION."""
    problems: dict[int, str] = field(default_factory=dict)
    """Row, from 0 → why a value of it could not be read."""
    ignored: Sequence[str] = ()
    """Columns of the file that are not used."""


def read(path: Path, names: Mapping[str, str], zone: ZoneInfo | None) -> OutcomeFile:
    """The outcomes of a file. Raises UnusableFile.

    `names`: field → the file's column for it; a field without one has the column of its own name, if there is one.
    `zone`: what times without a zone are in; None: they are refused.
    """
    table = _table(path)
    columns = dict(names)
    for name in SUBMISSION.names:
        if name not in columns and name in table.column_names:
            columns[name] = name
    for name, column in columns.items():
        if column not in table.column_names:
            there = ", ".join(table.column_names)
            raise UnusableFile(f"{path}: expected a column {column!r} for {name}; the columns are {there}")
    read_file = OutcomeFile(None, ignored=[each for each in table.column_names if each not in columns.values()])
    made = [
        _read(field_.name, table[columns[field_.name]].combine_chunks(), zone, read_file.problems)
        if field_.name in columns
        else pa.nulls(len(table), field_.type)
        for field_ in SUBMISSION
    ]
    read_file.table = pa.table(made, schema=SUBMISSION)
    return read_file


def _table(path: Path) -> Any:
    try:
        if path.suffix.lower() in (".parquet", ".pq"):
            return pyarrow.parquet.read_table(path)
        with path.open("rb") as file:
            header = file.readline().decode("utf-8-sig").strip()
        kinds = {name.strip().strip('"'): pa.string() for name in header.split(",")}
        # Empty cells are gaps; every cell is text until its field is known, so that 0017 stays 0017.
        options = pyarrow.csv.ConvertOptions(column_types=kinds, strings_can_be_null=True, null_values=[""])
        return pyarrow.csv.read_csv(path, convert_options=options)
    except OSError as error:
        raise UnusableFile(f"{path}: {error.strerror or error}") from error
    except (pa.ArrowException, UnicodeDecodeError) as error:
        raise UnusableFile(f"{path}: expected CSV with column names in its first line, or .parquet: {error}") from error


def _read(name: str, column: Any, zone: ZoneInfo | None, problems: dict[int, str]) -> Any:
    """One column in the type of its field."""
    if isinstance(column, pa.ChunkedArray):
        column = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if name in TIMES:
        return _times(name, column, zone, problems)
    if name in ("row", "value"):
        return _numbers(name, column, problems)
    if pa.types.is_integer(column.type) or _is_text(column.type):
        return column.cast(pa.string())
    raise UnusableFile(f"{name}: expected a column of text or whole numbers, received {column.type}")


def _numbers(name: str, column: Any, problems: dict[int, str]) -> Any:
    kind, expected = (pa.uint32(), "a whole number from 0") if name == "row" else (pa.float64(), "a number")
    if _is_text(column.type):
        column = pc.utf8_trim_whitespace(column)
    elif not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
        raise UnusableFile(f"{name}: expected a column of numbers, received {column.type}")
    try:
        return column.cast(kind)
    except pa.ArrowInvalid:
        return _each(name, column, kind, problems, lambda value: pa.scalar(value).cast(kind).as_py(), expected)


def _times(name: str, column: Any, zone: ZoneInfo | None, problems: dict[int, str]) -> Any:
    if _is_text(column.type):
        return _each(name, column, TIME, problems, lambda text: read_time(name, text.strip(), zone))
    if not pa.types.is_timestamp(column.type):
        raise UnusableFile(f"{name}: expected a column of times or of text, received {column.type}")
    if column.type.tz is not None:
        return column.cast(TIME, safe=False)
    if zone is None:
        raise UnusableFile(
            f"{name}: expected times with a zone, received a column without: name theirs with --timezone, for example "
            "--timezone America/New_York"
        )
    try:
        return pc.assume_timezone(column.cast(pa.timestamp("us"), safe=False), str(zone)).cast(TIME)
    except pa.ArrowInvalid:  # some are ambiguous or do not exist
        return _each(name, column, TIME, problems, lambda at: microseconds_of(name, at, zone))


def _each(
    name: str, column: Any, kind: Any, problems: dict[int, str], read: Callable[[Any], Any], expected: str = ""
) -> Any:
    """The values one by one: those that cannot be read are problems of their rows."""
    values: list[Any] = []
    for row, value in enumerate(column.to_pylist()):
        try:
            values.append(None if value is None else read(value))
        except (ValueError, pa.ArrowException) as error:
            problems.setdefault(row, f"{name}: expected {expected}, received {value!r}" if expected else str(error))
            values.append(None)
    return pa.array(values, kind)


def _is_text(kind: Any) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))
