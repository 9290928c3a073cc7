"""Converts named arrays of a request to the model's inputs, or raises an error that names the input at fault.

Independent of the protocol: every codec uses it. Pure.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import numpy as np

from skylane.dtypes import NUMPY, dtype_of
from skylane.manifest import ColumnSpec, TensorSpec
from skylane.server.core.errors import InputMismatch
from skylane.server.core.text import listed, quoted, suggestion
from skylane.server.core.types import Array, Interface

Shape = tuple[int, ...]


def bind(interface: Interface, inputs: Mapping[str, Array], *, only_columns: bool = False) -> list[Array]:
    """The model's inputs in the interface's order, from arrays named like its tensors or like its columns.

    Raises InputMismatch naming the input, what was expected and what was received.
    """
    if not inputs:
        raise InputMismatch(f"the request has no inputs: {_takes(interface)}")
    if are_columns(interface, inputs):
        arrays = bind_columns(interface, inputs)
    elif not only_columns and inputs.keys() == interface.tensors_by_name.keys():
        arrays = bind_tensors(interface, inputs)
    elif only_columns and not interface.columns:
        raise InputMismatch(f"columns: this model has none, send tensors: {_takes(interface)}")
    else:
        raise _misnamed(interface, inputs, only_columns)
    interface.limits.check(arrays)
    return arrays


def output_places(interface: Interface, wanted: Sequence[str]) -> list[int]:
    """The indexes of the requested outputs; all if none is named. Raises InputMismatch for an unknown name."""
    return [_output_place(interface, name) for name in wanted] or list(range(len(interface.outputs)))


def _output_place(interface: Interface, name: str) -> int:
    place = interface.outputs_by_name.get(name)
    if place is None:
        hint = suggestion(name, interface.outputs_by_name)
        raise InputMismatch(
            f"outputs: {quoted(name)} is not known: {hint}the model has {listed(interface.outputs_by_name)}"
        )
    return place


def are_columns(interface: Interface, names: Iterable[str]) -> bool:
    """Whether these names are the model's columns. A name of both a column and a tensor means the column."""
    return bool(interface.columns) and set(names) == interface.columns_by_name.keys()


def bind_tensors(interface: Interface, inputs: Mapping[str, Array]) -> list[Array]:
    """The model's own inputs: types and shapes must match exactly."""
    arrays = [inputs[spec.name] for spec in interface.tensors]
    for spec, array in zip(interface.tensors, arrays, strict=True):
        check_tensor(spec, dtype_of(array), array.shape)
    _check_rows({spec.name: len(array) for spec, array in zip(interface.tensors, arrays, strict=True)})
    return arrays


def check_tensor(spec: TensorSpec, dtype: str, shape: Shape) -> None:
    """Raise InputMismatch if a tensor of this type and shape is not what the model takes."""
    if dtype != spec.dtype:
        raise InputMismatch(f"tensor {spec.name!r}: expected {spec.dtype}, received {dtype}")
    fits = len(shape) == len(spec.shape) and all(
        size in (wanted, None) or wanted is None for wanted, size in zip(spec.shape, shape, strict=True)
    )
    if not fits:
        raise InputMismatch(
            f"tensor {spec.name!r}: expected shape {_shape_text(spec.shape)}, received {_shape_text(shape)}"
        )


def bind_columns(interface: Interface, inputs: Mapping[str, Array]) -> list[Array]:
    """Columns, cast where the model's result cannot change, and copied into the model's tensors."""
    rows = _check_rows({name: _column_rows(name, array) for name, array in inputs.items()})
    arrays: dict[str, Array] = {}
    for tensor in interface.tensors:
        width = tensor.shape[1]
        assert width is not None, "the manifest checks that columns fill their tensors"
        arrays[tensor.name] = np.empty((rows, width), NUMPY[tensor.dtype])
    for column in interface.columns:
        arrays[column.tensor][:, column.index] = _cast(column, inputs[column.name].reshape(rows))
    return [arrays[tensor.name] for tensor in interface.tensors]


def _column_rows(name: str, array: Array) -> int:
    if array.ndim == 1 or (array.ndim == 2 and array.shape[1] == 1):
        return len(array)
    raise InputMismatch(
        f"column {quoted(name)}: expected shape (rows) or (rows, 1), received {_shape_text(array.shape)}"
    )


def _check_rows(rows: Mapping[str, int]) -> int:
    """Check that all inputs have the same number of rows, and return it."""
    first, *others = rows.items()
    for name, count in others:
        if count != first[1]:
            raise InputMismatch(
                f"inputs differ in their rows: {quoted(first[0])} has {first[1]}, {quoted(name)} has {count}"
            )
    return first[1]


KINDS: Final[dict[str, str]] = {"b": "booleans", "i": "integers", "u": "integers", "f": "floats", "O": "strings"}


