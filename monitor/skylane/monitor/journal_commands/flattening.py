"""Rows of a journal as flat columns, for tables, CSV and JSON. Pure."""

import itertools
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from skylane.journal.tables import STRUCTS


def flat(table: pa.Table) -> pa.Table:
    """A column for each field of `inputs` and `outputs`, and for each place of a list: `outputs.probabilities[0]`."""
    return pa.table(dict(itertools.chain.from_iterable(_flat(name, table.column(name)) for name in table.schema.names)))


def records(table: pa.Table) -> Iterator[dict[str, Any]]:
    """Each row as JSON values: instants as ISO 8601 texts."""
    for row in table.to_pylist():
        yield {name: value.isoformat() if isinstance(value, datetime) else value for name, value in row.items()}


def _flat(name: str, column: pa.ChunkedArray) -> Iterator[tuple[str, pa.ChunkedArray]]:
    if pa.types.is_struct(column.type) and name in STRUCTS:
        for field in column.type:
            yield from _flat(f"{name}.{field.name}", pc.struct_field(column, field.name))
    elif pa.types.is_fixed_size_list(column.type):
        for place in range(column.type.list_size):
            yield f"{name}[{place}]", pc.list_element(column, place)
    elif pa.types.is_dictionary(column.type):
        yield name, column.cast(column.type.value_type)
    else:
        yield name, column
