"""Columns of Arrow → the named arrays that the server's own rules bind to a model. Pure."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from skylane.dtypes import DType
from skylane.manifest import ColumnSpec, TensorSpec
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
    specs: Mapping[str, ColumnSpec | TensorSpec] = interface.columns_by_name or interface.tensors_by_name
    present = set(batch.schema.names)
    return {
        name: array_of(spec, batch.column(name), is_text=name in texts)
        for name, spec in specs.items()
        if name in present
    }


def array_of(spec: ColumnSpec | TensorSpec, column: Any, *, is_text: bool = False) -> Array:
    """One column as an array for this input: (rows,), or (rows, n) of fixed-size lists."""
    kind, name = column.type, spec.name
    if is_text:
        return array_of(spec, _typed(name, column, spec.dtype))
    if isinstance(column, pa.ExtensionArray):
        return array_of(spec, column.storage)
    if pa.types.is_dictionary(kind):
        return array_of(spec, column.dictionary_decode())
    if pa.types.is_fixed_size_list(kind):
        if column.null_count:
            raise InputMismatch(f"column {name!r}: expected a list in every row, received a gap")
        return array_of(spec, column.flatten()).reshape(len(column), kind.list_size)
    if pa.types.is_null(kind):
        return np.full(len(column), None, object)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return _objects(column)
    if pa.types.is_decimal(kind):
        return _numbers(pc.cast(column, pa.float64()))
    if pa.types.is_boolean(kind) and column.null_count:
        return _with_gaps(spec, pc.cast(column, pa.uint8()))
    if pa.types.is_integer(kind) and column.null_count:
        return _with_gaps(spec, column)
    if pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind):
        return _numbers(column)
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
        stacked[:, place] = array_of(spec, batch.column(name), is_text=name in texts)
    return stacked


def _numbers(column: Any) -> Array:
    array: Array = column.to_numpy(zero_copy_only=False)
    return array


def _objects(column: Any) -> Array:
    array: Array = column.to_numpy(zero_copy_only=False)
    return array if array.dtype == object else array.astype(object)


def _with_gaps(spec: ColumnSpec | TensorSpec, column: Any) -> Array:
    """Integers with gaps. Each value becomes what it would without a gap beside it: none may be rounded twice."""
    if spec.dtype in ("float16", "float32"):
        return _numbers(pc.cast(column, pa.float32(), safe=False))
    missing = getattr(spec, "missing", None)
    if spec.dtype.startswith(("int", "uint")) and missing is not None:
        return _numbers(column.fill_null(int(missing)))
    return _numbers(pc.cast(column, pa.float64(), safe=False))
