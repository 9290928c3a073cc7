"""Columns of Arrow → the named arrays that the server's own rules bind to a model. Pure."""

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from skylane.dtypes import DType
from skylane.server.core.errors import InputMismatch
from skylane.server.core.text import quoted
from skylane.server.core.types import Array, Interface


def inputs_of(
    interface: Interface, batch: pa.RecordBatch, features: Sequence[str] = (), texts: Collection[str] = ()
) -> dict[str, Array]:
    """The model's inputs, as far as the batch has them; gaps are NaN in floats and None in objects.

    `features`: the columns that make up the only tensor of a model without named columns, in order. A tensor may also
    be one column of fixed-size lists that has its name. `texts`: columns that hold text because their source has no
    types; they are parsed as the model's type. Raises InputMismatch for a value or type that the model does not take.
    """
    if features:
        return {interface.tensors[0].name: _stacked(interface, batch, features, texts)}
    specs = interface.columns_by_name or interface.tensors_by_name
    present = set(batch.schema.names)
    return {
        name: array_of(name, _typed(name, batch.column(name), spec.dtype) if name in texts else batch.column(name))
        for name, spec in specs.items()
        if name in present
    }


def array_of(name: str, column: Any) -> Array:
    """One column: (rows,), or (rows, n) of fixed-size lists."""
    kind = column.type
    if isinstance(column, pa.ExtensionArray):
        return array_of(name, column.storage)
    if pa.types.is_dictionary(kind):
        return array_of(name, column.dictionary_decode())
    if pa.types.is_fixed_size_list(kind):
        if column.null_count:
            raise InputMismatch(f"column {name!r}: expected a list in every row, received a gap")
        return array_of(name, column.flatten()).reshape(len(column), kind.list_size)
    if pa.types.is_null(kind):
        return np.full(len(column), None, object)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return _objects(column)
    if pa.types.is_floating(kind):
        return _numbers(column)
    if pa.types.is_decimal(kind):
        return _numbers(pc.cast(column, pa.float64()))
    if pa.types.is_integer(kind) or pa.types.is_boolean(kind):
        return _numbers(_as_floats(name, column) if column.null_count else column)
    raise InputMismatch(f"column {name!r}: expected numbers, booleans or strings, received {kind}")


def _typed(name: str, column: Any, dtype: DType) -> Any:
    """A column of texts as numbers, if the model takes numbers."""
    if dtype == "string":
        return column
    trimmed = pc.utf8_trim_whitespace(column)
    trimmed = pc.if_else(pc.equal(trimmed, ""), pa.scalar(None, pa.string()), trimmed)
    kinds = [pa.bool_()] if dtype == "bool" else [pa.float64()] if dtype.startswith("float") else [pa.int64()]
    for kind in (*kinds, pa.float64()):
        try:
            return pc.cast(trimmed, kind)
        except pa.ArrowInvalid:
            continue
    wanted = "true or false" if dtype == "bool" else "numbers"
    raise InputMismatch(f"column {name!r}: expected {wanted}, received {_first_text(trimmed)}")


def _first_text(column: Any) -> str:
    """The first text that is no number, in quotes."""
    for text in column.to_pylist():
        try:
            float(text or 0)
        except ValueError:
            return quoted(text)
    return "another text"


def _stacked(interface: Interface, batch: pa.RecordBatch, features: Sequence[str], texts: Collection[str]) -> Array:
    spec = interface.tensors[0]
    present = set(batch.schema.names)
    if missing := [name for name in features if name not in present]:
        raise InputMismatch(f"features: the data has no column {', '.join(map(repr, missing))}")
    stacked = np.empty((len(batch), len(features)), spec.dtype if spec.dtype != "string" else object)
    for place, name in enumerate(features):
        column = batch.column(name)
        stacked[:, place] = array_of(name, _typed(name, column, spec.dtype) if name in texts else column)
    return stacked


def _numbers(column: Any) -> Array:
    array: Array = column.to_numpy(zero_copy_only=False)
    return array


def _objects(column: Any) -> Array:
    array: Array = column.to_numpy(zero_copy_only=False)
    return array if array.dtype == object else array.astype(object)


def _as_floats(name: str, column: Any) -> Any:
    """Integers with gaps: as floats, if each is one exactly."""
    if pa.types.is_boolean(column.type):
        column = pc.cast(column, pa.uint8())
    try:
        return pc.cast(column, pa.float64())
    except pa.ArrowInvalid as error:
        raise InputMismatch(
            f"column {name!r}: expected integers up to 2^53 in a column with gaps, received larger ones"
        ) from error