def _cast(column: ColumnSpec, values: Array) -> Array:
    """The column's values in the model's type. Gaps are NaN in floats and None in objects."""
    wanted = NUMPY[column.dtype]
    if (values.dtype == object) != (wanted.kind == "O") and not _all_gaps(values):
        raise InputMismatch(
            f"column {column.name!r}: expected {KINDS[wanted.kind]} ({column.dtype}), "
            f"received {KINDS[values.dtype.kind]}"
        )
    values = _fill_gaps(column, values)
    if wanted.kind in "iub" and values.dtype.kind == "f" and not np.array_equal(values, np.trunc(values)):
        raise InputMismatch(f"column {column.name!r}: expected {KINDS[wanted.kind]}, received floats with a fraction")
    if wanted.kind in "iub" and values.dtype.kind in "iuf" and values.size:
        _check_range(column, values, wanted)
    with np.errstate(over="ignore", invalid="ignore"):  # a float too large becomes infinite, as in the pipeline
        return values.astype(wanted)


def _check_range(column: ColumnSpec, values: Array, wanted: "np.dtype[np.generic]") -> None:
    low, high = (0, 1) if wanted.kind == "b" else (np.iinfo(wanted).min, np.iinfo(wanted).max)  # type: ignore[type-var]
    if values.min().item() < low or values.max().item() > high:  # as Python numbers, which compare exactly
        raise InputMismatch(
            f"column {column.name!r}: expected {column.dtype}, received a value outside {low} to {high}"
        )


def _all_gaps(values: Array) -> bool:
    return values.dtype == object and all(value is None for value in values)


def _gaps(values: Array) -> "np.ndarray[tuple[int], np.dtype[np.bool_]]":
    if values.dtype == object:
        return np.fromiter((value is None for value in values), np.bool_, len(values))
    return np.isnan(values) if values.dtype.kind == "f" else np.zeros(len(values), np.bool_)


def _fill_gaps(column: ColumnSpec, values: Array) -> Array:
    """Fill gaps with the model's value for missing ones. Raises InputMismatch if the column accepts no gaps."""
    gaps = _gaps(values)
    if not gaps.any():
        return values
    if column.missing is None:
        raise InputMismatch(
            f"column {column.name!r}: the pipeline accepts no gaps here, but the value of row {int(gaps.argmax())} "
            f"is missing"
        )
    filler = float(column.missing) if column.dtype != "string" else column.missing
    if values.dtype.kind == "f" and filler != filler:
        return values  # NaN already
    filled = values.copy() if values.dtype.kind == "f" or column.dtype == "string" else np.zeros(len(values))
    filled[gaps] = filler
    return filled


def _misnamed(interface: Interface, inputs: Mapping[str, Array], only_columns: bool) -> InputMismatch:
    """The error for missing, unknown or misspelt names, compared with columns or tensors, whichever are closer."""
    closest = list(interface.columns_by_name) if only_columns else _closest_vocabulary(interface, inputs)
    missing = [name for name in closest if name not in inputs]
    unknown = [name for name in inputs if name not in closest]
    parts = []
    if missing:
        parts.append(f"{listed(map(repr, missing))} {'is' if len(missing) == 1 else 'are'} missing")
    if unknown:
        hint = suggestion(unknown[0], missing).rstrip()
        note = f" ({hint})" if hint else ""
        parts.append(f"{listed(map(quoted, unknown))} {'is' if len(unknown) == 1 else 'are'} not known{note}")
    return InputMismatch(f"inputs: {', and '.join(parts)}; {_takes(interface)}")


def _closest_vocabulary(interface: Interface, inputs: Mapping[str, Array]) -> Sequence[str]:
    """Column names if the request shares more of them, or equally many and has column shapes; else tensor names."""
    tensors, columns = interface.tensors_by_name, interface.columns_by_name
    if not columns:
        return list(tensors)
    has_column_shapes = len(inputs) > len(tensors) or all(array.shape[1:] in ((), (1,)) for array in inputs.values())
    by_column = len(inputs.keys() & columns.keys()), has_column_shapes
    return list(columns) if by_column > (len(inputs.keys() & tensors.keys()), False) else list(tensors)


def _takes(interface: Interface) -> str:
    tensors = listed(f"{spec.name!r} {spec.dtype} {_shape_text(spec.shape)}" for spec in interface.tensors)
    if not interface.columns:
        return f"the model takes {'tensor' if len(interface.tensors) == 1 else 'tensors'} {tensors}"
    columns = listed(repr(column.name) for column in interface.columns)
    return f"the model takes the columns {columns}, or the tensors {tensors}"


def _shape_text(shape: Sequence[int | None]) -> str:
    return "(" + ", ".join("any" if size is None else str(size) for size in shape) + ")"
