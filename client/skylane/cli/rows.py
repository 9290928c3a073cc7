"""Parses rows from the command line, CSV or JSON into data for the client, typed by the model's schema. Pure."""

import csv
import difflib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np

from skylane.client.schema import AnyDType, Model
from skylane.dtypes import NUMPY

Columns = dict[str, list[Any]]

_BOOLEANS: Final = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


def from_rows(rows: Sequence[Sequence[str]], model: Model) -> Columns:
    """Rows of `name=value`. Raises ValueError for malformed pairs, unknown names and values of the wrong type."""
    _check_has_columns(model, "--row")
    records = []
    for pairs in rows:
        record: dict[str, Any] = {}
        for pair in pairs:
            name, equals, value = pair.partition("=")
            if not equals:
                raise ValueError(f"--row {pair!r}: expected NAME=VALUE")
            if name in record:
                raise ValueError(f"--row: {name!r} is given twice in one row; for another row, repeat --row")
            record[name] = value
        records.append(record)
    return _typed(records, model, "--row")


def from_csv(lines: Iterable[str], model: Model) -> tuple[Columns, list[str]]:
    """The model's columns of a file with a header, and the names of the other columns, which are ignored."""
    _check_has_columns(model, "--csv")
    reader = csv.DictReader(lines, strict=True)
    if not reader.fieldnames:
        raise ValueError("the CSV file is empty: expected a line of column names")
    columns = [column.name for column in model.columns]
    extra = [name for name in reader.fieldnames if name not in columns]
    if len(extra) == len(reader.fieldnames):
        raise ValueError(
            f"CSV: line 1, {','.join(reader.fieldnames)!r}, has none of the model's columns ({_listed(columns)}); "
            "names and values are separated by commas"
        )
    records = []
    try:
        for record in reader:
            if None in record or None in record.values():
                raise ValueError(f"CSV line {reader.line_num}: expected {len(reader.fieldnames)} fields, as in line 1")
            records.append({name: value for name, value in record.items() if name in columns})
    except csv.Error as error:
        raise ValueError(f"CSV line {reader.line_num}: {error}") from error
    if not records:
        raise ValueError("CSV: there are no rows below the line of column names")
    return _typed(records, model, "CSV"), extra


def from_json(text: str, model: Model) -> Any:
    """A dict of lists or of single values, a list of dicts, or arrays for the model's tensors."""
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"--json: {error}; to read a file, use --json - < FILE") from error
    tensors = {tensor.name: tensor.dtype for tensor in model.tensors}
    if isinstance(data, list) and data and all(isinstance(row, list) for row in data):
        if len(tensors) != 1:
            raise ValueError(f"--json: {model.name} takes the tensors {_listed(tensors)}: name them in a dict")
        return _array(*next(iter(tensors.items())), data)
    if isinstance(data, list) and data and all(isinstance(row, dict) for row in data):
        return _typed(data, model, "--json")
    if isinstance(data, dict) and data and any(_is_nested(values) for values in data.values()):
        unknown = [name for name in data if name not in tensors]
        if unknown:
            raise ValueError(f"--json: unknown tensor {unknown[0]!r}; the model takes {_listed(tensors)}")
        return {name: _array(name, tensors[name], values) for name, values in data.items()}
    if isinstance(data, dict) and data:
        columns = {name: values if isinstance(values, list) else [values] for name, values in data.items()}
        lengths = {name: len(values) for name, values in columns.items()}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"--json: columns differ in length: {lengths}")
        records = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        if not records:
            raise ValueError(f"--json: there are no rows: the lists of {_listed(columns)} are empty")
        return _typed(records, model, "--json")
    raise ValueError(
        "--json: expected a dict of lists, a list of dicts, or a list of rows; one row is [[…]], with two brackets"
    )


def slices(data: Any, rows_max: int) -> list[Any]:
    """Columns split into pieces of at most so many rows; other data are not split."""
    rows = len(next(iter(data.values()))) if isinstance(data, dict) else 0
    if rows <= rows_max:
        return [data]
    return [
        {name: values[start : start + rows_max] for name, values in data.items()} for start in range(0, rows, rows_max)
    ]


def _check_has_columns(model: Model, source: str) -> None:
    if not model.columns:
        tensors = _listed(f"{tensor.name!r} {tensor.dtype}" for tensor in model.tensors)
        raise ValueError(f"{source}: {model.name} takes no columns by name; use --json for {tensors}")


def _typed(records: Sequence[Mapping[str, Any]], model: Model, source: str) -> Columns:
    """Records as columns in the model's types. A name that only some records have is missing in the others."""
    dtypes = {column.name: column.dtype for column in model.columns}
    columns: Columns = {name: [] for record in records for name in record}
    for name in columns:
        if name not in dtypes:
            raise ValueError(f"{source}: unknown column {name!r}{_hint(name, dtypes)}; there are: {_listed(dtypes)}")
    for row, record in enumerate(records):
        for name, values in columns.items():
            try:
                values.append(_value(record.get(name), dtypes[name]))
            except (ValueError, TypeError, OverflowError):
                raise ValueError(
                    f"{source}: row {row}: {name}={record[name]!r}: expected a value of type {dtypes[name]}"
                ) from None
    return columns


def _value(value: Any, dtype: AnyDType) -> Any:
    """Text or a JSON value in a column's type; None for a missing value. Raises ValueError or TypeError."""
    if value is None or value == "":
        return None
    if isinstance(value, dict | list):
        raise TypeError(value)
    if dtype == "string":
        return value if isinstance(value, str) else json.dumps(value)
    if dtype == "bool":
        return value if isinstance(value, bool) else _BOOLEANS[_known_boolean(str(value).lower())]
    if dtype.startswith(("int", "uint")):
        number = int(value)
        if not isinstance(value, str) and number != value:
            raise ValueError(value)
        return number
    return float(value)


def _known_boolean(text: str) -> str:
    if text not in _BOOLEANS:
        raise ValueError(text)
    return text


def _is_nested(values: Any) -> bool:
    return isinstance(values, list) and bool(values) and isinstance(values[0], list)


def _array(name: str, dtype: AnyDType, rows: Any) -> "np.ndarray[Any, Any]":
    try:
        if dtype == "string" or dtype == "unknown":
            return np.array(rows, dtype=object)
        if NUMPY[dtype].kind == "f":
            return np.array(rows, dtype=np.float64)  # null becomes NaN; the client casts
        return np.array(rows)
    except (ValueError, TypeError):
        raise ValueError(
            f"--json: tensor {name!r}: expected rows of equal length with values of type {dtype}"
        ) from None


def _hint(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(known), n=1)
    return f", did you mean {close[0]!r}?" if close else ""


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"
